//! The fuzz targets' checks over their seeds, without a fuzzer.

use std::path::Path;

#[path = "../fuzz/checks.rs"]
mod checks;

#[test]
fn the_seeds_pass() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/parse_print");
    let mut count = 0;
    for entry in std::fs::read_dir(seeds).unwrap() {
        checks::parse_print(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "there are no seeds");
}

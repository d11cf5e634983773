//! The fuzz targets' checks over their corpus, without a fuzzer.

use std::path::Path;

#[path = "../fuzz/checks.rs"]
mod checks;

#[test]
fn the_corpus_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/parse_print");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        checks::parse_print(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
}

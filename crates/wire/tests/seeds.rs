//! Replays the fuzz targets' seeds without a fuzzer.
#![allow(missing_docs, clippy::unwrap_used)]

mod fuzzing;

use std::path::Path;

use wire::otlp::Format;
use wire::remote_write::Version;

fn replay(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        run(&input);
        // Cut short anywhere, each must be told from a whole one or read as one, but never break anything.
        for end in 0..input.len() {
            run(&input[..end]);
        }
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn remote_write_1_0() {
    replay("remote_write_v1", |body| fuzzing::remote_write(Version::V1, body));
}

#[test]
fn remote_write_2_0() {
    replay("remote_write_v2", |body| fuzzing::remote_write(Version::V2, body));
}

#[test]
fn otlp_protobuf() {
    replay("otlp_protobuf", |body| fuzzing::otlp(Format::Protobuf, body));
}

#[test]
fn otlp_json() {
    replay("otlp_json", |body| fuzzing::otlp(Format::Json, body));
}

#[test]
fn decompress() {
    replay("decompress", fuzzing::decompress);
}

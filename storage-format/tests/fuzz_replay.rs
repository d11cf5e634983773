//! The fuzz targets without a fuzzer: their seeds, what fuzzers found, and some thousand mutations of it all.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

#[path = "../fuzz/shim.rs"]
mod shim;

/// How often each input is mutated.
const MUTATIONS: usize = 150;

fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "nothing in {}", folder.display());
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn replay(inputs: Vec<Vec<u8>>, target: fn(&[u8])) {
    let mut state = 1_u64;
    let mut random = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound.max(1)
    };
    for input in inputs {
        target(&input);
        for _ in 0..MUTATIONS {
            let mut mutated = input.clone();
            for _ in 0..=random(3) {
                let at = random(mutated.len());
                match random(5) {
                    0 => mutated.truncate(at),
                    1 => mutated.insert(at, random(256) as u8),
                    2 if !mutated.is_empty() => {
                        mutated.drain(at..(at + 1 + random(8)).min(mutated.len()));
                    }
                    3 => mutated.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xff),
                    _ => mutated.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random(8)),
                }
            }
            target(&mutated);
        }
    }
}

#[test]
fn objects() {
    replay([files("fuzz/seeds/fresh"), files("testdata")].concat(), shim::fresh);
}

#[test]
fn partitions() {
    replay(files("fuzz/seeds/partition"), shim::partition);
}

#[test]
fn sections() {
    replay(files("fuzz/seeds/section"), shim::section);
}

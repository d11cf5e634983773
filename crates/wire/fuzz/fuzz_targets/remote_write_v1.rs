#![no_main]

#[path = "../../tests/fuzzing/mod.rs"]
mod fuzzing;

libfuzzer_sys::fuzz_target!(|body: &[u8]| fuzzing::remote_write(wire::remote_write::Version::V1, body));

#![no_main]

#[path = "../shim.rs"]
#[allow(dead_code)]
mod shim;

libfuzzer_sys::fuzz_target!(|data: &[u8]| shim::section(data));

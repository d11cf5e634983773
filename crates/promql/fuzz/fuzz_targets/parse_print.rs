//! `cargo fuzz run parse_print`: no text makes the parser panic, and what parses prints to what parses to the same.

#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::parse_print(data));

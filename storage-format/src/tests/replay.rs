//! Inputs that fuzzers found, and a small corpus, replayed without a fuzzer.

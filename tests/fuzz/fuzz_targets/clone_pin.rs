//! Target `clone_pin`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::run("clone_pin", bytes));

//! Target `map_page`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::run("map_page", bytes));

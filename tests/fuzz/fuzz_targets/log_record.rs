//! Target `log_record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::run("log_record", bytes));

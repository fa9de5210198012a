//! Performance harness.

fn main() {}

//! Krait: virtual disks for KVM hosts, served over NBD from a local write-ahead log, kept in an
//! object store.

pub mod engine;
pub mod runtime;
pub mod sim;

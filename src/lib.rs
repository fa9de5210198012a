//! Krait: virtual disks for KVM hosts, served over NBD from a local write-ahead log, kept in an
//! object store.

pub mod cli;
pub mod config;
pub mod control;
pub mod engine;
pub mod error;
pub mod runtime;
pub mod server;
pub mod sim;

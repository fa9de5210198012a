//! An S3 server in memory that fails on command, for tests and for a first try without a cloud
//! account.
//!
//! # What it promises
//! A conditional put is atomic: one lock is held from the look at the name to the new object.
//! Signatures, payload hashes and checksums are verified, and a put without a checksum and the
//! name of its algorithm is refused.
//!
//! # What may go wrong
//! Each [`Fault`] says what it does. All of them happen in the HTTP layer, before a request
//! reaches the objects or after it has, so the objects themselves are always right.

pub mod backend;
pub mod faults;
pub mod server;

mod connection;
mod objects;
mod service;

pub use faults::{Fault, Faults, Rule};
pub use server::{Options, TestServer};
pub use service::{Change, Read};

/// The key that the server knows.
pub const ACCESS_KEY: &str = "krait-test";

/// Its secret; it protects nothing.
pub const SECRET_KEY: &str = "krait-test-secret";

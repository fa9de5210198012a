//! The store against a server: real HTTP, and everything that can go wrong with it.

mod ambiguous;
mod answers;
mod conformance;
mod credentials;
mod faults;
mod fixture;
mod overload;
mod proof;
mod tls;

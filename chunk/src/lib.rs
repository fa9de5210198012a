//! Object stores and what Krait keeps in them: chunks, map pages, manifests.

pub mod store;

pub use store::{ObjectName, ObjectStore, StoreError, StoreKind};

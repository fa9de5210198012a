//! Krait's object store on S3: a client that retries, proves what it relies on, and stays off
//! the serving cores.
//!
//! Requests run on [`S3Threads`], which are started from `main` before any thread is bound to a
//! core. [`S3Store`] hands its jobs to them through a bounded queue.

pub mod config;
pub mod endpoint;
pub mod environment;
pub mod health;
pub mod limits;
pub mod metrics;
pub mod proof;
pub mod secret;
pub mod store;
pub mod threads;

mod attempt;
mod backoff;
mod client;
mod clock;
mod conditional;
mod credentials;
mod failure;
mod gate;
mod listing;
mod objects;
mod request;
mod sign;
mod tls;
mod together;
mod upload;
mod verdict;
mod xml;

pub use config::{BucketName, S3Config, S3ConfigError, Timeouts};
pub use credentials::CredentialsError;
pub use endpoint::Endpoint;
pub use environment::Environment;
pub use health::S3Health;
pub use metrics::{Op, OpMetrics, S3Metrics};
pub use proof::{ProofError, StoreIdentity};
pub use secret::Secret;
pub use store::S3Store;
pub use threads::S3Threads;

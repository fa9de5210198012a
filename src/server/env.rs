//! The world that the product's engine runs in.

use super::store::AnyStore;
use crate::engine::Env;
use crate::engine::message::Wire;
use crate::runtime::{GlommioDisk, GlommioRuntime, RingMesh};

/// io_uring files, real time, rings between cores, and the configured store.
#[derive(Clone, Copy, Debug)]
pub struct ProductEnv;

impl Env for ProductEnv {
    type Disk = GlommioDisk;
    type Store = AnyStore;
    type Runtime = GlommioRuntime;
    type Mesh = RingMesh<Wire>;
}

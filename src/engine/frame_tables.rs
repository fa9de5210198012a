//! Where the payload of compressed chunks is: read once from the header of each, and kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use ahash::AHashMap;
use chunk::chunk::read_frames;
use chunk::{ChunkId, ChunkIndex, Frames};

use super::Env;
use super::chunk_cache::ChunkKey;
use super::core::Core;
use super::error::VolumeError;
use super::fetch_flight::Flight;
use super::limits::FRAME_TABLES;
use super::shared::Shared;
use super::signal::Signal;

/// The frames of the chunks that one core read from lately.
#[derive(Default)]
pub(super) struct FrameTables {
    known: RefCell<AHashMap<ChunkKey, Frames>>,
    /// The keys, oldest first: that one goes when there are too many.
    order: RefCell<VecDeque<ChunkKey>>,
    flights: RefCell<AHashMap<ChunkKey, Rc<Flight<Frames>>>>,
}

impl FrameTables {
    /// The frames of a chunk, if they are known.
    pub(super) fn get(&self, key: ChunkKey) -> Option<Frames> {
        self.known.borrow().get(&key).cloned()
    }

    fn note(&self, key: ChunkKey, frames: Frames) {
        let (mut known, mut order) = (self.known.borrow_mut(), self.order.borrow_mut());
        if known.insert(key, frames).is_none() {
            order.push_back(key);
        }
        if order.len() > FRAME_TABLES {
            let oldest = order.pop_front().expect("there are too many");
            known.remove(&oldest);
        }
    }
}

impl<E: Env> Core<E> {
    /// Notes the frames of a chunk whose index is known, as it will be read from.
    pub(super) fn note_frames(&self, shared: &Shared, index: &ChunkIndex) {
        let id = index.info().id;
        if shared.may_be_compressed(id) && index.payload_blocks() > 0 {
            self.frame_tables.note((shared.lineage.writer(id), id), index.frames().clone());
        }
    }

    /// Where the payload of a chunk is; asks the store for its header if that is not known. `None`:
    /// its blocks are as they are.
    pub(super) async fn frames(
        &self,
        shared: &Shared,
        chunk: ChunkId,
    ) -> Result<Option<Frames>, VolumeError> {
        if !shared.may_be_compressed(chunk) {
            return Ok(None);
        }
        let key = (shared.lineage.writer(chunk), chunk);
        if let Some(frames) = self.frame_tables.get(key) {
            return Ok(Some(frames));
        }
        let flying = self.frame_tables.flights.borrow().get(&key).cloned();
        if let Some(flight) = flying {
            let landed = Rc::new(Signal::default());
            flight.tell(&landed);
            return landed.until(|| flight.outcome()).await.map(Some);
        }
        let flight = Rc::new(Flight::default());
        self.frame_tables.flights.borrow_mut().insert(key, flight.clone());
        let ask = async || read_frames(&self.store, key.0, chunk).await;
        let outcome = self.patiently(shared.volume, ask).await;
        self.frame_tables.flights.borrow_mut().remove(&key);
        if let Ok(frames) = &outcome {
            self.frame_tables.note(key, frames.clone());
        }
        flight.land(outcome.clone());
        outcome.map(Some)
    }
}

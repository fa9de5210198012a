//! One core: its shards, its cache, its end of the mesh.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ahash::AHashMap;
use wal::runtime::Runtime;

use super::Env;
use super::cache::{BlockCache, VolumeNo, new_slab};
use super::chunk_cache::ChunkCache;
use super::coordinator::Coordinator;
use super::error::VolumeError;
use super::fetch_flight::Fetches;
use super::fetch_health::StoreHealth;
use super::frame_tables::FrameTables;
use super::limits::{CACHE_AGES, Tuning};
use super::mesh::CoreId;
use super::message::{Answer, Ask};
use super::peers::{Outcome, Peers};
use super::registry::Registry;
use super::shard::Shard;
use super::uploads::UploadMemory;

/// What one core of the server owns. Lives on that core only.
pub struct Core<E: Env> {
    /// The local disk.
    pub disk: E::Disk,
    /// The object store.
    pub store: E::Store,
    /// Time, randomness, tasks.
    pub runtime: E::Runtime,
    /// The way to the other cores.
    pub peers: Peers<E::Mesh>,
    /// Bounds.
    pub tuning: Tuning,
    /// Identity of this host's data directory, in every manifest that it publishes.
    pub host: [u8; 16],
    /// Blocks in memory.
    pub cache: RefCell<BlockCache>,
    /// Chunks on the local disk.
    pub chunk_cache: ChunkCache<E::Disk>,
    /// How the store is doing, as this core sees it.
    pub health: RefCell<StoreHealth>,
    /// What is on its way from the store.
    pub(super) fetches: Fetches,
    /// Where the payload of compressed chunks is.
    pub(super) frame_tables: FrameTables,
    /// Blocks that are being read ahead.
    pub(super) ahead: Cell<u64>,
    /// Cuts that are being brought to the log to be named, as fast as can be.
    pub(super) naming: Cell<u32>,
    /// Bytes that are being fetched for reads.
    pub(super) fetching: Cell<usize>,
    /// What may be on its way to the store at a time.
    pub(super) uploads: UploadMemory,
    /// Open volumes; the one of core 0 counts.
    pub(super) registry: Registry,
    shards: RefCell<AHashMap<VolumeNo, Rc<Shard<E>>>>,
    coordinators: RefCell<AHashMap<VolumeNo, Rc<Coordinator<E>>>>,
}

impl<E: Env> Core<E> {
    /// A core without volumes.
    pub fn new(
        disk: E::Disk,
        store: E::Store,
        runtime: E::Runtime,
        mesh: E::Mesh,
        tuning: Tuning,
        host: [u8; 16],
    ) -> Rc<Self> {
        let peers = Peers::new(mesh, tuning.ring_messages);
        Rc::new(Self {
            disk,
            store,
            runtime,
            chunk_cache: ChunkCache::new(tuning.disk_cache, peers.me()),
            peers,
            health: RefCell::default(),
            fetches: Fetches::default(),
            frame_tables: FrameTables::default(),
            ahead: Cell::new(0),
            tuning,
            host,
            naming: Cell::new(0),
            fetching: Cell::new(0),
            uploads: UploadMemory::new(tuning.uploads),
            registry: Registry::default(),
            cache: RefCell::new(BlockCache::new(tuning.cache_blocks)),
            shards: RefCell::default(),
            coordinators: RefCell::default(),
        })
    }

    /// Its number.
    pub fn id(&self) -> CoreId {
        self.peers.me()
    }

    /// Number of cores, which is the number of shards of each volume.
    pub fn cores(&self) -> u16 {
        self.peers.cores()
    }

    /// The core that coordinates a volume.
    pub fn home(&self, volume: VolumeNo) -> CoreId {
        CoreId((volume.0 % u32::from(self.cores())) as u16)
    }

    /// The shard of an open volume.
    ///
    /// # Errors
    /// [`VolumeError::Closed`] if the volume is not open here.
    pub fn shard(&self, volume: VolumeNo) -> Result<Rc<Shard<E>>, VolumeError> {
        self.shards.borrow().get(&volume).cloned().ok_or(VolumeError::Closed)
    }

    pub(super) fn all_shards(&self) -> impl Iterator<Item = Rc<Shard<E>>> {
        self.shards.borrow().values().cloned().collect::<Vec<_>>().into_iter()
    }

    /// Takes a shard into service.
    pub fn add_shard(&self, volume: VolumeNo, shard: Rc<Shard<E>>) {
        let before = self.shards.borrow_mut().insert(volume, shard);
        assert!(before.is_none(), "a volume is opened once");
    }

    /// Takes a shard out of service.
    pub fn remove_shard(&self, volume: VolumeNo) {
        self.shards.borrow_mut().remove(&volume);
        self.cache.borrow_mut().forget_volume(volume);
    }

    /// The coordinator of a volume, if this core is its home and it is open.
    pub fn coordinator(&self, volume: VolumeNo) -> Option<Rc<Coordinator<E>>> {
        self.coordinators.borrow().get(&volume).cloned()
    }

    /// Puts a coordinator in charge of a volume.
    pub fn add_coordinator(&self, volume: VolumeNo, coordinator: Rc<Coordinator<E>>) {
        self.coordinators.borrow_mut().insert(volume, coordinator);
    }

    /// Relieves the coordinator of a volume.
    pub fn remove_coordinator(&self, volume: VolumeNo) {
        self.coordinators.borrow_mut().remove(&volume);
    }

    /// Lets go of everything without closing it: what is left to do for a core whose process has
    /// died, where a process is a thing of the simulation.
    pub fn abandon(&self) {
        self.shards.take();
        self.coordinators.take();
    }

    /// Tells a volume's coordinator that a cut may be due.
    pub fn note_dirty(self: &Rc<Self>, volume: VolumeNo, urgent: bool) {
        let home = self.home(volume);
        if home == self.id() {
            if let Some(coordinator) = self.coordinator(volume) {
                coordinator.note_dirty(urgent);
            }
            return;
        }
        let core = self.clone();
        self.runtime.spawn(async move {
            let call = core.peers.start(home, Ask::Dirty { volume, urgent }).await;
            // The coordinator only takes note; a volume that closed meanwhile has no use for it.
            let _ = call.await;
        });
    }

    /// Answers the other cores, for as long as the process lives: the one task that receives.
    pub async fn serve(self: Rc<Self>) {
        if self.chunk_cache.is_on() {
            let core = self.clone();
            self.runtime
                .spawn(async move { core.chunk_cache.open(&core.disk, core.cores()).await });
            if let Some(ttl) = self.tuning.cache_ttl {
                self.runtime.spawn(self.clone().age_cache(ttl));
            }
        }
        self.runtime.spawn(self.clone().keep_spare_slabs());
        loop {
            let (from, token, ask) = self.peers.next_ask().await;
            // Most questions need no task of their own. A future must not be tried here and go on
            // as a task: what it waits for by then may know only the task that asked first.
            if let Some(outcome) = self.answer_now(&ask) {
                self.peers.answer(from, token, outcome).await;
                continue;
            }
            let core = self.clone();
            self.runtime.spawn(async move {
                let outcome = core.clone().answer(ask).await;
                core.peers.answer(from, token, outcome).await;
            });
        }
    }

    /// Makes memory for the cache in advance and elsewhere, for as long as the process lives.
    async fn keep_spare_slabs(self: Rc<Self>) {
        let taken = self.cache.borrow().slabs().taken();
        loop {
            taken.until(|| self.cache.borrow().slabs().lacks_spare().then_some(())).await;
            let slab = self.runtime.compute(new_slab).await;
            self.cache.borrow_mut().slabs_mut().add_spare(slab);
        }
    }

    /// Empties what was not used in the cache on the disk for that long, for as long as the process
    /// lives.
    async fn age_cache(self: Rc<Self>, ttl: Duration) {
        loop {
            self.runtime.sleep(ttl / u32::from(CACHE_AGES)).await;
            let mut next = Some(0);
            while let Some(first) = next {
                next = self.chunk_cache.age(first).await;
                self.runtime.pause().await;
            }
        }
    }

    fn answer_now(&self, ask: &Ask) -> Option<Outcome> {
        match ask {
            Ask::Shard(volume, ask) => match self.shard(*volume) {
                Ok(shard) => shard.answer_now(ask),
                Err(closed) => Some(Err(closed)),
            },
            _ => None,
        }
    }

    pub(super) async fn answer(self: Rc<Self>, ask: Ask) -> Outcome {
        match ask {
            Ask::Shard(volume, ask) => self.shard(volume)?.answer(ask).await,
            Ask::OpenShard(open) => {
                Shard::open(self, *open).await?;
                Ok(Answer::Done)
            }
            Ask::Open(volume, reason) => self.open_registered(volume, reason).await,
            Ask::OpenAs(number, volume, reason) => {
                let opened = super::open::open(&self, number, volume, reason).await?;
                Ok(opened.map_or(Answer::Done, |shared| Answer::Opened(number, shared)))
            }
            Ask::View(snapshot) => self.view_registered(snapshot).await,
            Ask::ViewAs(number, snapshot) => self.open_view(number, &snapshot).await,
            Ask::Snapshot(volume, new) => {
                let made = self.home_of(volume)?.snapshot(*new).await?;
                Ok(Answer::Snapshot(Box::new(made)))
            }
            Ask::Resize(volume, to) => {
                self.home_of(volume)?.resize(to).await.map(|()| Answer::Done)
            }
            Ask::Coming(volume) => Ok(Answer::Coming(self.home_of(volume)?.coming())),
            Ask::SettleVolume(volume) => self.settle_registered(volume).await,
            Ask::Settle(volume) => self.home_of(volume)?.settle().await.map(|()| Answer::Done),
            Ask::Hold(volume, new) => self.home_of(volume)?.hold(&new).await.map(|()| Answer::Done),
            Ask::NameCut(volume, epoch, new) => {
                let made = self.home_of(volume)?.name_held(epoch, *new).await?;
                Ok(Answer::Snapshot(Box::new(made)))
            }
            Ask::LetGo(volume) => {
                self.home_of(volume)?.let_go_of_cuts();
                Ok(Answer::Done)
            }
            Ask::TakeBack(volume, made) => {
                self.home_of(volume)?.take_back(&made).await.map(|()| Answer::Done)
            }
            Ask::Drain(volume) => self.home_of(volume)?.drain().await.map(|()| Answer::Done),
            Ask::Collect(volume) => {
                let collected = self.home_of(volume)?.collect().await?;
                Ok(Answer::Collected(Box::new(collected)))
            }
            Ask::Flatten(volume) => self.home_of(volume)?.flatten().await.map(Answer::Flattened),
            Ask::Flattening(volume) => Ok(Answer::Flattening(self.home_of(volume)?.flattening())),
            Ask::Renew(volume) => self.home_of(volume)?.renew().await.map(|()| Answer::Done),
            Ask::Confirm(volume) => {
                self.home_of(volume)?.see_that_it_is_ours().await.map(|()| Answer::Done)
            }
            Ask::Count(volume) => self.home_of(volume)?.counts().await.map(Answer::Counts),
            Ask::Close(volume) => self.close(volume).await.map(|()| Answer::Done),
            Ask::Keep(kept) => {
                self.keep_part(&kept).await;
                Ok(Answer::Done)
            }
            Ask::Dirty { volume, urgent } => {
                self.note_dirty(volume, urgent);
                Ok(Answer::Done)
            }
        }
    }
}

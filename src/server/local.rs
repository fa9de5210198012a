//! What the connections of one core share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use chunk::VolumeName;
use nbd::ExportInfo;
use wal::VolumeId;
use wal::runtime::Runtime;

use super::budget::{Budget, Buffers};
use super::clients::Clients;
use super::env::ProductEnv;
use super::limits::WATCH_PERIOD;
use super::line::Watched;
use super::turn::BusySlice;
use crate::engine::cache::VolumeNo;
use crate::engine::core::Core;
use crate::engine::signal::Signal;
use crate::runtime::GlommioRuntime;

/// One core of the server, beside its engine.
pub(super) struct Local {
    /// The engine's part of this core.
    pub(super) core: Rc<Core<ProductEnv>>,
    /// Who is connected, anywhere.
    pub(super) clients: Arc<Clients>,
    /// Payload memory.
    pub(super) budget: Rc<Budget>,
    /// Buffers for large payloads.
    pub(super) buffers: Buffers,
    /// Volumes that no client may write to.
    read_only: Arc<BTreeSet<VolumeName>>,
    /// How long the core has been at work.
    pub(super) slice: BusySlice,
    stopping: Cell<bool>,
    watched: RefCell<Vec<Weak<dyn Watched>>>,
    arrived: Signal,
}

impl Local {
    pub(super) fn new(
        core: Rc<Core<ProductEnv>>,
        clients: Arc<Clients>,
        payload_bytes: usize,
        read_only: Arc<BTreeSet<VolumeName>>,
    ) -> Rc<Self> {
        let local = Rc::new(Self {
            core,
            clients,
            budget: Budget::new(payload_bytes),
            buffers: Buffers::default(),
            read_only,
            slice: BusySlice::default(),
            stopping: Cell::new(false),
            watched: RefCell::default(),
            arrived: Signal::default(),
        });
        GlommioRuntime.spawn(watch(local.clone()));
        local
    }

    /// Has an eye on a connection from now on; false if the server is stopping.
    pub(super) fn watch(&self, line: Weak<dyn Watched>) -> bool {
        self.watched.borrow_mut().push(line);
        self.arrived.notify();
        !self.stopping.get()
    }

    /// What clients are told of a volume.
    pub(super) fn export(&self, name: &VolumeName, size: u64) -> ExportInfo {
        let read_only = self.is_read_only(name);
        ExportInfo { read_only, ..ExportInfo::new(name.as_str(), size) }
    }

    /// Whether no client may write to a volume.
    pub(super) fn is_read_only(&self, name: &VolumeName) -> bool {
        self.read_only.contains(name)
    }

    /// The number of a volume, if it is open. Only core 0 knows.
    pub(super) fn number(&self, id: VolumeId) -> Option<VolumeNo> {
        let open = self.core.open_volumes();
        open.iter().find_map(|(volume, number)| (*volume == id).then_some(*number))
    }

    /// Whether the server is about to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Tells all connections that no further request is wanted.
    pub(super) fn stop_reading(&self) {
        self.stopping.set(true);
        self.each_watched(|line| line.stop_reading());
    }

    /// Ends all connections: nothing is acknowledged from here on.
    pub(super) fn cut_all(&self) {
        self.each_watched(|line| line.cut());
    }

    fn each_watched(&self, act: impl Fn(&dyn Watched)) {
        let watched = self.watched.borrow().clone();
        watched.iter().filter_map(Weak::upgrade).for_each(|line| act(&*line));
    }
}

/// Looks at the connections of a core from time to time; sleeps while there are none.
async fn watch(local: Rc<Local>) {
    loop {
        let some = || (!local.watched.borrow().is_empty()).then_some(());
        local.arrived.until(some).await;
        GlommioRuntime.sleep(WATCH_PERIOD).await;
        let now = GlommioRuntime.now();
        let pressed = local.budget.is_wanted();
        local.each_watched(|line| line.check_deadlines(now, pressed));
        local.watched.borrow_mut().retain(|line| line.strong_count() > 0);
    }
}

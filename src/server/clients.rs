//! Who is connected, over all cores.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use chunk::VolumeName;
use wal::VolumeId;

use super::limits::MAX_CONNECTIONS;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    Connections(u32),
    Deleting,
}

/// Connections of the whole server. Looked at when a client comes or goes, never for a request.
#[derive(Debug, Default)]
pub(super) struct Clients {
    total: AtomicUsize,
    volumes: Mutex<BTreeMap<VolumeId, Use>>,
    /// Names that were looked up, for when the store cannot be asked.
    names: Mutex<BTreeMap<VolumeName, VolumeId>>,
}

impl Clients {
    /// Counts one more connection; `None` if there are too many.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let admitted = Admitted(self.clone());
        // Counted first: `admitted` takes it back.
        let before = self.total.fetch_add(1, Ordering::Relaxed);
        (before < MAX_CONNECTIONS).then_some(admitted)
    }

    /// Connections of all volumes.
    pub(super) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Connections of one volume.
    pub(super) fn of(&self, volume: VolumeId) -> u32 {
        match self.volumes().get(&volume) {
            Some(Use::Connections(count)) => *count,
            Some(Use::Deleting) | None => 0,
        }
    }

    /// Counts a client of a volume; `None` if the volume is being deleted.
    pub(super) fn enter(self: &Arc<Self>, volume: VolumeId) -> Option<Entered> {
        let mut volumes = self.volumes();
        match volumes.entry(volume).or_insert(Use::Connections(0)) {
            Use::Connections(count) => *count += 1,
            Use::Deleting => return None,
        }
        Some(Entered { clients: self.clone(), volume })
    }

    /// Remembers which volume has a name.
    pub(super) fn note_name(&self, name: &VolumeName, volume: VolumeId) {
        self.names().insert(name.clone(), volume);
    }

    /// The volume that had a name when it was last looked up.
    pub(super) fn named(&self, name: &VolumeName) -> Option<VolumeId> {
        self.names().get(name).copied()
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<VolumeName, VolumeId>> {
        self.names.lock().expect("no holder of this lock panics")
    }

    /// Whether the volume is being deleted.
    pub(super) fn is_deleting(&self, volume: VolumeId) -> bool {
        self.volumes().get(&volume) == Some(&Use::Deleting)
    }

    /// Keeps clients away from a volume; `None` if it has some, or is being deleted already.
    pub(super) fn begin_deleting(self: &Arc<Self>, volume: VolumeId) -> Option<Deleting> {
        let mut volumes = self.volumes();
        if volumes.contains_key(&volume) {
            return None;
        }
        volumes.insert(volume, Use::Deleting);
        Some(Deleting { clients: self.clone(), volume })
    }

    fn volumes(&self) -> MutexGuard<'_, BTreeMap<VolumeId, Use>> {
        self.volumes.lock().expect("no holder of this lock panics")
    }
}

/// One connection among all.
#[derive(Debug)]
pub(super) struct Admitted(Arc<Clients>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.total.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One client of a volume.
#[derive(Debug)]
pub(super) struct Entered {
    clients: Arc<Clients>,
    volume: VolumeId,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut volumes = self.clients.volumes();
        match volumes.get_mut(&self.volume) {
            Some(Use::Connections(count)) if *count > 1 => *count -= 1,
            Some(Use::Connections(_)) => drop(volumes.remove(&self.volume)),
            Some(Use::Deleting) | None => unreachable!("a client that entered is counted"),
        }
    }
}

/// No client can enter the volume.
#[derive(Debug)]
pub(super) struct Deleting {
    clients: Arc<Clients>,
    volume: VolumeId,
}

impl Drop for Deleting {
    fn drop(&mut self) {
        self.clients.volumes().remove(&self.volume);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: VolumeId = VolumeId([1; 16]);

    #[test]
    fn a_volume_with_clients_is_not_deleted_and_one_being_deleted_gets_none() {
        let clients = Arc::new(Clients::default());
        let (one, two) = (clients.enter(VOLUME).unwrap(), clients.enter(VOLUME).unwrap());
        assert_eq!(clients.of(VOLUME), 2);
        drop(one);
        assert!(clients.begin_deleting(VOLUME).is_none());
        drop(two);
        let deleting = clients.begin_deleting(VOLUME).unwrap();
        assert!(clients.enter(VOLUME).is_none() && clients.begin_deleting(VOLUME).is_none());
        drop(deleting);
        assert!(clients.enter(VOLUME).is_some());
    }

    #[test]
    fn connections_beyond_the_limit_are_not_admitted() {
        let clients = Arc::new(Clients::default());
        let mut all: Vec<_> = (0..MAX_CONNECTIONS).map(|_| clients.admit().unwrap()).collect();
        assert!(clients.admit().is_none());
        all.pop();
        assert_eq!(clients.total(), MAX_CONNECTIONS - 1);
        assert!(clients.admit().is_some());
    }
}

//! What each volume asks of the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use chunk::ObjectName;
use chunk::ids::volume_prefix;
use wal::VolumeId;

/// Requests of one volume, each counted once however often it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct VolumeTraffic {
    /// Objects that were written, or tried.
    pub puts: u64,
    /// All requests, puts among them.
    pub requests: u64,
    /// Bytes of the objects that were written, or tried.
    pub put_bytes: u64,
}

/// Requests of all volumes of this process. Looked at once for each request, which takes
/// milliseconds or goes to a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic(Arc<Mutex<BTreeMap<VolumeId, VolumeTraffic>>>);

impl Traffic {
    /// A request other than a put.
    pub(super) fn note(&self, name: &str) {
        self.add(name, VolumeTraffic { requests: 1, ..VolumeTraffic::default() });
    }

    pub(super) fn note_put(&self, name: &ObjectName, bytes: usize) {
        let put_bytes = bytes as u64;
        self.add(name.as_str(), VolumeTraffic { puts: 1, requests: 1, put_bytes });
    }

    pub(super) fn of(&self, volume: VolumeId) -> VolumeTraffic {
        self.volumes().get(&volume).copied().unwrap_or_default()
    }

    fn add(&self, name: &str, more: VolumeTraffic) {
        let Some(volume) = volume_of(name) else { return };
        let mut volumes = self.volumes();
        let sum = volumes.entry(volume).or_default();
        sum.puts += more.puts;
        sum.requests += more.requests;
        sum.put_bytes += more.put_bytes;
    }

    fn volumes(&self) -> MutexGuard<'_, BTreeMap<VolumeId, VolumeTraffic>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// The volume that an object belongs to; names belong to none.
fn volume_of(name: &str) -> Option<VolumeId> {
    let id = VolumeId::parse(name.split('/').nth(1)?)?;
    name.starts_with(&volume_prefix(id)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_for_the_volume_of_their_object() {
        let (one, other) = (VolumeId([1; 16]), VolumeId([2; 16]));
        let traffic = Traffic::default();
        let object = ObjectName::new(format!("{}chunks/1", volume_prefix(one))).unwrap();
        traffic.note_put(&object, 10);
        traffic.note(object.as_str());
        traffic.note("names/one");
        assert_eq!(traffic.of(one), VolumeTraffic { puts: 1, requests: 2, put_bytes: 10 });
        assert_eq!(traffic.of(other), VolumeTraffic::default());
    }
}

//! What a writer does to the store after another one has taken its volume.

use std::collections::BTreeMap;

use bytes::Bytes;
use chunk::{ChunkId, Manifest};

use super::Change;
use crate::sim::executor::ProcessId;

/// Newest manifests that must stay: the last one, and the one that its publisher looks for.
const KEPT: usize = 2;

/// The manifests of the volume that an object is of, from the newest on. They are sought in their
/// own range: each change is looked at, and a store has many other objects.
fn manifests<'a>(
    name: &str,
    objects: &'a BTreeMap<String, Bytes>,
) -> impl Iterator<Item = (&'a String, &'a Bytes)> + use<'a> {
    let volume: String = name.split_inclusive('/').take(2).collect();
    let prefix = format!("{volume}manifests/");
    // The byte behind `/`.
    let end = format!("{volume}manifests0");
    objects.range(prefix..end).rev()
}

/// Whether an object is of an opening before the newest one.
fn is_older(name: &str, objects: &BTreeMap<String, Bytes>) -> bool {
    let newest = manifests(name, objects).next();
    let newest = newest.and_then(|(_, body)| Manifest::decode(body).ok());
    let id = name.rsplit('/').next().and_then(ChunkId::parse);
    matches!((newest, id), (Some((_, newest)), Some(id)) if id.incarnation() < newest.incarnation)
}

/// Looks at one process.
pub(super) struct Watch {
    loser: ProcessId,
    taken: bool,
    /// The first change that it must not have made.
    pub(super) trespass: Option<String>,
}

fn is_manifest(name: &str) -> bool {
    name.contains("/manifests/")
}

impl Watch {
    pub(super) fn new(loser: ProcessId) -> Self {
        Self { loser, taken: false, trespass: None }
    }

    /// Looks at a change that is about to be applied.
    pub(super) fn look(
        &mut self,
        process: ProcessId,
        change: &Change,
        objects: &BTreeMap<String, Bytes>,
    ) {
        let is_newest =
            |name: &String| manifests(name, objects).next().is_none_or(|(newest, _)| newest < name);
        if process != self.loser {
            let Change::Put { name, if_absent: true, .. } = change else { return };
            self.taken |= is_manifest(name) && is_newest(name);
            return;
        }
        let trespass = match change {
            Change::Put { name, if_absent: true, .. } if is_manifest(name) && is_newest(name) => {
                format!("published {name}")
            }
            // The same bytes again: a try whose answer was lost.
            Change::Put { name, if_absent: false, body }
                if objects.get(name).is_some_and(|there| there != body) =>
            {
                format!("replaced {name}")
            }
            // What it knew to be needed by nobody when it looked for the last time. Whether it was
            // right, a check of the volume tells.
            Change::Delete { name } if is_older(name, objects) => return,
            Change::Delete { name }
                if objects.contains_key(name)
                    && (!is_manifest(name)
                        || manifests(name, objects).take(KEPT).any(|(kept, _)| kept == name)) =>
            {
                format!("deleted {name}")
            }
            Change::Put { .. } | Change::Delete { .. } => return,
        };
        if self.taken {
            self.trespass.get_or_insert(trespass);
        }
    }
}

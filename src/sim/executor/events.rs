//! What is to happen at which virtual time.

use std::collections::BTreeMap;
use std::task::Waker;

use super::ProcessId;

/// Names one event: its time in nanoseconds, and a number that orders events of one time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EventKey(u64, u64);

/// What an event does.
pub(super) enum Action {
    /// Wakes a task.
    Wake(Waker),
    /// Runs code of a device.
    Call(Box<dyn FnOnce()>),
}

pub(super) struct Event {
    owner: Option<ProcessId>,
    action: Action,
}

/// All events to come, in their order.
#[derive(Default)]
pub(super) struct Events {
    queue: BTreeMap<EventKey, Event>,
    added: u64,
}

impl Events {
    pub(super) fn add(&mut self, at: u64, owner: Option<ProcessId>, action: Action) -> EventKey {
        self.added += 1;
        let key = EventKey(at, self.added);
        self.queue.insert(key, Event { owner, action });
        key
    }

    pub(super) fn remove(&mut self, key: EventKey) -> Option<Event> {
        self.queue.remove(&key)
    }

    pub(super) fn remove_owned_by(&mut self, process: ProcessId) -> Vec<Event> {
        self.queue.extract_if(.., |_, event| event.owner == Some(process)).map(|(_, e)| e).collect()
    }

    pub(super) fn next_time(&self) -> Option<u64> {
        self.queue.first_key_value().map(|(key, _)| key.0)
    }

    pub(super) fn take_due(&mut self, now: u64) -> Option<Action> {
        let first = self.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove().action)
    }
}

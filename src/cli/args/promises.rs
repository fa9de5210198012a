//! What can be typed of the promises of new volumes.

use clap::Args;

use crate::config::key::Key;

/// What a new volume promises.
#[derive(Args, Debug)]
#[command(next_help_heading = "New volumes")]
pub(in crate::cli) struct PromiseOptions {
    /// When a write is acknowledged: writeback (in memory, durable at FLUSH), wal (durable in the
    /// local log), or remote (as wal, and FLUSH waits for the object store) [default: writeback]
    /// [env: KRAIT_VOLUME_DURABILITY]
    #[arg(long, value_name = "MODE")]
    durability: Option<String>,

    /// When a host that lost its volume stops completing FLUSH: contact (at its next contact with
    /// the store), or lease (before another host takes over) [default: contact] [env:
    /// KRAIT_VOLUME_FENCING]
    #[arg(long, value_name = "MODE")]
    fencing: Option<String>,

    /// How long a lease lasts, 5 to 3600 [default: 30] [env: KRAIT_VOLUME_LEASE_SECONDS]
    #[arg(long, value_name = "SECONDS")]
    lease_seconds: Option<String>,
}

impl PromiseOptions {
    /// Every option with its key.
    pub(super) fn each<'a>(&'a self, add: &mut impl FnMut(Key, &'a Option<String>)) {
        add(Key::Durability, &self.durability);
        add(Key::Fencing, &self.fencing);
        add(Key::LeaseSeconds, &self.lease_seconds);
    }
}

//! What a power loss leaves of sectors that were not synced.

use crate::sim::random::Random;

/// A way in which power loss treats what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PowerLoss {
    /// Nothing unsynced is left.
    DropAll,
    /// Everything that completed is left.
    KeepAll,
    /// Each sector holds any of its versions, or its durable content.
    PerSector,
    /// Writes are kept up to some point in the order of completion; the one there is torn.
    TornPrefix,
    /// Writes before some point in the order of completion are lost, the later ones kept.
    SuffixOnly,
    /// Each sector holds its newest version, its durable content, or noise.
    Garbage,
}

impl PowerLoss {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::DropAll,
        Self::KeepAll,
        Self::PerSector,
        Self::TornPrefix,
        Self::SuffixOnly,
        Self::Garbage,
    ];
}

/// What one sector holds afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Choice {
    /// What the last sync left.
    Durable,
    /// The version of this index.
    Version(usize),
    /// Noise.
    Garbage,
}

/// One power loss: its mode, and the write where it cuts.
pub(super) struct Loss {
    mode: PowerLoss,
    /// Number of a write: the torn one, or the first that is kept.
    edge: u64,
    /// Sectors of the torn write that are kept.
    torn_at: u64,
}

impl Loss {
    /// A power loss of a disk on which these writes are not all durable.
    pub(super) fn new(mode: PowerLoss, writes: &[u64], random: &mut Random) -> Self {
        let oldest = writes.iter().min().copied().unwrap_or(0);
        let newest = writes.iter().max().copied().unwrap_or(0);
        let edge = random.within(oldest..newest + 2);
        Self { mode, edge, torn_at: random.within(0..20) }
    }

    /// Chooses for one sector, of whose versions the number of the write and the index within it
    /// are given, oldest first; there is at least one.
    pub(super) fn choose(&self, versions: &[(u64, u64)], random: &mut Random) -> Choice {
        let newest = Choice::Version(versions.len() - 1);
        match self.mode {
            PowerLoss::DropAll => Choice::Durable,
            PowerLoss::KeepAll => newest,
            PowerLoss::PerSector => match random.below(versions.len() as u64 + 1) as usize {
                0 => Choice::Durable,
                kept => Choice::Version(kept - 1),
            },
            PowerLoss::TornPrefix => {
                let survives = |&(write, index): &(u64, u64)| {
                    write < self.edge || (write == self.edge && index < self.torn_at)
                };
                versions.iter().rposition(survives).map_or(Choice::Durable, Choice::Version)
            }
            PowerLoss::SuffixOnly => match versions.last() {
                Some(&(write, _)) if write >= self.edge => newest,
                _ => Choice::Durable,
            },
            PowerLoss::Garbage => *random.pick(&[Choice::Durable, newest, Choice::Garbage]),
        }
    }
}

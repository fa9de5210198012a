//! Rules about sectors taken together, after a recovery.

use std::collections::BTreeMap;

use super::history::History;
use super::log::{Command, Log, OpId};
use super::{BLOCK_SECTORS, Verdict, Violation};

type Sectors = BTreeMap<u64, History>;

/// An uncovered write is all-old or all-new per block: where a sector of a block is of write `w`,
/// no other sector of that block and write is older than `w`.
pub(super) fn judge_blocks(log: &Log, sectors: &Sectors) -> Result<(), Violation> {
    for (&sector, history) in sectors {
        let Some(origin) = history.floor().origin else { continue };
        let op = log.op(origin);
        // Which of several writes of zeros it was cannot be known, so those tell nothing.
        let Command::Write { first, count, .. } = op.command else { continue };
        let block = sector - sector % BLOCK_SECTORS;
        let shared = first.max(block)..(first + count).min(block + BLOCK_SECTORS);
        for (&other, history) in sectors.range(shared) {
            if history.floor().origin_ended < op.invoked {
                let of = log.describe_op(origin);
                let expected = format!("sector {sector} of this block is of {of}");
                let found = describe(log, history.floor().origin);
                return Err(violation(Verdict::TornBlock, log, other, found, expected));
            }
        }
    }
    Ok(())
}

/// If write `w` survived and `u` was acknowledged before `w` was sent, `u` survived too, or was
/// overwritten.
pub(super) fn judge_prefix(log: &Log, sectors: &Sectors) -> Result<(), Violation> {
    let written = |history: &History| {
        let origin = history.floor().origin?;
        matches!(log.op(origin).command, Command::Write { .. }).then_some(origin)
    };
    // The newest survivor of each life demands all that any other of that life does.
    let mut newest = BTreeMap::new();
    for survivor in sectors.values().filter_map(written) {
        let newest = newest.entry(log.op(survivor).life).or_insert(survivor);
        *newest = survivor.max(*newest);
    }
    for (&sector, history) in sectors {
        for &survivor in newest.values() {
            let Some(missing) = history.missing_before(log, log.op(survivor)) else { continue };
            let (missing, survivor) = (log.describe_op(missing), log.describe_op(survivor));
            let expected = format!("{missing} is missing, but {survivor} survived");
            let found = describe(log, history.floor().origin);
            return Err(violation(Verdict::BrokenPrefix, log, sector, found, expected));
        }
    }
    Ok(())
}

fn describe(log: &Log, origin: Option<OpId>) -> String {
    origin.map_or_else(|| "the zeros of a new volume".to_owned(), |op| log.describe_op(op))
}

fn violation(
    verdict: Verdict,
    log: &Log,
    sector: u64,
    found: String,
    expected: String,
) -> Violation {
    Violation { verdict, sector, life: log.life(), found, expected }
}

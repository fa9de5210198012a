//! Damage to every field of everything that is stored: no wrong byte is ever returned.
//!
//! `KRAIT_CORRUPTIONS` sets how many places are damaged, `KRAIT_CORRUPTION` is one of them.

use std::collections::BTreeMap;
use std::env;

use chunk::Compression;
use krait::sim::disk::{PowerLoss, Rot};
use krait::sim::engine::Engine;
use krait::sim::judge::{BLOCK_SECTORS, Command};
use krait::sim::store::ObjectRot;
use krait::sim::subject::ZeroKind;
use krait::sim::world::{Damage, Outcome, Script, Specimen};
use krait::sim::{Deed, Random, Scenario};

/// Places that are damaged.
const CORRUPTIONS: usize = 1500;

/// First bytes of a record or an object that are damaged one by one: headers and the first
/// entries are there.
const HEADER_BYTES: u64 = 448;

/// Distance of the bytes that are damaged after those.
const STRIDE_BYTES: u64 = 97;

fn number(name: &str) -> Option<usize> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn deed(command: Command, kind: ZeroKind) -> Deed {
    Deed { command, kind }
}

fn write(block: u64, blocks: u64) -> Deed {
    let first = block * BLOCK_SECTORS;
    let command = Command::Write { first, count: blocks * BLOCK_SECTORS, fua: false };
    deed(command, ZeroKind::Zero)
}

fn zero(block: u64, blocks: u64, kind: ZeroKind) -> Deed {
    let (first, count) = (block * BLOCK_SECTORS, blocks * BLOCK_SECTORS);
    deed(Command::Zero { first, count, fua: false }, kind)
}

fn script(deeds: Vec<Deed>) -> Script {
    Script { deeds, rests: true, full: None, cut_at: None, mode: PowerLoss::DropAll }
}

const FLUSH: Deed = Deed { command: Command::Flush, kind: ZeroKind::Zero };
const CUT: Deed = Deed { command: Command::Cut, kind: ZeroKind::Zero };

/// A volume with map pages, chunks that they do not know, and records of both shards of two
/// openings.
fn specimen(compression: Compression) -> Specimen<Engine> {
    let mut scenario =
        Scenario { windows: std::iter::once(1010..1040).collect(), ..Scenario::calm() };
    scenario.tuning.compression = compression;
    if compression != Compression::None {
        // Chunks with more frames than one.
        scenario.tuning.chunk_blocks = 24;
    }
    let folded = [write(1010, 12), CUT, write(1020, 12), zero(1012, 3, ZeroKind::Zero), CUT];
    let unfolded = [write(1030, 4), zero(1034, 2, ZeroKind::Discard), CUT];
    let logged = [write(1016, 2), FLUSH, write(1022, 5), zero(1036, 1, ZeroKind::Zero), FLUSH];
    let again = [write(1038, 2), write(1023, 3), FLUSH];
    let first = script([&folded[..], &unfolded, &logged].concat());
    let made = Specimen::new(scenario, &[first, script(again.to_vec())]);
    made.unwrap_or_else(|failure| panic!("{failure}"))
}

/// The bytes of something of this length that are damaged.
fn offsets(bytes: u64) -> impl Iterator<Item = u64> {
    let header = 0..bytes.min(HEADER_BYTES);
    let rest = (HEADER_BYTES..bytes).step_by(STRIDE_BYTES as usize);
    header.chain(rest).chain(bytes.saturating_sub(8).max(HEADER_BYTES)..bytes)
}

fn damages(specimen: &Specimen<Engine>) -> Vec<Damage> {
    let mut all = Vec::new();
    for (path, range) in specimen.records() {
        for at in offsets(range.end - range.start) {
            let at = range.start + at;
            all.extend(Rot::ALL.map(|rot| Damage::File { path: path.clone(), at, rot }));
        }
    }
    for (name, bytes) in specimen.objects() {
        for at in offsets(bytes) {
            all.extend(ObjectRot::ALL.map(|rot| Damage::Object { name: name.clone(), at, rot }));
        }
    }
    // An even sample of all kinds of places, whatever its size.
    let mut random = Random::stream(0, "corruptions");
    for at in (1..all.len()).rev() {
        all.swap(at, random.below(at as u64 + 1) as usize);
    }
    all
}

fn kind_of(damage: &Damage) -> String {
    match damage {
        Damage::File { .. } => "log".to_owned(),
        Damage::Object { name, .. } => {
            let parts: Vec<_> = name.split('/').collect();
            parts[if parts.len() > 2 { parts.len() - 2 } else { 0 }].to_owned()
        }
    }
}

#[test]
fn damage_is_detected_or_harmless_wherever_it_is() {
    suffer_all(Compression::None);
}

/// What is compressed has fewer places, and damage to one of them changes many blocks.
#[test]
fn damage_to_compressed_chunks_is_detected_or_harmless_wherever_it_is() {
    suffer_all(Compression::Lz4);
}

fn suffer_all(compression: Compression) {
    let mut specimen = specimen(compression);
    let all = damages(&specimen);
    let most = number("KRAIT_CORRUPTIONS").unwrap_or(CORRUPTIONS);
    let only = number("KRAIT_CORRUPTION");
    let mut outcomes: BTreeMap<(String, Outcome), u32> = BTreeMap::new();
    for (case, damage) in all.iter().enumerate().take(most) {
        if only.is_some_and(|only| only != case) {
            continue;
        }
        let outcome = specimen.suffer(damage, case % 4 == 3);
        let outcome =
            outcome.unwrap_or_else(|failure| panic!("case {case}, {damage:?}: {failure}"));
        *outcomes.entry((kind_of(damage), outcome)).or_default() += 1;
    }
    let mut sums: BTreeMap<Outcome, u32> = BTreeMap::new();
    for (&(_, outcome), count) in &outcomes {
        *sums.entry(outcome).or_default() += count;
    }
    println!("{outcomes:#?}");
    println!("tried {} damages: of {}; {sums:?}", most.min(all.len()), all.len());
    if only.is_none() {
        let kinds: std::collections::BTreeSet<_> = outcomes.keys().map(|(kind, _)| kind).collect();
        assert!(kinds.len() >= 5, "{kinds:?}");
        for outcome in [Outcome::Harmless, Outcome::Refused, Outcome::Unreadable] {
            assert!(outcomes.keys().any(|(_, found)| *found == outcome), "never {outcome:?}");
        }
    }
}

/// What nobody flushes is synced in time all the same, however little it is.
#[test]
fn a_single_write_is_durable_after_a_while() {
    let scenario = Scenario { most_cores: 1, ..Scenario::calm() };
    let made = Specimen::<Engine>::new(scenario, &[script(vec![write(1022, 2)])]);
    let specimen = made.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(specimen.records().len(), 1, "it outlived the power, and a mark stands behind it");
}

/// A log that is idle ends by a mark, so that its newest record with data is vouched for.
#[test]
fn the_newest_record_of_an_idle_log_is_not_taken_for_a_torn_tail() {
    let scenario = Scenario { most_cores: 1, ..Scenario::calm() };
    let made = Specimen::<Engine>::new(scenario, &[script(vec![write(1022, 2), FLUSH])]);
    let mut specimen = made.unwrap_or_else(|failure| panic!("{failure}"));
    let records = specimen.records();
    assert_eq!(records.len(), 1, "one record, and a mark that vouches for it: {records:?}");
    let (path, range) = records[0].clone();
    assert_eq!(range.end - range.start, 3 * wal::BLOCK_BYTES as u64, "a header and two blocks");
    for at in range.step_by(wal::SECTOR_BYTES) {
        for rot in [Rot::Byte, Rot::Sector, Rot::StaleBlock] {
            let damage = Damage::File { path: path.clone(), at: at + 77, rot };
            let outcome = specimen.suffer(&damage, false);
            let outcome = outcome.unwrap_or_else(|failure| panic!("{damage:?}: {failure}"));
            // What stands behind the entries of a header is covered by its checksum too.
            assert_eq!(outcome, Outcome::Refused, "{damage:?}");
        }
    }
}

//! The suite must be able to fail: every bug that can be planted into the engine is found by the
//! simulation. `KRAIT_PLANT` plants the bug of one name only, `KRAIT_PLANTS` so many from number
//! `KRAIT_PLANTS_FIRST` on. Needs the feature `planted`, which no build of the product has.
#![cfg(feature = "planted")]

#[path = "sim/cases.rs"]
mod cases;

use std::time::Duration;

use chunk::catalog::{NewVolume, create};
use chunk::manifest_log::{prune, publish};
use chunk::{Durability, Manifest, ManifestSeq, MemoryStore, Promises, VolumeName};
use futures_lite::future::block_on;
use krait::sim::disk::PowerLoss;
use krait::sim::engine::Engine;
use krait::sim::judge::{BLOCK_SECTORS, Command};
use krait::sim::subject::ZeroKind;
use krait::sim::world::{Script, Specimen, run_scenario, run_script};
use krait::sim::{Deed, Scenario};
use wal::planted::{Bug, plant, times_asked};
use wal::{Incarnation, VolumeId};

/// Worlds in which a bug must show. A bug that shows in one of 200 worlds is found in these with
/// 99 % certainty.
const WORLDS: u64 = 1000;

/// The world of a seed, drawn for what a bug is about.
fn world(bug: Option<Bug>, seed: u64) -> Scenario {
    let drawn = Scenario::draw(seed);
    match bug {
        Some(Bug::NoChunkChecksum | Bug::NoPayloadChecksum | Bug::LossTakenForTornTail) => {
            drawn.rotting()
        }
        Some(Bug::NoSpaceIsFinal) => drawn.full(),
        Some(Bug::SyncBelievedAfterError) => drawn.failing(),
        Some(Bug::CutTakenLate) => drawn.losing(),
        Some(Bug::StaleLogDropped) => drawn.contested(),
        Some(Bug::LeaseIgnored | Bug::LeaseNotWaitedFor) => drawn.leased(),
        Some(Bug::SnapshotsSwept | Bug::GraceIgnored) => drawn.collected(),
        Some(Bug::CompactionTakesNewer) => drawn.compacted(),
        Some(Bug::AnswersBeforeLog) => drawn.durable(Durability::Wal),
        Some(Bug::FlushStaysLocal) => drawn.durable(Durability::Remote),
        Some(Bug::ShrinkKeepsTail | Bug::ShrinkBeforeCut | Bug::SizeToldEarly) => drawn.resized(),
        Some(Bug::BuffersPileUp) => drawn.stalling(),
        Some(Bug::AmbiguousPutLost | Bug::DamageTakenForRival) => drawn.lying(),
        Some(
            Bug::SnapshotBeforeCut
            | Bug::CloneOwnsAll
            | Bug::PinIgnored
            | Bug::CloneWithoutPin
            | Bug::DiffOfPagesOnly
            | Bug::GroupCutApart
            | Bug::FlattenCopiesNothing
            | Bug::FlattenUnpinsFirst
            | Bug::NameForgotten
            | Bug::NameBeforeSync
            | Bug::NameLeavesMemory
            | Bug::NamedCutCoversAll
            | Bug::NamedAfterManifest,
        ) => drawn.copied(),
        _ => drawn,
    }
}

/// Looks for a bug; tells in which world it showed, and how.
fn find(bug: Bug) -> Option<(u64, String)> {
    let _planted = plant(bug);
    let scripted = match bug {
        Bug::AnyPredecessor => outsleep(),
        Bug::NoMark => vouch(),
        Bug::StaleNoSpace => fill(1, 5),
        Bug::SpaceNotLookedFor => {
            fill(2, 60).and_then(|()| cases::a_full_disk_goes_on_by_uploads())
        }
        Bug::EmptyCutUnpublished => cases::a_cut_of_nothing_gives_back_what_is_covered(),
        Bug::StaleOpening => cases::a_lost_volume_is_not_opened_as_it_was(),
        Bug::UnfoldedWithoutLimit => cases::a_map_that_cannot_be_folded_has_its_limit(),
        Bug::StaleStamp => cases::epochs_do_not_fall_behind_a_mark(),
        Bug::DeletionForgotten => cases::a_snapshot_that_was_made_is_there(),
        Bug::TakenBackWhilePut => cases::a_snapshot_that_was_taken_back_is_not_there(),
        _ => Ok(()),
    };
    if let Err(found) = scripted {
        return Some((0, found));
    }
    let worlds = match bug {
        // Two shards must sync at once, and the power take what the second one was told of.
        Bug::SyncBelievedAfterError => WORLDS * 6,
        _ => WORLDS,
    };
    (0..worlds).find_map(|seed| {
        let failure = run_scenario::<Engine>(world(Some(bug), seed), false).err()?;
        Some((seed, failure.fault.to_string()))
    })
}

/// Two hosts that slept take numbers that are free again, the second one right after the first.
fn outsleep() -> Result<(), String> {
    let store = MemoryStore::new();
    let new = NewVolume {
        name: VolumeName::new("vm").expect("a name"),
        id: VolumeId([7; 16]),
        size_bytes: 1 << 30,
        stripe_shift: wal::layout::MIN_STRIPE_SHIFT,
        promises: Promises::default(),
        created_unix_ms: 0,
    };
    block_on(async {
        let first = create(&store, new).await.expect("an empty store");
        let written = |seq: u64, salt: u64| {
            Manifest { incarnation: Incarnation(seq), salt, ..first.clone() }
                .encode(ManifestSeq(seq))
        };
        let mut before = first.encode(ManifestSeq::FIRST);
        let mut all = vec![before.clone()];
        for seq in 2..=9 {
            let body = written(seq, seq);
            let (number, next) = (ManifestSeq(seq), body.clone());
            publish(&store, first.volume, number, next, &before).await.expect("nobody else");
            all.push(body.clone());
            before = body;
        }
        prune(&store, first.volume, 2).await.expect("a store in memory");
        for seq in [4, 5] {
            let (number, body) = (ManifestSeq(seq), written(seq, 40 + seq));
            let slept = publish(&store, first.volume, number, body, &all[seq as usize - 2]).await;
            if slept.is_ok() {
                return Err(format!("a host that slept published manifest {seq} after manifest 9"));
            }
        }
        Ok(())
    })
}

/// A log that has rested ends by a mark.
fn vouch() -> Result<(), String> {
    let first = Scenario::calm().windows[0].start * BLOCK_SECTORS;
    let write = Command::Write { first, count: BLOCK_SECTORS, fua: true };
    let deeds = vec![Deed { command: write, kind: ZeroKind::Zero }];
    let script = Script { deeds, rests: true, full: None, cut_at: None, mode: PowerLoss::DropAll };
    let specimen = Specimen::<Engine>::new(Scenario::calm(), &[script]);
    let records = specimen.map_err(|failure| failure.fault.to_string())?.records();
    if records.is_empty() { Err("nothing vouches for the newest record".into()) } else { Ok(()) }
}

/// A log goes on when the disk has space again.
fn fill(segments: u64, seconds: u64) -> Result<(), String> {
    let scenario = Scenario { most_cores: 1, ..Scenario::calm() };
    let script = Script::of_a_full_disk(&scenario, segments, Duration::from_secs(seconds));
    let lived = run_script::<Engine>(scenario, &[script]);
    lived.map(drop).map_err(|failure| failure.fault.to_string())
}

/// The same worlds without a bug: what is found above is the bug and nothing else.
#[test]
fn without_a_bug_nothing_is_found() {
    outsleep().expect("what a sleeper left misleads nobody");
    vouch().expect("there is a mark");
    for (name, case) in cases::ALL {
        case().unwrap_or_else(|found| panic!("{name}: {found}"));
    }
    fill(1, 5).and_then(|()| fill(2, 60)).expect("there is space again");
    let focused = [
        Bug::NoChunkChecksum,
        Bug::NoSpaceIsFinal,
        Bug::SyncBelievedAfterError,
        Bug::AmbiguousPutLost,
        Bug::CutTakenLate,
        Bug::StaleLogDropped,
        Bug::LeaseIgnored,
        Bug::GraceIgnored,
        Bug::CompactionTakesNewer,
        Bug::AnswersBeforeLog,
        Bug::FlushStaysLocal,
        Bug::BuffersPileUp,
        Bug::PinIgnored,
        Bug::ShrinkKeepsTail,
    ];
    for bug in [None].into_iter().chain(focused.map(Some)) {
        for seed in 0..WORLDS / if bug.is_some() { 5 } else { 1 } {
            if let Err(failure) = run_scenario::<Engine>(world(bug, seed), false) {
                panic!("{failure}");
            }
        }
    }
}

#[test]
fn every_planted_bug_is_found() {
    std::panic::set_hook(Box::new(|_| ()));
    let mut missed = Vec::new();
    let only = std::env::var("KRAIT_PLANT").ok();
    let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    let first = number("KRAIT_PLANTS_FIRST").unwrap_or(0);
    let most = number("KRAIT_PLANTS").unwrap_or(Bug::ALL.len());
    let wanted = |bug: &&Bug| only.as_ref().is_none_or(|name| name == bug.name());
    let bugs: Vec<_> = Bug::ALL.iter().skip(first).take(most).filter(wanted).collect();
    for &&bug in &bugs {
        match find(bug) {
            Some((seed, text)) => {
                let line = text.lines().next().unwrap_or_default();
                println!("{:<28} world {seed:>4}: {line}", bug.name());
            }
            None => {
                println!("{:<28} not found, asked {} times", bug.name(), times_asked());
                missed.push(bug.name());
            }
        }
    }
    assert!(missed.is_empty(), "the simulation misses {missed:?}");
    println!("tried {} planted bugs: all were found", bugs.len());
}

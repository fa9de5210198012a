//! Huge volumes and huge requests.

use std::thread;
use std::time::{Duration, Instant};

use nbd::client::{Flags, Request};
use nbd::{ByteRange, ReplyMode};

use crate::client::Client;
use crate::process::{disk_usage, resident};
use crate::server::Place;
use crate::{ALONE, GIB, KIB, MIB, TIB, flush, noise, read, succeed, write};

/// Makes a request for a range.
type MakeRequest = fn(ByteRange) -> Request;

/// Longest time for 1 TiB of zeroes.
const ZEROED: Duration = Duration::from_secs(1);

/// Most that an idle volume costs, on the disk and in memory.
const IDLE_COST: u64 = 64 * MIB;

/// What so many zeroes may cost on the disk: records of the log, and a manifest.
const ZEROES_COST: u64 = 40 * MIB;

const OPTIONS: &str = "--create=big=16T --cores=2 --rpo-seconds=1";

/// Zeroes or trims 1 TiB from `offset`, by requests of `piece` back to back.
fn clear(client: &mut Client, offset: u64, piece: u64, kind: fn(ByteRange) -> Request) -> Duration {
    let started = Instant::now();
    for at in (offset..offset + TIB).step_by(piece as usize) {
        let range = ByteRange::new(at, piece.min(offset + TIB - at));
        client.send(kind(range), Flags::NONE, &[]).expect("a request");
        if client.under_way() >= 64 {
            succeed(client.receive().map(|(_, answer)| answer));
        }
    }
    while client.under_way() > 0 {
        succeed(client.receive().map(|(_, answer)| answer));
    }
    flush(client);
    started.elapsed()
}

#[test]
fn one_tebibyte_is_zeroed_or_trimmed_within_a_second_and_costs_no_space() {
    let _alone = ALONE.lock();
    let place = Place::new(Vec::new());
    let mut server = place.serve(OPTIONS);
    let mut wide = server.connect("big", ReplyMode::Extended).expect("a server");
    let mut narrow = server.connect("big", ReplyMode::Simple).expect("a server");
    assert_eq!(wide.session.mode, ReplyMode::Extended);
    let mark = noise(1, MIB);
    // Not on the border of a block, a stripe or anything else.
    let odd = 3 * TIB + 1536;
    for offset in [odd, odd + TIB / 2, odd + TIB - MIB / 2, odd + TIB + MIB] {
        write(&mut wide, offset, &mark);
    }
    flush(&mut wide);
    let before = disk_usage(&place.data);
    let kinds: [(&str, MakeRequest); 2] =
        [("zeroes", Request::WriteZeroes), ("trim", Request::Trim)];
    let mut slowest = Duration::ZERO;
    for (name, kind) in kinds {
        let took = [
            clear(&mut wide, odd, TIB, kind),
            clear(&mut narrow, odd, 2 * GIB, kind),
            clear(&mut narrow, odd, 4 * GIB - 4 * KIB, kind),
        ];
        eprintln!("1 TiB of {name}: {took:?} by requests of 1 TiB, 2 GiB and nearly 4 GiB");
        slowest = slowest.max(took.into_iter().max().expect("three"));
        for offset in [odd, odd + TIB / 2] {
            assert!(read(&mut wide, offset, MIB) == vec![0; MIB as usize], "{name} at {offset}");
        }
        let end = read(&mut wide, odd + TIB - MIB / 2, MIB / 2);
        assert!(end == vec![0; (MIB / 2) as usize]);
        assert!(read(&mut wide, odd + TIB + MIB, MIB) == mark, "beyond the end");
    }
    thread::sleep(Duration::from_secs(3));
    let after = disk_usage(&place.data);
    let grown = after.saturating_sub(before) >> 20;
    eprintln!("the disk holds {} MiB, {grown} MiB more", after >> 20);
    assert!(slowest <= ZEROED, "1 TiB took {slowest:?}");
    assert!(after.saturating_sub(before) <= ZEROES_COST, "{grown} MiB more on the disk");
    server.kill();
    let mut server = place.serve(OPTIONS);
    let mut client = server.connect("big", ReplyMode::Extended).expect("a server");
    assert!(read(&mut client, odd + TIB / 2, MIB) == vec![0; MIB as usize], "after a kill");
    assert!(read(&mut client, odd + TIB + MIB, MIB) == mark, "after a kill, beyond the end");
    server.kill();
    let checked = place.run("volume check big");
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn an_idle_volume_of_16_tebibytes_costs_little() {
    let _alone = ALONE.lock();
    let place = Place::new(Vec::new());
    let mut server = place.serve("--create=big=16T");
    let mut client = server.connect("big", ReplyMode::Extended).expect("a server");
    let body = noise(2, 64 * KIB);
    for at in (0..16 * TIB).step_by(TIB as usize) {
        write(&mut client, at, &body);
        assert!(read(&mut client, at, 64 * KIB) == body);
    }
    flush(&mut client);
    thread::sleep(Duration::from_secs(1));
    let (disk, memory) = (disk_usage(&place.data), resident(&server));
    eprintln!("16 TiB, idle: {} MiB of disk, {} MiB of memory", disk >> 20, memory >> 20);
    assert!(disk <= IDLE_COST, "{} MiB of disk", disk >> 20);
    assert!(memory < IDLE_COST, "{} MiB of memory", memory >> 20);
    assert!(server.stop().success());
}

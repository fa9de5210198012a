//! A request that needs all memory of its core beside many that need a little.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nbd::wire;

use crate::fixture::{Home, now};
use crate::raw::{enter, reply, request};

const MIB: u32 = 1 << 20;

/// Longest that the large request may take. Alone it takes a tenth of a second.
const LARGE: Duration = Duration::from_secs(10);

#[test]
fn a_request_for_all_memory_gets_its_turn_beside_a_stream_of_others() {
    let home = Home::on_cores("1");
    let server = home.serve("256M");
    let (stop, rounds) = (AtomicBool::new(false), std::sync::atomic::AtomicU64::new(0));
    let mut large = enter(&server);
    let mut streams: Vec<_> = (0..6).map(|_| enter(&server)).collect();
    std::thread::scope(|scope| {
        for stream in &mut streams {
            let (stop, rounds) = (&stop, &rounds);
            std::thread::Builder::new()
                .spawn_scoped(scope, move || {
                    // Two are always under way, so that some memory is always in use.
                    let read = request(wire::NBD_CMD_READ, 1, 0, 2 * MIB);
                    let mut data = vec![0; 2 << 20];
                    stream.write_all(&read).expect("room");
                    while !stop.load(Ordering::Relaxed) {
                        stream.write_all(&read).expect("room");
                        assert_eq!(reply(stream).0, 0);
                        stream.read_exact(&mut data).expect("data");
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                })
                .expect("a thread");
        }
        while rounds.load(Ordering::Relaxed) < 50 {
            crate::fixture::pause();
        }
        let started = now();
        let mut data = vec![0; 32 << 20];
        for _ in 0..3 {
            large.write_all(&request(wire::NBD_CMD_READ, 2, 0, 32 * MIB)).expect("room");
            assert_eq!(reply(&mut large).0, 0);
            large.read_exact(&mut data).expect("data");
        }
        let took = started.elapsed();
        let before = rounds.load(Ordering::Relaxed);
        while rounds.load(Ordering::Relaxed) < before + 50 {
            crate::fixture::pause();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(took < LARGE, "three large requests took {took:?}");
    });
}

use wal::runtime::Runtime;

use super::*;
use crate::sim::executor::Budget;

const BUDGET: Budget = Budget { steps: 100_000, span: Duration::from_secs(60) };
const MESSAGES: u32 = 50;
const NO_REST: Duration = Duration::ZERO;

/// What core 0 receives when all others send as fast as they can; checks that no ring is ever
/// fuller than it may be. The receiver rests after each message.
fn received(seed: u64, cores: u16, room: usize, rest: Duration) -> Vec<(u16, u32)> {
    let executor = Executor::new(seed, false);
    let process = executor.start_process();
    let mut ends = SimMesh::connect(&executor, process, cores, room, Duration::from_micros(60));
    let pump = ends.remove(0);
    assert_eq!((pump.me(), pump.cores()), (CoreId(0), cores));
    for end in ends {
        executor.spawn(process, end.me(), async move {
            for number in 0..MESSAGES {
                end.send(CoreId(0), (end.me().0, number)).await;
                let fullest = end.wiring.borrow().rings.iter().map(|r| r.messages.len()).max();
                assert!(fullest <= Some(room));
            }
        });
    }
    let expected = usize::from(cores - 1) * MESSAGES as usize;
    let runtime = executor.runtime(process, pump.me());
    let receive = async move {
        let mut all = Vec::new();
        while all.len() < expected {
            all.push(pump.receive().await);
            runtime.sleep(rest).await;
        }
        all
    };
    executor.block_on(process, BUDGET, receive).expect("every message arrives")
}

#[test]
fn messages_between_two_cores_keep_their_order() {
    for (seed, room) in [(1, 1), (2, 3), (3, 100)] {
        let all = received(seed, 4, room, NO_REST);
        for core in 1..4 {
            let of_core = all.iter().filter(|(from, _)| *from == core).map(|(_, number)| *number);
            assert!(of_core.eq(0..MESSAGES), "{all:?}");
        }
    }
}

#[test]
fn the_seed_decides_who_comes_first() {
    assert_eq!(received(1, 3, 8, NO_REST), received(1, 3, 8, NO_REST));
    assert_ne!(received(1, 3, 8, NO_REST), received(2, 3, 8, NO_REST));
}

#[test]
fn nobody_starves() {
    let all = received(5, 4, 4, Duration::from_millis(1));
    for core in 1..4 {
        let first = all.iter().position(|(from, _)| *from == core);
        assert!(first.is_some_and(|place| place < 6), "{all:?}");
    }
}

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use wal::runtime::Runtime;

use super::*;

const BUDGET: Budget = Budget { steps: 10_000, span: Duration::from_secs(60) };

/// The order in which eight tasks that pause twice get their turns.
fn order_of(seed: u64) -> (Vec<u64>, u64) {
    let executor = Executor::new(seed, false);
    let process = executor.start_process();
    let turns = Rc::new(RefCell::new(Vec::new()));
    for task in 0..8 {
        let (turns, runtime) = (Rc::clone(&turns), executor.runtime(process, CoreId(0)));
        executor.spawn(process, CoreId(0), async move {
            for _ in 0..3 {
                turns.borrow_mut().push(task);
                runtime.pause().await;
            }
        });
    }
    assert!(executor.run(BUDGET, || false).is_err_and(|stuck| stuck.is_idle()));
    (turns.take(), executor.trace_hash())
}

#[test]
fn the_seed_decides_the_order() {
    assert_eq!(order_of(1), order_of(1));
    assert_ne!(order_of(1).0, order_of(2).0);
    assert_ne!(order_of(1).1, order_of(2).1);
}

#[test]
fn time_jumps_to_the_next_timer() {
    let executor = Executor::new(1, false);
    let process = executor.start_process();
    let runtime = executor.runtime(process, CoreId(0));
    let slept = executor.block_on(process, BUDGET, async move {
        runtime.sleep(Duration::from_secs(3)).await;
        runtime.now()
    });
    let slept = slept.expect("a timer always ends");
    assert!(slept >= Duration::from_secs(3) && slept < Duration::from_millis(3001), "{slept:?}");
    assert!(executor.steps() < 5);
}

struct OnDrop(Rc<Cell<u32>>, SimRuntime);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
        let again = OnDropSpawned(Rc::clone(&self.0));
        self.1.spawn(async move {
            again.0.set(100);
        });
    }
}

struct OnDropSpawned(Rc<Cell<u32>>);

#[test]
fn a_kill_drops_every_task_of_one_process_only() {
    let executor = Executor::new(1, false);
    let (first, second) = (executor.start_process(), executor.start_process());
    let (dropped, ran) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    for _ in 0..3 {
        let runtime = executor.runtime(first, CoreId(0));
        let guard = OnDrop(Rc::clone(&dropped), runtime.clone());
        executor.spawn(first, CoreId(0), async move {
            runtime.sleep(Duration::from_secs(1)).await;
            guard.0.set(50);
        });
    }
    let (runtime, mark) = (executor.runtime(second, CoreId(0)), Rc::clone(&ran));
    executor.spawn(second, CoreId(0), async move {
        runtime.sleep(Duration::from_secs(2)).await;
        mark.set(true);
    });
    assert!(executor.run(BUDGET, || executor.steps() == 4).is_ok());
    executor.kill(first);
    assert_eq!(dropped.get(), 3, "destructors ran, and what they started did not");
    assert!(executor.run(BUDGET, || ran.get()).is_ok());
    assert_eq!(dropped.get(), 3);
    assert!(!executor.is_alive(first) && executor.is_alive(second));
}

#[test]
fn a_world_that_spins_or_waits_for_ever_is_reported() {
    let executor = Executor::new(1, false);
    let process = executor.start_process();
    let runtime = executor.runtime(process, CoreId(1));
    executor.spawn(process, CoreId(1), async move {
        loop {
            runtime.pause().await;
        }
    });
    let stuck = executor.run(BUDGET, || false).expect_err("it spins");
    assert!(!stuck.is_idle());
    assert!(stuck.to_string().contains("too many steps"), "{stuck}");
    assert!(stuck.to_string().contains("process 0 core 1: krait::sim::executor::tests"), "{stuck}");
    executor.kill(process);
    let next = executor.start_process();
    let stuck = executor.block_on(next, BUDGET, std::future::pending::<()>());
    assert!(stuck.expect_err("nobody wakes it").is_idle());
}

#[test]
fn a_dropped_reply_does_not_stop_the_device_but_a_kill_does() {
    let executor = Executor::new(1, false);
    let process = executor.start_process();
    let done = Rc::new(Cell::new(0));
    let count = |by: u32| {
        let done = Rc::clone(&done);
        move || done.set(done.get() + by)
    };
    drop(executor.device(process, Duration::from_millis(1), count(1)));
    drop(executor.device(process, Duration::from_millis(9), count(10)));
    let runtime = executor.runtime(process, CoreId(0));
    let nap = async move { runtime.sleep(Duration::from_millis(5)).await };
    executor.block_on(process, BUDGET, nap).expect("a timer always ends");
    executor.kill(process);
    assert!(executor.run(BUDGET, || false).is_err());
    assert_eq!(done.get(), 1);
}

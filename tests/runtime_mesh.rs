//! Rings between cores.

use krait::engine::mesh::{CoreId, Mesh};
use krait::runtime::{CoreContext, CoreOptions, CorePlan, RingMesh};
use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use wal::runtime::Runtime;

type Message = (u16, u64);

/// Runs `main` on `cores` cores with rings of `slots` messages.
fn run<T, F, Fut>(cores: u16, slots: usize, main: F) -> Vec<T>
where
    T: Send + 'static,
    F: FnOnce(CoreContext, RingMesh<Message>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let plan = CorePlan::new(&CoreOptions {
        cores: Some(cores),
        share_cpus: true,
        ..CoreOptions::new(dir.path())
    });
    let plan = plan.expect("plan");
    let ends = RingMesh::build_with_slots(cores, slots);
    let running = plan.start(ends, move |context, end| {
        let mesh = end.bind(&context.runtime);
        main(context, mesh)
    });
    running.expect("start").join().expect("end")
}

/// Sends `count` messages to each peer, a task per peer, and checks that as many arrive in order.
async fn exchange(context: CoreContext, mesh: RingMesh<Message>, count: u64) {
    let me = mesh.me().0;
    let senders = Rc::new(Cell::new(0));
    for to in (0..mesh.cores()).filter(|&to| to != me) {
        let (mesh, senders) = (mesh.clone(), Rc::clone(&senders));
        senders.set(senders.get() + 1);
        context.runtime.spawn(async move {
            for number in 0..count {
                mesh.send(CoreId(to), (me, number)).await;
            }
            senders.set(senders.get() - 1);
        });
    }
    let mut expected = vec![0; usize::from(mesh.cores())];
    for _ in 0..count * u64::from(mesh.cores() - 1) {
        let (from, number) = mesh.receive().await;
        assert_eq!(number, expected[usize::from(from)], "in order from core {from}");
        expected[usize::from(from)] += 1;
    }
    while senders.get() > 0 {
        context.runtime.pause().await;
    }
}

#[test]
fn every_message_arrives_once_and_in_order_through_tiny_rings() {
    run(3, 1, |context, mesh| exchange(context, mesh, 1_000));
}

#[test]
fn every_message_arrives_once_and_in_order_through_large_rings() {
    run(2, 1024, |context, mesh| exchange(context, mesh, 50_000));
}

/// Each message waits for the one before it, so that each wake is needed.
#[test]
fn no_wake_is_lost_between_cores_that_wait_for_each_other() {
    run(2, 4, |_, mesh| async move {
        let peer = CoreId(1 - mesh.me().0);
        for number in 0..5_000 {
            if mesh.me().0 == 0 {
                mesh.send(peer, (0, number)).await;
            }
            assert_eq!(mesh.receive().await.1, number);
            if mesh.me().0 == 1 {
                mesh.send(peer, (1, number)).await;
            }
        }
    });
}

/// A pump that itself waits for space must not keep other senders of its core from being woken.
#[test]
fn senders_wait_for_space_independently_of_the_pump() {
    let received = run(2, 2, |context, mesh| async move {
        if mesh.me().0 == 0 {
            let sent = Rc::new(Cell::new(0));
            for _ in 0..10 {
                let (mesh, sent) = (mesh.clone(), Rc::clone(&sent));
                context.runtime.spawn(async move {
                    mesh.send(CoreId(1), (0, 1)).await;
                    sent.set(sent.get() + 1);
                });
            }
            // Nobody on this core receives.
            while sent.get() < 10 {
                context.runtime.sleep(Duration::from_millis(1)).await;
            }
            return 10;
        }
        context.runtime.sleep(Duration::from_millis(50)).await;
        let mut received = 0;
        while received < 10 {
            received += mesh.receive().await.1;
        }
        received
    });
    assert_eq!(received, [10, 10]);
}

#[test]
fn sending_to_a_core_that_has_ended_does_not_wait() {
    run(2, 2, |context, mesh| async move {
        if mesh.me().0 == 0 {
            for number in 0..100 {
                mesh.send(CoreId(1), (0, number)).await;
            }
        } else {
            context.runtime.sleep(Duration::from_millis(20)).await;
        }
    });
}

/// The pump of a flooded core lets the other tasks of the core run.
#[test]
fn a_flood_of_messages_does_not_starve_the_core() {
    let ticks = run(2, 1024, |context, mesh| async move {
        const COUNT: u64 = 20_000;
        if mesh.me().0 == 0 {
            for number in 0..COUNT {
                mesh.send(CoreId(1), (0, number)).await;
            }
            return 1;
        }
        // Always full when the pump looks.
        context.runtime.sleep(Duration::from_millis(20)).await;
        let ticks = Rc::new(Cell::new(0_u64));
        let (counter, runtime) = (Rc::clone(&ticks), context.runtime);
        context.runtime.spawn(async move {
            loop {
                counter.set(counter.get() + 1);
                futures_lite::future::yield_now().await;
                if counter.get() == u64::MAX {
                    runtime.pause().await;
                }
            }
        });
        for _ in 0..1024 {
            mesh.receive().await;
        }
        ticks.get()
    });
    assert!(ticks[1] >= 8, "{} turns during 1024 messages", ticks[1]);
}

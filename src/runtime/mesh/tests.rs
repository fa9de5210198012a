use super::*;
use crate::runtime::GlommioRuntime;
use futures_lite::future::poll_once;
use glommio::LocalExecutorBuilder;
use std::pin::pin;
use std::time::Duration;

/// Runs a test on an executor with both ends of a mesh of two "cores".
fn with_two_ends<Fut: Future<Output = ()>>(test: impl FnOnce(RingMesh<u32>, RingMesh<u32>) -> Fut) {
    let executor = LocalExecutorBuilder::default().make().expect("an executor");
    executor.run(async {
        let mut ends = RingMesh::build_with_slots(2, 4).into_iter();
        let mut end = || ends.next().expect("two ends").bind(&GlommioRuntime);
        test(end(), end()).await;
    });
}

#[test]
fn a_ring_that_comes_late_does_not_take_the_next_wake_with_it() {
    with_two_ends(|from, to| async move {
        assert_eq!(poll_once(pin!(to.receive())).await, None, "it waits, and said so");
        let outlet = from.core.outlets[1].as_ref().expect("to the other");
        assert!(outlet.try_send(&mut Some(1)));
        // The receiver looks for another reason before the sender comes to ring.
        assert_eq!(poll_once(pin!(to.receive())).await, Some(1));
        let got = Rc::new(Cell::new(0));
        let (receiver, seen) = (to.clone(), Rc::clone(&got));
        GlommioRuntime.spawn(async move { seen.set(receiver.receive().await) });
        GlommioRuntime.sleep(Duration::from_millis(1)).await;
        outlet.bell.ring_if_hungry();
        GlommioRuntime.sleep(Duration::from_millis(1)).await;
        from.send(CoreId(1), 2).await;
        GlommioRuntime.sleep(Duration::from_millis(50)).await;
        assert_eq!(got.get(), 2, "the receiver was not woken");
    });
}

#[test]
fn space_that_another_task_took_does_not_end_the_wait_for_more() {
    with_two_ends(|from, to| async move {
        for message in 0..4 {
            from.send(CoreId(1), message).await;
        }
        let sent = Rc::new(Cell::new(false));
        let (sender, done) = (from.clone(), Rc::clone(&sent));
        GlommioRuntime.spawn(async move {
            sender.send(CoreId(1), 4).await;
            done.set(true);
        });
        GlommioRuntime.sleep(Duration::from_millis(1)).await;
        let inlet = to.core.inlets[0].as_ref().expect("from the other");
        // One message goes and the sender is told, but somebody else is faster.
        assert_eq!(inlet.ring.borrow_mut().pop(), Ok(0));
        inlet.feed_starved();
        assert!(from.core.outlets[1].as_ref().expect("it").try_send(&mut Some(5)));
        GlommioRuntime.sleep(Duration::from_millis(1)).await;
        assert!(!sent.get());
        for _ in 0..4 {
            assert!(poll_once(pin!(to.receive())).await.is_some());
        }
        GlommioRuntime.sleep(Duration::from_millis(50)).await;
        assert!(sent.get(), "the sender was not woken");
    });
}

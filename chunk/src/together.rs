//! Many futures, a few at a time, without an executor of their own.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// The results of all futures in their order, at most `most` of them under way at a time.
pub(crate) async fn together<F: Future>(
    most: usize,
    futures: impl IntoIterator<Item = F>,
) -> Vec<F::Output> {
    assert!(most > 0, "somebody has to do it");
    let mut waiting = futures.into_iter();
    let mut running: Vec<(usize, Pin<Box<F>>)> = Vec::new();
    let mut done: Vec<Option<F::Output>> = Vec::new();
    poll_fn(|context| {
        loop {
            while running.len() < most
                && let Some(future) = waiting.next()
            {
                running.push((done.len(), Box::pin(future)));
                done.push(None);
            }
            let before = running.len();
            running.retain_mut(|(place, future)| match future.as_mut().poll(context) {
                Poll::Pending => true,
                Poll::Ready(value) => {
                    done[*place] = Some(value);
                    false
                }
            });
            if before == 0 {
                return Poll::Ready(());
            }
            if running.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await;
    done.into_iter().map(|value| value.expect("all of them have ended")).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_lite::future::{block_on, yield_now};

    use super::*;

    #[test]
    fn results_come_in_order_and_no_more_run_at_a_time_than_may() {
        let (now, most) = (Cell::new(0), Cell::new(0));
        let work = async |n: usize| {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            for _ in 0..(n * 7) % 5 {
                yield_now().await;
            }
            now.set(now.get() - 1);
            n
        };
        let all: Vec<_> = (0..20).collect();
        assert_eq!(block_on(together(3, all.clone().into_iter().map(&work))), all);
        assert_eq!((now.get(), most.get()), (0, 3));
        assert!(block_on(together(3, std::iter::empty::<std::future::Ready<u8>>())).is_empty());
    }
}

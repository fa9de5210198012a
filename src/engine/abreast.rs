//! The same question to many, a few at a time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// One that is under way, and where its answer belongs.
struct Runner<F> {
    place: usize,
    future: Pin<Box<F>>,
}

/// The results of all futures in their order, at most `most` of them under way at a time. The
/// first error ends it, and drops what is under way.
///
/// # Errors
/// The first one.
pub async fn abreast<F, T, E>(
    most: usize,
    futures: impl IntoIterator<Item = F>,
) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    assert!(most > 0, "somebody has to do it");
    let mut waiting = futures.into_iter().enumerate();
    let mut running: Vec<Runner<F>> = Vec::new();
    let mut done: Vec<Option<T>> = Vec::new();
    poll_fn(|context| {
        loop {
            let room = most - running.len();
            let started = waiting.by_ref().take(room);
            running.extend(started.map(|(place, f)| Runner { place, future: Box::pin(f) }));
            done.resize_with(
                running.iter().map(|r| r.place + 1).max().unwrap_or(0).max(done.len()),
                || None,
            );
            let before = running.len();
            let mut at = 0;
            while at < running.len() {
                match running[at].future.as_mut().poll(context) {
                    Poll::Pending => at += 1,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(value)) => {
                        let Runner { place, .. } = running.swap_remove(at);
                        done[place] = Some(value);
                    }
                }
            }
            if running.is_empty() && before == 0 {
                return Poll::Ready(Ok(()));
            }
            if running.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await?;
    Ok(done.into_iter().map(|value| value.expect("all of them have ended")).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_lite::future::{block_on, yield_now};

    use super::*;

    #[test]
    fn results_come_in_order_and_no_more_run_at_a_time_than_may() {
        let (now, most) = (Cell::new(0), Cell::new(0));
        let work = |n: usize| {
            let (now, most) = (&now, &most);
            async move {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                for _ in 0..(n * 7) % 5 {
                    yield_now().await;
                }
                now.set(now.get() - 1);
                Ok::<_, ()>(n)
            }
        };
        let found = block_on(abreast(3, (0..20).map(work)));
        assert_eq!(found, Ok((0..20).collect()));
        assert_eq!((now.get(), most.get()), (0, 3));
        assert_eq!(
            block_on(abreast(3, std::iter::empty::<std::future::Ready<Result<u8, ()>>>())),
            Ok(vec![])
        );
    }

    #[test]
    fn the_first_error_ends_it() {
        let started = Cell::new(0);
        let work = |n: usize| {
            started.set(started.get() + 1);
            async move { if n == 4 { Err(n) } else { Ok(n) } }
        };
        assert_eq!(block_on(abreast(2, (0..100).map(work))), Err(4));
        assert!(started.get() <= 6, "{}", started.get());
    }
}

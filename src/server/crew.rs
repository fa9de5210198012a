//! The same work for many, a few at a time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wal::runtime::Runtime;

use crate::engine::signal::Signal;
use crate::runtime::GlommioRuntime;

struct Crew<T> {
    waiting: RefCell<std::vec::IntoIter<T>>,
    working: Cell<usize>,
    left: Signal,
}

/// Does `work` for every item in order, for `hands` of them at a time, and returns when all of it
/// is done.
pub(super) async fn each<T: 'static, F: Future<Output = ()>>(
    hands: usize,
    items: Vec<T>,
    work: impl Fn(T) -> F + 'static,
) {
    let crew = Rc::new(Crew {
        waiting: RefCell::new(items.into_iter()),
        working: Cell::new(hands),
        left: Signal::default(),
    });
    let work = Rc::new(work);
    for _ in 0..hands {
        let (crew, work) = (crew.clone(), work.clone());
        GlommioRuntime.spawn(async move {
            loop {
                let item = crew.waiting.borrow_mut().next();
                let Some(item) = item else { break };
                work(item).await;
            }
            crew.working.set(crew.working.get() - 1);
            crew.left.notify();
        });
    }
    crew.left.until(|| (crew.working.get() == 0).then_some(())).await;
}

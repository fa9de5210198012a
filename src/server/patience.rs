//! Waiting that ends.

use std::time::Duration;

use futures_lite::future;
use wal::runtime::Runtime;

use crate::runtime::GlommioRuntime;

/// The result of `work`, if it ends within `span`.
pub(super) async fn in_time<T>(span: Duration, work: impl Future<Output = T>) -> Option<T> {
    let work = async { Some(work.await) };
    let timeout = async {
        GlommioRuntime.sleep(span).await;
        None
    };
    future::or(work, timeout).await
}

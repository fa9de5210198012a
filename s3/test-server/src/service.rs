//! From a request to its answer, with what goes wrong in between.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, DATE, HeaderName, HeaderValue, SERVER};
use hyper::{Method, Request, Response, StatusCode};
use s3s::Body;
use s3s::service::S3Service;

use crate::faults::{Fault, Faults};

/// What is sent: it may break off.
pub(crate) type Answer = Response<BoxBody<Bytes, Broken>>;

/// The connection is to be closed, or reset.
#[derive(Debug)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for Broken {}

/// A request that may have changed the bucket, and was answered with success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Its method.
    pub method: Method,
    /// Its path, with the bucket and the query.
    pub path: String,
    /// Bytes that it carried.
    pub bytes: u64,
}

/// A request that read something, and was answered with success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// Its path, with the bucket and the query.
    pub path: String,
    /// Bytes of the answer.
    pub bytes: u64,
}

/// Counts of what came in.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) changes: Mutex<Vec<Change>>,
    pub(crate) reads: Mutex<Vec<Read>>,
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) running: AtomicU64,
    pub(crate) most_running: AtomicU64,
}

/// All that a connection needs to answer.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) s3: S3Service,
    pub(crate) faults: Faults,
    pub(crate) traffic: Arc<Traffic>,
}

impl Service {
    /// Answers one request; `reset` is told if the connection is to be reset.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        reset: &AtomicBool,
    ) -> Result<Answer, Broken> {
        self.traffic.requests.fetch_add(1, Ordering::Relaxed);
        let running = self.traffic.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.traffic.most_running.fetch_max(running, Ordering::Relaxed);
        let path = request.uri().path_and_query().map(|path| path.as_str()).unwrap_or_default();
        let fault = self.faults.of(request.method(), path);
        let answer = self.faulty(request, fault, reset).await;
        self.traffic.running.fetch_sub(1, Ordering::Relaxed);
        answer.map(|mut answer| {
            answer.headers_mut().insert(SERVER, HeaderValue::from_static("s3-test-server"));
            answer
        })
    }

    async fn faulty(
        &self,
        request: Request<Incoming>,
        fault: Option<Fault>,
        reset: &AtomicBool,
    ) -> Result<Answer, Broken> {
        let Some(fault) = fault else { return self.plain(request).await };
        match fault {
            Fault::Status(_) | Fault::ClockAhead(_) | Fault::ErrorBody | Fault::OtherRegion(_) => {
                // A server that refuses still takes what is sent, or the client sees a reset.
                drop(request.into_body().collect().await);
                Ok(refusal(fault))
            }
            Fault::StatusAfter(_) => {
                self.plain(request).await?;
                Ok(refusal(fault))
            }
            Fault::ResetBefore => {
                reset.store(true, Ordering::Relaxed);
                Err(Broken)
            }
            Fault::ResetAfter => {
                self.plain(request).await?;
                reset.store(true, Ordering::Relaxed);
                Err(Broken)
            }
            Fault::Hang => std::future::pending().await,
            Fault::HangAfter => {
                self.plain(request).await?;
                std::future::pending().await
            }
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                self.plain(request).await
            }
            Fault::DamageUpload => self.damaged(request).await,
            Fault::Trickle(_)
            | Fault::Truncate
            | Fault::ShortPart
            | Fault::ShortObject
            | Fault::WholeObject
            | Fault::WrongBytes => {
                let answer = self.plain(request).await?;
                bent(answer, fault).await
            }
        }
    }

    async fn plain(&self, request: Request<Incoming>) -> Result<Answer, Broken> {
        let method = request.method().clone();
        let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
        let bytes = request.body().size_hint().exact().unwrap_or_default();
        let answer = self.call(request.map(Body::from)).await?;
        if method == Method::GET && answer.status().is_success() {
            let mut reads = self.traffic.reads.lock().expect("no holder of this lock panics");
            let bytes = answer.headers().get(CONTENT_LENGTH);
            let bytes = bytes.and_then(|bytes| bytes.to_str().ok()?.parse().ok());
            reads.push(Read { path, bytes: bytes.unwrap_or_default() });
            return Ok(answer);
        }
        let changes = [Method::PUT, Method::POST, Method::DELETE].contains(&method);
        if changes && answer.status().is_success() {
            let mut changes = self.traffic.changes.lock().expect("no holder of this lock panics");
            changes.push(Change { method, path, bytes });
        }
        Ok(answer)
    }

    async fn call(&self, request: Request<Body>) -> Result<Answer, Broken> {
        let answer = self.s3.call(request).await.map_err(|_| Broken)?;
        Ok(answer.map(|body| body.map_err(|_| Broken).boxed()))
    }

    async fn damaged(&self, request: Request<Incoming>) -> Result<Answer, Broken> {
        let (parts, body) = request.into_parts();
        let mut body = body.collect().await.map_err(|_| Broken)?.to_bytes().to_vec();
        if let Some(byte) = body.last_mut() {
            *byte ^= 1;
        }
        self.call(Request::from_parts(parts, Body::from(Bytes::from(body)))).await
    }
}

fn full(body: impl Into<Bytes>) -> BoxBody<Bytes, Broken> {
    Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed()
}

/// An answer that has nothing to do with the objects.
fn refusal(fault: Fault) -> Answer {
    let (status, code) = match fault {
        Fault::Status(status) | Fault::StatusAfter(status) => {
            (status, if status == 503 { "SlowDown" } else { "Injected" })
        }
        Fault::ClockAhead(_) => (403, "RequestTimeTooSkewed"),
        Fault::OtherRegion(_) => (301, "PermanentRedirect"),
        _ => (200, "InternalError"),
    };
    let xml = format!("<Error><Code>{code}</Code><Message>on purpose</Message></Error>");
    let mut answer = Response::new(full(xml));
    *answer.status_mut() = StatusCode::from_u16(status).expect("tests use statuses that exist");
    let headers = answer.headers_mut();
    if let Fault::ClockAhead(seconds) = fault {
        headers.insert(DATE, date_in(seconds));
    }
    if let Fault::OtherRegion(region) = fault {
        let name = HeaderName::from_static("x-amz-bucket-region");
        headers.insert(name, HeaderValue::from_static(region));
    }
    answer
}

/// A date header of a clock that is ahead.
fn date_in(seconds: i64) -> HeaderValue {
    #[expect(clippy::disallowed_methods, reason = "the date of an answer is the time of day")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let theirs = now.as_secs().saturating_add_signed(seconds);
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(theirs));
    HeaderValue::from_str(&text).expect("a date is text")
}

/// An answer whose body goes wrong. Answers without a body stay as they are.
async fn bent(answer: Answer, fault: Fault) -> Result<Answer, Broken> {
    let (mut parts, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    if body.is_empty() {
        return Ok(Response::from_parts(parts, full(body)));
    }
    let fewer = body.slice(..body.len() - 1);
    let body = match fault {
        Fault::WholeObject => {
            let said = parts.headers.remove(CONTENT_RANGE);
            let total = said.as_ref().and_then(|said| said.to_str().ok()?.split('/').nth(1));
            let total = total.and_then(|total| total.parse().ok()).unwrap_or(body.len());
            parts.headers.insert(CONTENT_LENGTH, total.into());
            parts.status = StatusCode::OK;
            let whole: Vec<u8> = body.iter().copied().cycle().take(total).collect();
            full(whole)
        }
        Fault::WrongBytes => {
            let wrong: Vec<u8> = body.iter().map(|byte| byte ^ 0x55).collect();
            full(wrong)
        }
        Fault::Truncate => {
            let half = body.slice(..body.len() / 2);
            let broken = futures_lite::stream::once_future(async {
                // What has not left by then would be lost with the connection.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(Broken)
            });
            let half = futures_lite::stream::once(Ok(Frame::data(half)));
            BoxBody::new(StreamBody::new(futures_lite::StreamExt::chain(half, broken)))
        }
        Fault::Trickle(pause) => {
            let bytes = futures_lite::stream::unfold(body, move |mut rest| async move {
                tokio::time::sleep(pause).await;
                let first = (!rest.is_empty()).then(|| rest.split_to(1))?;
                Some((Ok(Frame::data(first)), rest))
            });
            BoxBody::new(StreamBody::new(bytes))
        }
        _ => {
            parts.headers.insert(CONTENT_LENGTH, fewer.len().into());
            let said = parts.headers.get(CONTENT_RANGE).and_then(|said| said.to_str().ok());
            let shorter = said.and_then(|said| shorten(said, fault == Fault::ShortObject));
            if let Some(shorter) = shorter.and_then(|text| HeaderValue::from_str(&text).ok()) {
                parts.headers.insert(CONTENT_RANGE, shorter);
            }
            full(fewer)
        }
    };
    Ok(Response::from_parts(parts, body))
}

/// The description of a part that ends one byte sooner.
fn shorten(said: &str, ends: bool) -> Option<String> {
    let (part, total) = said.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = part.split_once('-')?;
    let last = last.parse::<u64>().ok()?.checked_sub(1)?;
    let total = if ends { (last + 1).to_string() } else { total.to_owned() };
    Some(format!("bytes {first}-{last}/{total}"))
}

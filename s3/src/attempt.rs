//! One attempt: send a request, take the answer in whole, all of it within its time.

use std::time::Duration;

use chunk::RemoteCause;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use tokio::time::timeout;

use crate::config::Timeouts;
use crate::failure::boxed;
use crate::request::{Expect, Reply, Request};

/// Why an attempt brought no answer.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) cause: RemoteCause,
    /// Whether the server may have done what was asked all the same.
    pub(crate) doubtful: bool,
}

/// A signed request and how long it may take.
pub(crate) struct Attempt<'a> {
    pub(crate) http: &'a Client,
    pub(crate) request: &'a Request,
    pub(crate) url: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) timeouts: Timeouts,
    /// For all of it.
    pub(crate) limit: Duration,
}

impl Attempt<'_> {
    /// Sends it and reads the answer.
    pub(crate) async fn run(self) -> Result<Reply, Broken> {
        let limit = self.limit;
        match timeout(limit, self.transfer()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(late("whole answer", limit)),
        }
    }

    async fn transfer(self) -> Result<Reply, Broken> {
        let Self { http, request, url, headers, timeouts, limit } = self;
        // How long a body takes to leave cannot be seen from here.
        let first = match request.body.is_empty() {
            true => (timeouts.connect + timeouts.read).min(limit),
            false => limit,
        };
        let send = http
            .request(request.method.clone(), url)
            .headers(headers)
            .body(request.body.clone())
            .send();
        let mut response = match timeout(first, send).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let connecting = error.is_connect() || error.is_builder();
                let what = if connecting { "connecting" } else { "waiting for the answer" };
                let cause = RemoteCause::Connection { what, source: boxed(error) };
                return Err(Broken { cause, doubtful: !connecting });
            }
            Err(_) => return Err(late("answer", first)),
        };
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let most = request.most(status);
        let mut body = Vec::with_capacity(expected(request, status).min(most));
        loop {
            let piece = match timeout(timeouts.read, response.chunk()).await {
                Ok(Ok(piece)) => piece,
                Ok(Err(error)) => return Err(cut(request, status, body.len(), error)),
                Err(_) => return Err(late("more of the answer", timeouts.read)),
            };
            let Some(piece) = piece else { break };
            if body.len() + piece.len() > most {
                let what = "it is longer than it may be";
                return Err(Broken { cause: RemoteCause::Malformed { what }, doubtful: true });
            }
            body.extend_from_slice(&piece);
        }
        let reply = Reply { status, headers, body };
        match check(request, &reply) {
            Ok(()) => Ok(reply),
            Err(cause) => Err(Broken { cause, doubtful: true }),
        }
    }
}

fn late(what: &'static str, limit: Duration) -> Broken {
    Broken { cause: RemoteCause::Timeout { what, limit }, doubtful: true }
}

/// Bytes to make room for.
fn expected(request: &Request, status: StatusCode) -> usize {
    match &request.expect {
        Expect::Range(_) => request.most(status),
        Expect::Little | Expect::Page => 4096,
    }
}

/// The connection broke while the answer came.
fn cut(request: &Request, status: StatusCode, have: usize, error: reqwest::Error) -> Broken {
    let cause = match &request.expect {
        Expect::Range(range) if status.is_success() => {
            RemoteCause::Length { need: range.end - range.start, have: have as u64 }
        }
        Expect::Little | Expect::Page | Expect::Range(_) => {
            RemoteCause::Connection { what: "reading the answer", source: boxed(error) }
        }
    };
    Broken { cause, doubtful: true }
}

/// Whether a successful answer is what was asked for. One that says that the object ends before
/// the range does passes: whoever asked finds out if that is so.
fn check(request: &Request, reply: &Reply) -> Result<(), RemoteCause> {
    let malformed = |what| Err(RemoteCause::Malformed { what });
    if !reply.status.is_success() || request.method == Method::HEAD {
        return Ok(());
    }
    let Expect::Range(range) = &request.expect else { return Ok(()) };
    let (need, have) = (range.end - range.start, reply.body.len() as u64);
    match reply.status {
        StatusCode::PARTIAL_CONTENT => match content_range(reply.header("content-range")) {
            None => malformed("it is a part, but does not say which"),
            Some((first, _, _)) if first != range.start => malformed("it is another part"),
            Some((_, last, _)) if last >= range.end => malformed("it is another part"),
            Some((first, last, _)) if have != last + 1 - first => {
                Err(RemoteCause::Length { need: last + 1 - first, have })
            }
            Some((_, last, total)) if last + 1 < range.end && total > last + 1 => {
                Err(RemoteCause::Length { need, have })
            }
            Some(_) => Ok(()),
        },
        _ if range.start == 0 && have == need => Ok(()),
        _ => malformed("a part was asked for, the whole came"),
    }
}

/// First and last byte of a part, and bytes of the whole.
pub(crate) fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (part, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = part.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let total = total.parse().ok()?;
    (first <= last && last < total).then_some((first, last, total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Op;
    use reqwest::header::{CONTENT_RANGE, HeaderValue};

    fn checked(status: u16, said: Option<&'static str>, len: usize) -> String {
        let request = Request::new(Op::Get, Method::GET, None).expect(Expect::Range(10..20));
        let mut headers = HeaderMap::new();
        if let Some(said) = said {
            headers.insert(CONTENT_RANGE, HeaderValue::from_static(said));
        }
        let status = StatusCode::from_u16(status).unwrap();
        let outcome = check(&request, &Reply { status, headers, body: vec![0; len] });
        outcome.map_or_else(|cause| cause.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn an_answer_must_be_the_part_that_was_asked_for() {
        assert_eq!(checked(206, Some("bytes 10-19/100"), 10), "fine");
        assert_eq!(checked(206, Some("bytes 10-14/15"), 5), "fine");
        for (said, len) in [
            (Some("bytes 10-19/100"), 9),
            (Some("bytes 10-14/100"), 5),
            (Some("bytes 10-20/100"), 11),
            (Some("bytes 9-18/100"), 10),
            (Some("bytes 19-10/100"), 10),
            (Some("bytes 10-19/5"), 10),
            (Some("bytes */100"), 10),
            (None, 10),
        ] {
            assert_ne!(checked(206, said, len), "fine", "{said:?}");
        }
        assert!(checked(200, None, 10).contains("the whole came"));
    }
}

//! A request before it is signed, and the answer to it.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};

use crate::limits::{MAX_ERROR_BYTES, MAX_PAGE_BYTES};
use crate::metrics::Op;

/// One request of the protocol; it may be sent many times.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) op: Op,
    pub(crate) method: Method,
    /// Key of the object; the bucket itself if missing.
    pub(crate) key: Option<String>,
    /// Names need no encoding; values are encoded when they are sent.
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    pub(crate) expect: Expect,
    /// Statuses other than success that are an answer too.
    pub(crate) accept: &'static [u16],
    /// Outermost element of a successful answer: an error may come with a good status.
    pub(crate) root: Option<&'static str>,
}

/// What the answer's body is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    /// Something small.
    Little,
    /// Up to a page of a listing.
    Page,
    /// Exactly these bytes of an object, which are not none.
    Range(std::ops::Range<u64>),
}

/// An answer whose body has come in whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(op: Op, method: Method, key: Option<String>) -> Self {
        Self {
            op,
            method,
            key,
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            expect: Expect::Little,
            accept: &[],
            root: None,
        }
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a body and its checksum. Some servers look at the checksum only if its algorithm is
    /// named beside it.
    pub(crate) fn body(self, body: Bytes) -> Self {
        let request = self
            .header("x-amz-checksum-crc32c", checksum(&body))
            .header("x-amz-sdk-checksum-algorithm", "CRC32C");
        Self { body, ..request }
    }

    pub(crate) fn expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }

    pub(crate) fn root(mut self, root: &'static str) -> Self {
        self.root = Some(root);
        self
    }

    pub(crate) fn accept(mut self, accept: &'static [u16]) -> Self {
        self.accept = accept;
        self
    }

    /// Most bytes of an answer with this status.
    pub(crate) fn most(&self, status: StatusCode) -> usize {
        match &self.expect {
            Expect::Range(range) if status.is_success() => {
                usize::try_from(range.end - range.start).expect("checked when it was asked for")
            }
            Expect::Page if status.is_success() => MAX_PAGE_BYTES,
            Expect::Little | Expect::Page | Expect::Range(_) => MAX_ERROR_BYTES,
        }
    }

    /// Bytes that travel, one way or the other, if all goes well.
    pub(crate) fn load(&self) -> u64 {
        let answer = match &self.expect {
            Expect::Range(range) => range.end - range.start,
            Expect::Little | Expect::Page => 0,
        };
        self.body.len() as u64 + answer
    }
}

impl Reply {
    /// A header's text; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The checksum of a body as headers carry it: base64 of the CRC32C, highest byte first.
pub(crate) fn checksum(body: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(crc32c::crc32c(body).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_protocol() {
        // CRC32C of "123456789" is e3069283 by its definition.
        assert_eq!(checksum(b"123456789"), "4waSgw==");
    }
}

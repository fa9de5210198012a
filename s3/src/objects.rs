//! The requests on objects.

use std::ops::Range;

use bytes::Bytes;
use chunk::{RemoteCause, RemoteFailure};
use reqwest::Method;

use crate::client::{Client, Done};
use crate::limits::{DELETE_KEYS, MAX_GET_BYTES, MAX_SINGLE_PUT_BYTES};
use crate::metrics::Op;
use crate::request::{Expect, Request};
use crate::xml;

/// What reading brought.
#[derive(Debug)]
pub(crate) enum Read {
    /// All of the bytes.
    Bytes(Vec<u8>),
    /// There is no such object.
    Missing,
    /// The object ends before the range does.
    Past {
        /// Bytes of the object.
        len: u64,
    },
}

/// Times that one read believes an answer that turns out to be wrong.
const MAX_READS: u32 = 4;

impl Client {
    /// Writes an object, in parts if it is large.
    pub(crate) async fn put(
        &self,
        thread: usize,
        key: &str,
        body: Bytes,
    ) -> Result<(), RemoteFailure> {
        if body.len() > MAX_SINGLE_PUT_BYTES {
            return self.upload(thread, key, body).await;
        }
        let request = Request::new(Op::Put, Method::PUT, Some(key.to_owned())).body(body);
        self.call(thread, &request).await.map(drop)
    }

    /// One conditional put; the answer is success or 412.
    pub(crate) async fn put_new(
        &self,
        thread: usize,
        key: &str,
        body: Bytes,
    ) -> Result<Done, RemoteFailure> {
        let request = Request::new(Op::Put, Method::PUT, Some(key.to_owned()))
            .header("if-none-match", "*")
            .body(body)
            .accept(&[412]);
        self.call(thread, &request).await
    }

    /// Length of an object; `None` if there is none, which is asked twice.
    pub(crate) async fn head(
        &self,
        thread: usize,
        key: &str,
    ) -> Result<Option<u64>, RemoteFailure> {
        let request = Request::new(Op::Head, Method::HEAD, Some(key.to_owned())).accept(&[404]);
        let mut done = self.call(thread, &request).await?;
        if !done.reply.status.is_success() {
            done = self.call(thread, &request).await?;
        }
        if !done.reply.status.is_success() {
            return Ok(None);
        }
        let len = done.reply.header("content-length").parse();
        len.map(Some).map_err(|_| nonsense("there is no length"))
    }

    /// Reads the bytes of a range. A store can say for a moment that an object is missing or
    /// short when it is not; both are asked again before they are believed.
    pub(crate) async fn get(
        &self,
        thread: usize,
        key: &str,
        range: Range<u64>,
    ) -> Result<Read, RemoteFailure> {
        let fits = range.start <= range.end && range.end - range.start <= MAX_GET_BYTES;
        if !fits || range.is_empty() {
            let len = match self.head(thread, key).await? {
                Some(len) => len,
                None => return Ok(Read::Missing),
            };
            return match range.end <= len {
                true if range.start == range.end => Ok(Read::Bytes(Vec::new())),
                true => Err(nonsense("the range is longer than one read may be")),
                false => Ok(Read::Past { len }),
            };
        }
        let request = Request::new(Op::Get, Method::GET, Some(key.to_owned()))
            .header("range", format!("bytes={}-{}", range.start, range.end - 1))
            .expect(Expect::Range(range.clone()))
            .accept(&[404, 416]);
        let need = range.end - range.start;
        let mut have = 0;
        for _ in 0..MAX_READS {
            let reply = self.call(thread, &request).await?.reply;
            have = reply.body.len() as u64;
            if reply.status.is_success() && have == need {
                return Ok(Read::Bytes(reply.body));
            }
            match self.head(thread, key).await? {
                None => return Ok(Read::Missing),
                Some(len) if len < range.end => return Ok(Read::Past { len }),
                // It is there and long enough.
                Some(_) => {}
            }
        }
        let cause = RemoteCause::Length { need, have };
        Err(RemoteFailure { cause, attempts: MAX_READS, elapsed: std::time::Duration::ZERO })
    }

    /// Removes an object; missing is fine.
    pub(crate) async fn delete(&self, thread: usize, key: &str) -> Result<(), RemoteFailure> {
        let request = Request::new(Op::Delete, Method::DELETE, Some(key.to_owned())).accept(&[404]);
        self.call(thread, &request).await.map(drop)
    }

    /// Removes objects, a thousand in one request. What a store does not remove that way, and
    /// all that a store without that request has, is removed one by one.
    pub(crate) async fn delete_many(
        &self,
        thread: usize,
        keys: &[String],
    ) -> Result<(), RemoteFailure> {
        for keys in keys.chunks(DELETE_KEYS) {
            let request = Request::new(Op::DeleteMany, Method::POST, None)
                .query("delete", "")
                .header("content-type", "application/xml")
                .body(Bytes::from(xml::delete(keys)))
                .expect(Expect::Page)
                .accept(&[400, 405, 411, 501])
                .root("DeleteResult");
            let reply = self.call(thread, &request).await?.reply;
            let left: Vec<String> = match reply.status.is_success() {
                true => {
                    let result: Option<xml::DeleteResult> =
                        xml::document(&reply.body, "DeleteResult");
                    let result = result.ok_or_else(|| nonsense("its XML is broken"))?;
                    result.errors.into_iter().map(|error| error.key).collect()
                }
                false => keys.to_vec(),
            };
            for key in left.iter().filter(|left| keys.contains(left)) {
                self.delete(thread, key).await?;
            }
        }
        Ok(())
    }

    /// Asks whether the bucket is there and may be listed.
    pub(crate) async fn find_bucket(&self, thread: usize) -> Result<(), RemoteFailure> {
        let request = Request::new(Op::List, Method::GET, None)
            .query("list-type", "2")
            .query("max-keys", "1")
            .expect(Expect::Page)
            .root("ListBucketResult");
        self.call(thread, &request).await.map(drop)
    }
}

/// A failure that is not one of the network.
pub(crate) fn nonsense(what: &'static str) -> RemoteFailure {
    let cause = RemoteCause::Malformed { what };
    RemoteFailure { cause, attempts: 1, elapsed: std::time::Duration::ZERO }
}

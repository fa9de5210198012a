//! Large objects, which go up in parts.

use bytes::Bytes;
use chunk::RemoteFailure;
use reqwest::Method;

use crate::client::Client;
use crate::limits::{MAX_PARTS, MAX_UPLOADS, PART_BYTES, PARTS_IN_FLIGHT};
use crate::metrics::Op;
use crate::objects::nonsense;
use crate::request::{Request, checksum};
use crate::together::together;
use crate::xml::{self, Part, Upload};

/// What became of an upload.
enum Outcome {
    Complete,
    /// The store does not know it: it may have completed it without an answer, or lost it.
    Unknown,
}

impl Client {
    /// Writes an object in parts. Nothing of it shows before all of it does.
    pub(crate) async fn upload(
        &self,
        thread: usize,
        key: &str,
        body: Bytes,
    ) -> Result<(), RemoteFailure> {
        if body.len().div_ceil(PART_BYTES) > MAX_PARTS {
            return Err(nonsense("the object is longer than an upload may be"));
        }
        for _ in 0..MAX_UPLOADS {
            let id = self.begin(thread, key).await?;
            let outcome = match self.parts(thread, key, &id, &body).await {
                Ok(parts) => self.complete(thread, key, &id, &parts).await,
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(Outcome::Complete) => return Ok(()),
                // The same bytes again leave the same object.
                Ok(Outcome::Unknown) => {}
                Err(failure) => {
                    self.abort(thread, key, &id).await;
                    return Err(failure);
                }
            }
        }
        Err(nonsense("the store forgets uploads"))
    }

    async fn begin(&self, thread: usize, key: &str) -> Result<String, RemoteFailure> {
        let request = Request::new(Op::Upload, Method::POST, Some(key.to_owned()))
            .query("uploads", "")
            .header("x-amz-checksum-algorithm", "CRC32C")
            .root("InitiateMultipartUploadResult");
        let reply = self.call(thread, &request).await?.reply;
        let upload: Option<Upload> = xml::document(&reply.body, "InitiateMultipartUploadResult");
        let upload = upload.ok_or_else(|| nonsense("the upload has no name"))?;
        Ok(upload.upload_id)
    }

    /// Puts all parts, a few at a time.
    async fn parts(
        &self,
        thread: usize,
        key: &str,
        id: &str,
        body: &Bytes,
    ) -> Result<Vec<Part>, RemoteFailure> {
        let count = body.len().div_ceil(PART_BYTES);
        let mut parts = Vec::with_capacity(count);
        for first in (0..count).step_by(PARTS_IN_FLIGHT) {
            let some = first..(first + PARTS_IN_FLIGHT).min(count);
            let puts = some.map(|n| {
                let piece = body.slice(n * PART_BYTES..((n + 1) * PART_BYTES).min(body.len()));
                self.part(thread, key, id, n + 1, piece)
            });
            for part in together(puts.collect()).await {
                parts.push(part?);
            }
        }
        Ok(parts)
    }

    async fn part(
        &self,
        thread: usize,
        key: &str,
        id: &str,
        part_number: usize,
        piece: Bytes,
    ) -> Result<Part, RemoteFailure> {
        let checksum = checksum(&piece);
        let request = Request::new(Op::Put, Method::PUT, Some(key.to_owned()))
            .query("partNumber", part_number.to_string())
            .query("uploadId", id)
            .body(piece);
        let reply = self.call(thread, &request).await?.reply;
        let etag = reply.header("etag").to_owned();
        match etag.is_empty() {
            true => Err(nonsense("the part has no tag")),
            false => Ok(Part { part_number, etag, checksum }),
        }
    }

    async fn complete(
        &self,
        thread: usize,
        key: &str,
        id: &str,
        parts: &[Part],
    ) -> Result<Outcome, RemoteFailure> {
        let request = Request::new(Op::Upload, Method::POST, Some(key.to_owned()))
            .query("uploadId", id)
            .header("content-type", "application/xml")
            .accept(&[404])
            .root("CompleteMultipartUploadResult");
        // The checksum of a body is taken for that of the object here.
        let request = Request { body: Bytes::from(xml::complete(parts)), ..request };
        let done = self.call(thread, &request).await?;
        Ok(match done.reply.status.is_success() {
            true => Outcome::Complete,
            false => Outcome::Unknown,
        })
    }

    /// Gives the space of the parts back; the store does it by itself some day.
    async fn abort(&self, thread: usize, key: &str, id: &str) {
        let request = Request::new(Op::Upload, Method::DELETE, Some(key.to_owned()))
            .query("uploadId", id)
            .accept(&[404]);
        if let Err(failure) = self.call(thread, &request).await {
            log::warn!("an upload of {key} could not be aborted: {failure}");
        }
    }
}

//! The requests on objects.

use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures_lite::StreamExt as _;
use hyper::HeaderMap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETag, EncodingType, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput,
    PutObjectOutput, StreamingBlob, UploadPartInput, UploadPartOutput,
};
use s3s::{Body, S3, S3Error, S3Request, S3Response, S3Result, s3_error};

use crate::objects::{Object, Objects, Upload};

/// Largest body of one request.
const MAX_BODY_BYTES: usize = 256 << 20;

/// Objects of one page of a listing at most.
const PAGE: usize = 1000;

/// The protocol on top of the objects.
#[derive(Clone, Debug)]
pub struct Backend {
    pub(crate) objects: Arc<Objects>,
    /// Overwrites in spite of `If-None-Match`.
    pub(crate) ignores_conditions: bool,
}

fn no_bucket() -> S3Error {
    s3_error!(NoSuchBucket, "there is no such bucket")
}

fn length(len: usize) -> i64 {
    i64::try_from(len).expect("memory is smaller")
}

async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut bytes = BytesMut::new();
    let Some(mut body) = body else { return Ok(Bytes::new()) };
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|e| s3_error!(IncompleteBody, "the body broke off: {e}"))?;
        if bytes.len() + piece.len() > MAX_BODY_BYTES {
            return Err(s3_error!(EntityTooLarge, "{MAX_BODY_BYTES} bytes at most"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

/// A put must say its checksum and the checksum's name, and be right.
fn verify(body: &[u8], headers: &HeaderMap) -> S3Result<String> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let checksum = header("x-amz-checksum-crc32c");
    if header("x-amz-sdk-checksum-algorithm") != Some("CRC32C") {
        return Err(s3_error!(InvalidRequest, "x-amz-sdk-checksum-algorithm is not CRC32C"));
    }
    let right = BASE64_STANDARD.encode(crc32c::crc32c(body).to_be_bytes());
    match checksum {
        None => Err(s3_error!(InvalidRequest, "x-amz-checksum-crc32c is missing")),
        Some(said) if said != right => Err(s3_error!(BadDigest, "the checksum is not the body's")),
        Some(_) => Ok(right),
    }
}

impl Backend {
    fn find(&self, bucket: &str, key: &str) -> S3Result<Object> {
        let state = self.objects.lock();
        let objects = state.buckets.get(bucket).ok_or_else(no_bucket)?;
        let missing = || s3_error!(NoSuchKey, "there is no such object");
        objects.get(key).cloned().ok_or_else(missing)
    }
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let body = whole(input.body).await?;
        let checksum = verify(&body, &request.headers)?;
        let conditional = input.if_none_match.is_some_and(|condition| condition.is_any());
        let object = Object::new(body);
        let e_tag = Some(ETag::Strong(object.etag.clone()));
        let mut state = self.objects.lock();
        let objects = state.buckets.get_mut(&input.bucket).ok_or_else(no_bucket)?;
        if conditional && !self.ignores_conditions && objects.contains_key(&input.key) {
            return Err(s3_error!(PreconditionFailed, "the object is there already"));
        }
        objects.insert(input.key, object);
        let checksum_crc32c = Some(checksum);
        Ok(S3Response::new(PutObjectOutput { e_tag, checksum_crc32c, ..Default::default() }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let object = self.find(&input.bucket, &input.key)?;
        let total = object.body.len();
        let (body, content_range) = match input.range {
            None => (object.body, None),
            Some(range) => {
                let part = range.check(total as u64)?;
                let bounds = (part.start as usize)..(part.end as usize);
                let said = format!("bytes {}-{}/{total}", part.start, part.end - 1);
                (object.body.slice(bounds), Some(said))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(length(body.len())),
            content_range,
            e_tag: Some(ETag::Strong(object.etag)),
            body: Some(StreamingBlob::from(Body::from(body))),
            ..Default::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.find(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(length(object.body.len())),
            e_tag: Some(ETag::Strong(object.etag)),
            ..Default::default()
        }))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        match self.objects.lock().buckets.contains_key(&request.input.bucket) {
            true => Ok(S3Response::new(HeadBucketOutput::default())),
            false => Err(no_bucket()),
        }
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let mut state = self.objects.lock();
        let objects = state.buckets.get_mut(&request.input.bucket).ok_or_else(no_bucket)?;
        objects.remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        if input.delete.objects.len() > PAGE {
            return Err(s3_error!(MalformedXML, "{PAGE} keys at most"));
        }
        let mut state = self.objects.lock();
        let objects = state.buckets.get_mut(&input.bucket).ok_or_else(no_bucket)?;
        let mut deleted = Vec::new();
        for object in input.delete.objects {
            objects.remove(&object.key);
            deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
        }
        let loud = !input.delete.quiet.unwrap_or(false);
        let deleted = loud.then_some(deleted);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let most = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(0).min(PAGE);
        let encoded = input.encoding_type.as_ref().is_some_and(|kind| kind.as_str() == "url");
        let token = input.continuation_token.as_deref();
        let after = token.map(|token| BASE64_STANDARD.decode(token));
        let after = after.transpose().map_err(|_| s3_error!(InvalidArgument, "no such token"))?;
        let after = after.and_then(|after| String::from_utf8(after).ok());
        let state = self.objects.lock();
        let objects = state.buckets.get(&input.bucket).ok_or_else(no_bucket)?;
        let from = match &after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(prefix.as_str()),
        };
        let rest = objects.range::<str, _>((from, Bound::Unbounded));
        let mut rest = rest.take_while(|(key, _)| key.starts_with(&prefix));
        let mut contents = Vec::new();
        let mut last = None;
        for (key, object) in rest.by_ref().take(most) {
            let shown = match encoded {
                true => utf8_percent_encode(key, NON_ALPHANUMERIC).to_string(),
                false => key.clone(),
            };
            last = Some(key.clone());
            contents.push(s3s::dto::Object {
                key: Some(shown),
                size: Some(length(object.body.len())),
                e_tag: Some(ETag::Strong(object.etag.clone())),
                ..Default::default()
            });
        }
        let more = rest.next().is_some();
        let next = last.filter(|_| more).map(|last| BASE64_STANDARD.encode(last));
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            key_count: i32::try_from(contents.len()).ok(),
            contents: Some(contents),
            is_truncated: Some(more),
            next_continuation_token: next,
            encoding_type: encoded.then(|| EncodingType::from_static("url")),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let mut state = self.objects.lock();
        if !state.buckets.contains_key(&input.bucket) {
            return Err(no_bucket());
        }
        state.begun += 1;
        // A name that must be encoded in a query.
        let id = format!("upload/{}+=", state.begun);
        let (bucket, key) = (input.bucket, input.key);
        state.uploads.insert(id.clone(), Upload { bucket, key, ..Default::default() });
        let upload_id = Some(id);
        Ok(S3Response::new(CreateMultipartUploadOutput { upload_id, ..Default::default() }))
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let body = whole(input.body).await?;
        verify(&body, &request.headers)?;
        let part = Object::new(body);
        let e_tag = Some(ETag::Strong(part.etag.clone()));
        let mut state = self.objects.lock();
        let upload = state.uploads.get_mut(&input.upload_id);
        let upload = upload.ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(input.part_number, part);
        Ok(S3Response::new(UploadPartOutput { e_tag, ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let mut state = self.objects.lock();
        let upload = state.uploads.get(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let mut body = BytesMut::new();
        for part in &named {
            let number = part.part_number.unwrap_or_default();
            let have = upload.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?;
            let checksum = BASE64_STANDARD.encode(crc32c::crc32c(&have.body).to_be_bytes());
            let tag = part.e_tag.as_ref().and_then(|tag| tag.as_strong());
            let right = part.checksum_crc32c.as_deref() == Some(&checksum);
            if tag != Some(have.etag.as_str()) || !right {
                return Err(s3_error!(InvalidPart, "part {number} is another one"));
            }
            body.extend_from_slice(&have.body);
        }
        let (bucket, key) = (upload.bucket.clone(), upload.key.clone());
        if named.is_empty() || bucket != input.bucket || key != input.key {
            return Err(s3_error!(InvalidPart, "no parts, or of another object"));
        }
        let object = Object::new(body.freeze());
        let e_tag = Some(ETag::Strong(object.etag.clone()));
        state.buckets.get_mut(&bucket).ok_or_else(no_bucket)?.insert(key, object);
        state.uploads.remove(&input.upload_id);
        Ok(S3Response::new(CompleteMultipartUploadOutput { e_tag, ..Default::default() }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.objects.lock().uploads.remove(&request.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

//! The bodies that are XML.

use quick_xml::de::from_str;
use serde::{Deserialize, Serialize};

/// What a server says of an error.
#[derive(Deserialize, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ErrorBody {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) region: String,
}

/// One page of a listing.
#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Page {
    #[serde(default)]
    pub(crate) contents: Vec<Listed>,
    #[serde(default)]
    pub(crate) is_truncated: bool,
    #[serde(default)]
    pub(crate) next_continuation_token: Option<String>,
    #[serde(default)]
    pub(crate) encoding_type: Option<String>,
}

/// One object of a listing.
#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) size: u64,
}

/// What became of deleting many.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct DeleteResult {
    /// Objects that could not be deleted.
    #[serde(rename = "Error")]
    pub(crate) errors: Vec<DeleteError>,
}

/// An object that could not be deleted.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteError {
    pub(crate) key: String,
}

/// The name of a large upload.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Upload {
    pub(crate) upload_id: String,
}

#[derive(Serialize)]
#[serde(rename = "Delete", rename_all = "PascalCase")]
struct Delete<'a> {
    object: Vec<Object<'a>>,
    quiet: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Object<'a> {
    key: &'a str,
}

/// A part that has arrived.
#[derive(Serialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Part {
    pub(crate) part_number: usize,
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
    #[serde(rename = "ChecksumCRC32C")]
    pub(crate) checksum: String,
}

#[derive(Serialize)]
#[serde(rename = "CompleteMultipartUpload", rename_all = "PascalCase")]
struct Complete<'a> {
    part: &'a [Part],
}

/// The error that a body describes, if it does.
pub(crate) fn error(body: &[u8]) -> Option<ErrorBody> {
    let text = std::str::from_utf8(body).ok()?;
    if root(text)? != "Error" {
        return None;
    }
    from_str(text).ok()
}

/// Reads a body whose outermost element has this name; anything else is `None`.
pub(crate) fn document<T: for<'a> Deserialize<'a>>(body: &[u8], name: &str) -> Option<T> {
    let text = std::str::from_utf8(body).ok()?;
    if root(text)? != name {
        return None;
    }
    from_str(text).ok()
}

/// Name of the outermost element.
pub(crate) fn root(text: &str) -> Option<String> {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_str(text);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) | Event::Empty(start) => {
                return Some(start.local_name().as_ref().to_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// The body that deletes these keys and answers with failures only.
pub(crate) fn delete(keys: &[String]) -> String {
    let object = keys.iter().map(|key| Object { key }).collect();
    quick_xml::se::to_string(&Delete { object, quiet: true }).expect("these are texts")
}

/// The body that completes a large upload.
pub(crate) fn complete(parts: &[Part]) -> String {
    quick_xml::se::to_string(&Complete { part: parts }).expect("these are texts")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
        <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
        <Name>b</Name><Prefix>a/</Prefix><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>
        <Contents><Key>a/&amp;1</Key><LastModified>x</LastModified><Size>5</Size></Contents>
        <Contents><Key>a/2</Key><Size>0</Size><Owner><ID>7</ID></Owner></Contents>
        <NextContinuationToken>t+/=</NextContinuationToken></ListBucketResult>"#;

    #[test]
    fn a_page_has_keys_lengths_and_what_comes_next() {
        let page: Page = document(PAGE.as_bytes(), "ListBucketResult").unwrap();
        let listed = |key: &str, size| Listed { key: key.to_owned(), size };
        assert_eq!(page.contents, [listed("a/&1", 5), listed("a/2", 0)]);
        assert!(page.is_truncated);
        assert_eq!(page.next_continuation_token.as_deref(), Some("t+/="));
        assert_eq!(document::<Page>(PAGE.as_bytes(), "Other"), None);
        let cut = &PAGE.as_bytes()[..PAGE.len() - 30];
        assert_eq!(document::<Page>(cut, "ListBucketResult"), None);
    }

    #[test]
    fn errors_are_found_in_bodies_that_are_errors_only() {
        let body =
            b"<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>m</Message></Error>";
        assert_eq!(error(body).unwrap().code, "SlowDown");
        assert_eq!(error(PAGE.as_bytes()), None);
        assert_eq!(error(b"<html>"), None);
        assert_eq!(error(b""), None);
        assert_eq!(error(&[0xff]), None);
    }

    #[test]
    fn bodies_are_written_as_the_protocol_has_them() {
        let keys = ["a/1".to_owned(), "b&c".to_owned()];
        assert_eq!(
            delete(&keys),
            "<Delete><Object><Key>a/1</Key></Object><Object><Key>b&amp;c</Key></Object>\
             <Quiet>true</Quiet></Delete>"
        );
        let part = Part { part_number: 1, etag: "\"e\"".into(), checksum: "c=".into() };
        let expected = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>\
                        <ETag>\"e\"</ETag><ChecksumCRC32C>c=</ChecksumCRC32C></Part>\
                        </CompleteMultipartUpload>";
        assert_eq!(complete(&[part]), expected);
    }
}

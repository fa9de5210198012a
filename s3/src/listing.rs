//! Listings, page by page.

use std::borrow::Cow;

use chunk::RemoteFailure;
use percent_encoding::percent_decode_str;
use reqwest::Method;

use crate::client::Client;
use crate::limits::{MAX_PAGES, PAGE_KEYS};
use crate::metrics::Op;
use crate::objects::nonsense;
use crate::request::{Expect, Request};
use crate::xml::{self, Page};

impl Client {
    /// All keys that start with `prefix`, sorted, with the lengths of their objects.
    pub(crate) async fn list(
        &self,
        thread: usize,
        prefix: &str,
    ) -> Result<Vec<(String, u64)>, RemoteFailure> {
        let mut found: Vec<(String, u64)> = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut request = Request::new(Op::List, Method::GET, None)
                .query("list-type", "2")
                .query("max-keys", PAGE_KEYS.to_string())
                // Keys of others may have characters that XML cannot have.
                .query("encoding-type", "url")
                .query("prefix", prefix)
                .expect(Expect::Page)
                .root("ListBucketResult");
            if let Some(token) = &token {
                request = request.query("continuation-token", token.clone());
            }
            let reply = self.call(thread, &request).await?.reply;
            let page: Option<Page> = xml::document(&reply.body, "ListBucketResult");
            let page = page.ok_or_else(|| nonsense("its XML is broken"))?;
            let encoded = page.encoding_type.as_deref() == Some("url");
            for listed in page.contents {
                let key = match encoded {
                    true => decode(&listed.key),
                    false => Cow::Borrowed(listed.key.as_str()),
                };
                if key.starts_with(prefix) {
                    found.push((key.into_owned(), listed.size));
                }
            }
            if !page.is_truncated {
                found.sort();
                found.dedup_by(|one, other| one.0 == other.0);
                return Ok(found);
            }
            let next = page.next_continuation_token.filter(|next| !next.is_empty());
            let next = next.ok_or_else(|| nonsense("it goes on, but not where"))?;
            if token.as_ref() == Some(&next) {
                return Err(nonsense("the next page is this page"));
            }
            token = Some(next);
        }
        Err(nonsense("it never ends"))
    }
}

/// A key as listings write it; a plus sign is a space there.
fn decode(key: &str) -> Cow<'_, str> {
    let spaced = key.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_once() {
        assert_eq!(decode("a%2Fb%2525+c"), "a/b%25 c");
    }
}

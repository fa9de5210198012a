//! From answers and errors to what is the matter.

use std::error::Error;
use std::time::SystemTime;

use chunk::{RemoteCause, ServerAnswer};
use reqwest::StatusCode;
use reqwest::header::DATE;

use crate::clock::ahead_of;
use crate::limits::{MAX_MESSAGE_BYTES, NOTABLE_SKEW};
use crate::request::Reply;
use crate::xml;

/// An error of the HTTP client as text of all its layers: its own text leaves out the cause.
#[derive(Debug)]
struct Layers(String);

impl std::fmt::Display for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Layers {}

/// An error of the HTTP client, without the address, which may have a token in its query.
pub(crate) fn boxed(error: reqwest::Error) -> Box<dyn Error + Send + Sync> {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    Box::new(Layers(text))
}

/// What the server said, made fit for one line of a log.
pub(crate) fn answer(reply: &Reply) -> ServerAnswer {
    let described = xml::error(&reply.body);
    let (code, message) = described.map_or_else(Default::default, |e| (e.code, e.message));
    ServerAnswer { status: reply.status.as_u16(), code: shorten(&code), message: shorten(&message) }
}

fn shorten(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short = String::new();
    for c in clean {
        if short.len() + c.len_utf8() > MAX_MESSAGE_BYTES {
            short.push_str("...");
            break;
        }
        short.push(c);
    }
    short.trim().to_owned()
}

/// Why a server denied access: the keys, or the clocks. The clocks count by their readings, not
/// by what the server calls its error.
pub(crate) fn denial(reply: &Reply, now: SystemTime) -> RemoteCause {
    let answer = answer(reply);
    let date = reply.headers.get(DATE).and_then(|date| date.to_str().ok());
    match date.and_then(|date| ahead_of(date, now)) {
        Some(ahead) if ahead.unsigned_abs() >= NOTABLE_SKEW.as_secs() => {
            RemoteCause::ClockSkew { ahead, answer }
        }
        _ => RemoteCause::Denied { answer },
    }
}

/// Whether a status asks for fewer requests.
pub(crate) fn is_overload(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderMap, HeaderValue};
    use std::time::Duration;

    fn reply(date: &str, body: &str) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_str(date).unwrap());
        Reply { status: StatusCode::FORBIDDEN, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_denial_is_explained_by_the_clocks_only_if_they_differ() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 + seconds);
        let reply = reply("Sun, 06 Nov 1994 08:49:37 GMT", "<Error><Code>X</Code></Error>");
        let skewed = denial(&reply, at(1000));
        assert!(matches!(skewed, RemoteCause::ClockSkew { ahead: 1000, .. }), "{skewed}");
        let denied = denial(&reply, at(200));
        assert!(matches!(&denied, RemoteCause::Denied { answer } if answer.code == "X"));
    }

    #[test]
    fn what_the_server_says_fits_on_a_line() {
        let long = format!("<Error><Message>a\nb{}</Message></Error>", "é".repeat(500));
        let said = answer(&reply("", &long));
        assert!(said.message.starts_with("a bé") && said.message.ends_with("..."));
        assert!(said.message.len() <= MAX_MESSAGE_BYTES + 3);
        let none = answer(&reply("", "no XML"));
        assert_eq!(none.to_string(), "HTTP 403");
    }
}

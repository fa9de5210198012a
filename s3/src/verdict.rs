//! What to do about an answer: by its status, never by what the server calls its error.

use std::time::SystemTime;

use chunk::{RemoteCause, ServerAnswer};
use reqwest::StatusCode;
use reqwest::header::LOCATION;

use crate::config::is_region;
use crate::failure::{answer, denial, is_overload};
use crate::limits::{MAX_BAD_REQUESTS, MAX_REDIRECTS};
use crate::request::{Reply, Request};
use crate::xml;

/// How far one request has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) attempts: u32,
    /// Whether an attempt may have been fulfilled without an answer.
    pub(crate) doubtful: bool,
    /// Whether other keys have been looked for.
    pub(crate) looked_for_keys: bool,
    /// Whether another attempt would fail in the same way.
    pub(crate) hopeless: bool,
    bad_requests: u32,
    redirects: u32,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is answered.
    Done(Reply),
    /// Try again after a pause.
    Again(RemoteCause),
    /// Try again after a pause, and with fewer requests at once.
    Overloaded(RemoteCause),
    /// Try again in this region.
    Moved(String, RemoteCause),
    /// Try again if there are other keys.
    Denied(RemoteCause),
    /// Give up.
    Refused(RemoteCause),
}

impl Progress {
    /// Decides about an answer.
    pub(crate) fn judge(
        &mut self,
        request: &Request,
        reply: Reply,
        region: &str,
        now: SystemTime,
    ) -> Verdict {
        let status = reply.status;
        if status.is_success() {
            return self.success(request, reply);
        }
        if request.accept.contains(&status.as_u16()) && !is_missing_bucket(&reply) {
            return Verdict::Done(reply);
        }
        let answer = answer(&reply);
        if let Some(other) = self.other_region(&reply, region) {
            return Verdict::Moved(other, RemoteCause::Refused { answer });
        }
        match status.as_u16() {
            401 | 403 => Verdict::Denied(denial(&reply, now)),
            // Some name keys that have ended so; and damage on the way looks like this, too.
            400 => {
                self.bad_requests += 1;
                match self.bad_requests {
                    1 => Verdict::Again(RemoteCause::Refused { answer }),
                    2 => Verdict::Denied(RemoteCause::Refused { answer }),
                    _ => Verdict::Refused(RemoteCause::Refused { answer }),
                }
            }
            300..=399 => Verdict::Refused(redirect(&reply, answer)),
            // Two conditional requests met; the next attempt sees which one won.
            409 => self.doubt(Verdict::Again(RemoteCause::Failed { answer })),
            408 => self.doubt(Verdict::Again(RemoteCause::Failed { answer })),
            // Not implemented, wrong version, no space: asking again helps nothing.
            501 | 505 | 507 => Verdict::Refused(RemoteCause::Refused { answer }),
            _ if is_overload(status) => {
                self.doubt(Verdict::Overloaded(RemoteCause::Overloaded { answer }))
            }
            500..=599 => self.doubt(Verdict::Again(RemoteCause::Failed { answer })),
            _ => Verdict::Refused(RemoteCause::Refused { answer }),
        }
    }

    /// An error can come with a good status once the answer has begun.
    fn success(&mut self, request: &Request, reply: Reply) -> Verdict {
        let Some(root) = request.root else { return Verdict::Done(reply) };
        let text = std::str::from_utf8(&reply.body).unwrap_or_default();
        match xml::root(text) {
            Some(found) if found == root => Verdict::Done(reply),
            Some(found) if found == "Error" => {
                let cause = RemoteCause::Failed { answer: answer(&reply) };
                self.doubt(Verdict::Again(cause))
            }
            _ => {
                let what = "it is not the document that belongs there";
                self.doubt(Verdict::Again(RemoteCause::Malformed { what }))
            }
        }
    }

    /// Whatever stands between may have failed after the store had done its work.
    fn doubt(&mut self, verdict: Verdict) -> Verdict {
        self.doubtful = true;
        verdict
    }

    fn other_region(&mut self, reply: &Reply, region: &str) -> Option<String> {
        let named = match reply.header("x-amz-bucket-region") {
            "" => xml::error(&reply.body).map(|error| error.region).unwrap_or_default(),
            named => named.to_owned(),
        };
        let other = Some(named).filter(|named| is_region(named) && named != region)?;
        self.redirects += 1;
        (self.redirects <= MAX_REDIRECTS).then_some(other)
    }
}

/// No object is missing where there is no bucket. Only the text tells these apart.
fn is_missing_bucket(reply: &Reply) -> bool {
    reply.status == StatusCode::NOT_FOUND
        && xml::error(&reply.body).is_some_and(|error| error.code == "NoSuchBucket")
}

fn redirect(reply: &Reply, answer: ServerAnswer) -> RemoteCause {
    match reply.header(LOCATION.as_str()) {
        "" => RemoteCause::Refused { answer },
        location => RemoteCause::Redirect { location: location.chars().take(200).collect() },
    }
}

const _: () = assert!(MAX_BAD_REQUESTS == 3, "the match on bad requests counts to it");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Op;
    use reqwest::Method;
    use reqwest::header::{HeaderMap, HeaderValue};

    fn reply(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Reply {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        let status = StatusCode::from_u16(status).unwrap();
        Reply { status, headers: map, body: body.as_bytes().to_vec() }
    }

    fn judge(progress: &mut Progress, reply: Reply) -> Verdict {
        let request = Request::new(Op::Put, Method::PUT, None).accept(&[404, 412]);
        progress.judge(&request, reply, "here", SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn each_status_has_its_verdict_and_its_doubt() {
        let word = |status| {
            let mut progress = Progress::default();
            let verdict = judge(&mut progress, reply(status, &[], ""));
            let text = format!("{verdict:?}");
            (text[..4].to_owned(), progress.doubtful)
        };
        for (status, start, doubtful) in [
            (200, "Done", false),
            (204, "Done", false),
            (404, "Done", false),
            (412, "Done", false),
            (301, "Refu", false),
            (400, "Agai", false),
            (401, "Deni", false),
            (403, "Deni", false),
            (405, "Refu", false),
            (408, "Agai", true),
            (409, "Agai", true),
            (416, "Refu", false),
            (429, "Over", true),
            (500, "Agai", true),
            (501, "Refu", false),
            (502, "Agai", true),
            (503, "Over", true),
            (504, "Agai", true),
            (507, "Refu", false),
        ] {
            assert_eq!(word(status), (start.to_owned(), doubtful), "{status}");
        }
    }

    #[test]
    fn a_bad_request_is_repeated_twice_and_then_refused() {
        let mut progress = Progress::default();
        let again = judge(&mut progress, reply(400, &[], ""));
        assert!(matches!(again, Verdict::Again(_)));
        assert!(matches!(judge(&mut progress, reply(400, &[], "")), Verdict::Denied(_)));
        assert!(matches!(judge(&mut progress, reply(400, &[], "")), Verdict::Refused(_)));
    }

    #[test]
    fn a_region_that_the_server_names_is_followed_a_few_times() {
        let mut progress = Progress::default();
        let moved = || reply(301, &[("x-amz-bucket-region", "there")], "");
        for _ in 0..MAX_REDIRECTS {
            let verdict = judge(&mut progress, moved());
            assert!(matches!(&verdict, Verdict::Moved(to, _) if to == "there"), "{verdict:?}");
        }
        assert!(matches!(judge(&mut progress, moved()), Verdict::Refused(_)));
        let body = "<Error><Code>x</Code><Region>elsewhere</Region></Error>";
        let verdict = judge(&mut Progress::default(), reply(400, &[], body));
        assert!(matches!(&verdict, Verdict::Moved(to, _) if to == "elsewhere"), "{verdict:?}");
        let bad = reply(400, &[("x-amz-bucket-region", "evil.example/")], "");
        assert!(matches!(judge(&mut Progress::default(), bad), Verdict::Again(_)));
    }

    #[test]
    fn a_missing_bucket_is_no_missing_object_and_a_redirect_names_its_goal() {
        let body = "<Error><Code>NoSuchBucket</Code></Error>";
        let verdict = judge(&mut Progress::default(), reply(404, &[], body));
        assert!(matches!(verdict, Verdict::Refused(RemoteCause::Refused { .. })), "{verdict:?}");
        let away = reply(307, &[("location", "http://x/")], "");
        let verdict = judge(&mut Progress::default(), away);
        assert!(matches!(verdict, Verdict::Refused(RemoteCause::Redirect { .. })), "{verdict:?}");
    }

    #[test]
    fn an_error_with_a_good_status_is_an_error() {
        let request = Request::new(Op::Upload, Method::POST, None).root("Result");
        let judge = |body| {
            let reply = reply(200, &[], body);
            Progress::default().judge(&request, reply, "here", SystemTime::UNIX_EPOCH)
        };
        assert!(matches!(judge("<Result/>"), Verdict::Done(_)));
        assert!(matches!(judge("<Error/>"), Verdict::Again(RemoteCause::Failed { .. })));
        assert!(matches!(judge(""), Verdict::Again(RemoteCause::Malformed { .. })));
    }
}

//! What goes wrong, when, and how often.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hyper::Method;

/// Something that goes wrong with one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Answers with this status and does nothing.
    Status(u16),
    /// Does what was asked, and answers with this status.
    StatusAfter(u16),
    /// Answers 403 as a server whose clock is this many seconds ahead, and does nothing.
    ClockAhead(i64),
    /// Resets the connection and does nothing.
    ResetBefore,
    /// Does what was asked, and resets the connection.
    ResetAfter,
    /// Never answers and does nothing.
    Hang,
    /// Does what was asked, and never answers.
    HangAfter,
    /// Answers this late.
    Delay(Duration),
    /// Sends the answer's body byte by byte, with this pause.
    Trickle(Duration),
    /// Sends half of the body and closes the connection.
    Truncate,
    /// Sends one byte less than asked for, and says so.
    ShortPart,
    /// Sends one byte less than asked for, and says that the object ends there.
    ShortObject,
    /// Ignores the range: sends as many bytes as the whole object has, and calls them that.
    WholeObject,
    /// Sends as many bytes, but wrong ones.
    WrongBytes,
    /// Changes a byte of the request's body on its way in.
    DamageUpload,
    /// Answers 200 with the description of an error, and does nothing.
    ErrorBody,
    /// Answers 301 and names this region, and does nothing.
    OtherRegion(&'static str),
}

/// A fault and the requests that it hits.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// Only requests of this method.
    pub method: Option<Method>,
    /// Only requests whose path and query contain this.
    pub contains: String,
    /// Matching requests that pass before any is hit.
    pub skip: u64,
    /// Requests that are hit at most.
    pub most: u64,
    /// Part of the matching requests that is hit, in thousandths.
    pub per_mille: u64,
}

impl Rule {
    /// Hits all requests.
    #[must_use]
    pub fn all(fault: Fault) -> Self {
        let (method, contains) = (None, String::new());
        Self { fault, method, contains, skip: 0, most: u64::MAX, per_mille: 1000 }
    }

    /// Hits the next request.
    #[must_use]
    pub fn once(fault: Fault) -> Self {
        Self::all(fault).times(1)
    }

    /// Hits the next `most` requests.
    #[must_use]
    pub fn times(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// Lets `skip` requests pass first.
    #[must_use]
    pub fn after(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// Hits requests of one method.
    #[must_use]
    pub fn on(self, method: Method) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Hits requests whose path and query contain a text.
    #[must_use]
    pub fn containing(self, text: &str) -> Self {
        Self { contains: text.to_owned(), ..self }
    }

    /// Hits a part of the requests.
    #[must_use]
    pub fn at(self, per_mille: u64) -> Self {
        Self { per_mille, ..self }
    }
}

/// The rules that hold now; the first one that hits a request counts.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rules: Vec<Rule>,
    random: u64,
    hits: u64,
}

impl Faults {
    /// No rules yet; what they will hit depends on the seed and the order of requests.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { rules: Vec::new(), random: seed, hits: 0 })))
    }

    /// Adds a rule.
    pub fn add(&self, rule: Rule) {
        self.state().rules.push(rule);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.state().rules.clear();
    }

    /// Requests that were hit.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.state().hits
    }

    /// What goes wrong with this request.
    pub(crate) fn of(&self, method: &Method, path: &str) -> Option<Fault> {
        let state = &mut *self.state();
        for rule in &mut state.rules {
            let hit = rule.method.as_ref().is_none_or(|only| only == method)
                && path.contains(&rule.contains);
            if !hit || rule.most == 0 {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if next(&mut state.random) % 1000 < rule.per_mille {
                rule.most -= 1;
                state.hits += 1;
                return Some(rule.fault);
            }
        }
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// The next number of a SplitMix64 sequence.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hit_what_they_say_as_often_as_they_say() {
        let faults = Faults::new(1);
        faults.add(Rule::once(Fault::Hang).on(Method::PUT).containing("x").after(1));
        assert_eq!(faults.of(&Method::GET, "/x"), None);
        assert_eq!(faults.of(&Method::PUT, "/y"), None);
        assert_eq!(faults.of(&Method::PUT, "/x"), None);
        assert_eq!(faults.of(&Method::PUT, "/x"), Some(Fault::Hang));
        assert_eq!(faults.of(&Method::PUT, "/x"), None);
        assert_eq!(faults.hits(), 1);
    }

    #[test]
    fn a_seed_hits_the_same_requests_each_time() {
        let run = |seed| {
            let faults = Faults::new(seed);
            faults.add(Rule::all(Fault::Truncate).at(300));
            (0..1000).map(|_| faults.of(&Method::GET, "/").is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let hits = run(7).into_iter().filter(|hit| *hit).count();
        assert!((250..350).contains(&hits), "{hits}");
    }
}

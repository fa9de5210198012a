//! How a store on the network fails: what was the matter, and how long it was tried.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A request that did not succeed.
#[derive(Debug)]
pub struct RemoteFailure {
    /// What went wrong the last time.
    pub cause: RemoteCause,
    /// How often it was tried, at least 1 unless it was never sent.
    pub attempts: u32,
    /// Time from the first attempt to giving up.
    pub elapsed: Duration,
}

impl fmt::Display for RemoteFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let plural = if self.attempts == 1 { "" } else { "s" };
        write!(f, "{} ({} attempt{plural} in {seconds:.1} s)", self.cause, self.attempts)
    }
}

impl Error for RemoteFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// What a server said of a request that it did not fulfil.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerAnswer {
    /// HTTP status.
    pub status: u16,
    /// The server's name for the error; empty if it gave none.
    pub code: String,
    /// Its text, shortened; empty if it gave none.
    pub message: String,
}

impl fmt::Display for ServerAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Why one attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteCause {
    /// There are no keys to sign requests with.
    #[error("no usable credentials: {source}")]
    Credentials {
        /// Where they were looked for, and what was found.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server does not accept the keys, or they may not do this.
    #[error("the store denies access, check the keys and their permissions: {answer}")]
    Denied {
        /// Its words.
        answer: ServerAnswer,
    },
    /// The server refuses because the clocks disagree.
    #[error(
        "the clock of this host is {} s {} that of the store, set it right: {answer}",
        ahead.unsigned_abs(), if *ahead < 0 { "behind" } else { "ahead of" }
    )]
    ClockSkew {
        /// Seconds that this host's clock is ahead of the server's.
        ahead: i64,
        /// The server's words.
        answer: ServerAnswer,
    },
    /// The server asks for fewer requests.
    #[error("the store is overloaded: {answer}")]
    Overloaded {
        /// Its words.
        answer: ServerAnswer,
    },
    /// The server failed at it.
    #[error("the store failed: {answer}")]
    Failed {
        /// Its words.
        answer: ServerAnswer,
    },
    /// The server will not do it however often it is asked.
    #[error("the store refuses: {answer}")]
    Refused {
        /// Its words.
        answer: ServerAnswer,
    },
    /// The server points to another address, which signed requests do not follow.
    #[error("the store redirects to {location}: name that endpoint or region")]
    Redirect {
        /// Where to.
        location: String,
    },
    /// It took too long.
    #[error("no {what} within {} ms", limit.as_millis())]
    Timeout {
        /// What did not come.
        what: &'static str,
        /// How long was waited for it.
        limit: Duration,
    },
    /// The connection could not be made, or it broke.
    #[error("{what}: {source}")]
    Connection {
        /// What was being done with it.
        what: &'static str,
        /// What the layer below said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer has not as many bytes as belong to it.
    #[error("the answer has {have} bytes where {need} belong")]
    Length {
        /// Bytes that belong there.
        need: u64,
        /// Bytes that came.
        have: u64,
    },
    /// The answer is not what the protocol allows.
    #[error("the answer makes no sense: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The threads of the store have ended.
    #[error("the threads of the store are gone")]
    Stopped,
}

impl RemoteCause {
    /// Whether the store has no space left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        /// HTTP's `Insufficient Storage`.
        const FULL: u16 = 507;
        match self {
            Self::Refused { answer } => answer.status == FULL,
            Self::Credentials { .. }
            | Self::Denied { .. }
            | Self::ClockSkew { .. }
            | Self::Overloaded { .. }
            | Self::Failed { .. }
            | Self::Redirect { .. }
            | Self::Timeout { .. }
            | Self::Connection { .. }
            | Self::Length { .. }
            | Self::Malformed { .. }
            | Self::Stopped => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, StoreError};

    fn answer(status: u16) -> ServerAnswer {
        ServerAnswer { status, code: "Code".to_owned(), message: "words".to_owned() }
    }

    fn error(cause: RemoteCause) -> StoreError {
        let failure = RemoteFailure { cause, attempts: 3, elapsed: Duration::from_millis(1234) };
        StoreError::Remote { action: "put", object: "a/b".to_owned(), failure: failure.into() }
    }

    #[test]
    fn the_text_names_action_object_cause_attempts_and_time() {
        assert_eq!(
            error(RemoteCause::Failed { answer: answer(500) }).to_string(),
            "put a/b: the store failed: HTTP 500 Code: words (3 attempts in 1.2 s)"
        );
        let skew = error(RemoteCause::ClockSkew { ahead: -901, answer: answer(403) });
        assert!(skew.to_string().contains("901 s behind that of the store"), "{skew}");
    }

    #[test]
    fn a_full_store_is_out_of_space_and_all_else_may_pass() {
        let kind = |status| error(RemoteCause::Refused { answer: answer(status) }).kind();
        assert_eq!(kind(507), ErrorKind::NoSpace);
        assert_eq!(kind(405), ErrorKind::Retry);
        assert_eq!(error(RemoteCause::Stopped).kind(), ErrorKind::Retry);
    }
}

//! The seam to the object store: named immutable objects, and one conditional put.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::remote::RemoteFailure;

/// Name of an object: non-empty parts of `[A-Za-z0-9._-]` joined by `/`, none of them `.` or
/// `..`, each at most 255 bytes, 512 bytes in all. Below a store's own prefix.
///
/// No object's name may be another's followed by `/`: a store of files cannot hold both.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectName(String);

impl ObjectName {
    /// Returns `None` if the text breaks the grammar above.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let byte_fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let part_fits = |part: &str| {
            let length_fits = (1..=255).contains(&part.len());
            length_fits && part != "." && part != ".." && part.bytes().all(byte_fits)
        };
        (text.len() <= 512 && text.split('/').all(part_fits)).then_some(Self(text))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which implementation a store is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreKind {
    /// A directory of files.
    File,
    /// Memory of this process; gone when it ends.
    Memory,
    /// A bucket of an S3 server.
    S3,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No object has this name.
    #[error("{action} {object}: no such object")]
    NotFound {
        /// What was tried, as a verb.
        action: &'static str,
        /// The object's name.
        object: String,
    },
    /// A conditional put lost: an object of this name is there already.
    #[error("put {object}: it exists already")]
    Exists {
        /// The object's name.
        object: String,
    },
    /// The object is there, but not all of the bytes that were asked for.
    #[error("read {object}: bytes {}..{} were asked for, the object has {len}", range.start, range.end)]
    Range {
        /// The object's name.
        object: String,
        /// The bytes asked for.
        range: Range<u64>,
        /// Bytes that the object has.
        len: u64,
    },
    /// The store failed; trying again may help.
    #[error("{action} {object}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The object's name or prefix.
        object: String,
        /// What the layer below said.
        #[source]
        source: std::io::Error,
    },
    /// A store on the network did not do it, after all the attempts that it was worth.
    #[error("{action} {object}: {failure}")]
    Remote {
        /// What was tried, as a verb.
        action: &'static str,
        /// The object's name or prefix.
        object: String,
        /// What happened.
        #[source]
        failure: Box<RemoteFailure>,
    },
}

/// A place for immutable objects. A handle is cheap to clone; futures stay on their core.
///
/// Every store passes the same conformance suite. An object that a completed `put` made is
/// durable, whole and visible to every later call; one whose put failed may or may not be there,
/// but never in part.
pub trait ObjectStore: Clone + 'static {
    /// Writes an object whose name nobody else uses. An object of the same name is replaced
    /// whole.
    async fn put(&self, name: &ObjectName, body: impl Into<Bytes>) -> Result<(), StoreError>;

    /// Writes an object only if its name is free: of any number of racing callers exactly one
    /// succeeds, the others get [`StoreError::Exists`]. Their bodies must differ: a store that
    /// lost an answer on the way knows its own success by the object's bytes.
    async fn put_if_absent(
        &self,
        name: &ObjectName,
        body: impl Into<Bytes>,
    ) -> Result<(), StoreError>;

    /// Reads exactly the bytes of `range`; a range past the end is [`StoreError::Range`], never a
    /// short result.
    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError>;

    /// Length of an object in bytes.
    async fn head(&self, name: &ObjectName) -> Result<u64, StoreError>;

    /// Removes an object; missing is fine.
    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError>;

    /// Removes objects; missing ones are fine. After an error any of them may be left.
    async fn delete_many(&self, names: &[ObjectName]) -> Result<(), StoreError> {
        for name in names {
            self.delete(name).await?;
        }
        Ok(())
    }

    /// All objects whose names start with `prefix` (any text that a name can start with), with
    /// their lengths, sorted by name.
    async fn list(&self, prefix: &str) -> Result<Vec<(ObjectName, u64)>, StoreError>;

    /// Which implementation this is.
    fn kind(&self) -> StoreKind;
}

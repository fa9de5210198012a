//! What new volumes promise, and how all are stored.

use chunk::{Compression, Durability, Fencing, LeaseTerm, Promises};

use super::{Resolver, refuse};
use crate::config::error::{ConfigError, ValueError};
use crate::config::explain::Explained;
use crate::config::key::Key;
use crate::config::limits::COMPRESSION_MEMORY;
use crate::config::size::ByteSize;
use crate::config::source::Source;

impl Resolver<'_> {
    pub(super) fn new_volumes(&mut self) -> Result<Promises, ConfigError> {
        let default = || (Durability::default(), Source::Default("as a disk with a write cache"));
        let (durability, source) = self.parsed(Key::Durability, default)?;
        self.explained.push(Explained::new(Key::Durability, durability.to_string(), &source));
        let default =
            || (Fencing::default(), Source::Default("an outage of the store stops nobody"));
        let (fencing, source) = self.parsed(Key::Fencing, default)?;
        self.explained.push(Explained::new(Key::Fencing, fencing.name().to_owned(), &source));
        let fencing = self.lease(fencing)?;
        Ok(Promises { durability, fencing })
    }

    pub(super) fn compression(&mut self, memory: ByteSize) -> Result<Compression, ConfigError> {
        let key = Key::Compression;
        let default = || match memory < COMPRESSION_MEMORY {
            true => {
                (Compression::None, Source::Default("compressing takes more memory than is here"))
            }
            false => {
                (Compression::Lz4, Source::Default("two fifths less to store, at hardly a cost"))
            }
        };
        let (found, source) = self.parsed(key, default)?;
        self.explained.push(Explained::new(key, found.name().to_owned(), &source));
        Ok(found)
    }

    fn lease(&mut self, fencing: Fencing) -> Result<Fencing, ConfigError> {
        let usual = LeaseTerm::default();
        let found = self.text(Key::LeaseSeconds)?;
        let (term, source) = match found {
            None => (usual, Source::Default("what a guest waits without an error")),
            Some((text, source)) => match text.parse().map(LeaseTerm::new) {
                Ok(Ok(term)) => (term, source),
                Ok(Err(problem)) => return Err(refuse(Key::LeaseSeconds, source, problem.into())),
                Err(_) => {
                    return Err(refuse(Key::LeaseSeconds, source, ValueError::Number { text }));
                }
            },
        };
        self.explained.push(Explained::new(Key::LeaseSeconds, term.seconds().to_string(), &source));
        Ok(match fencing {
            Fencing::Contact => Fencing::Contact,
            Fencing::Lease(_) => Fencing::Lease(term),
        })
    }
}

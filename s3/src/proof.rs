//! Whether a store honours the condition that fencing stands on.

use std::fmt;

use chunk::{ObjectName, ObjectStore, StoreError};

use crate::backoff::random;
use crate::limits::PROOF_RACERS;
use crate::store::S3Store;
use crate::together::together;

/// What the race of conditional puts brought to light.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// More than one caller made the same object.
    #[error(
        "the store at {store} does not honour If-None-Match: {winners} of {PROOF_RACERS} racing \
         puts of one new object succeeded, so that two hosts could open one volume for writing \
         and destroy each other's data; use a store with conditional writes, or set \
         accept_unconditional_put = true in [danger] if no volume is ever opened by two hosts"
    )]
    Ignored {
        /// The store by its address and the name that it gives itself.
        store: StoreIdentity,
        /// Callers that were told of success.
        winners: usize,
    },
    /// The object is not that of the one who made it.
    #[error("the store at {store} mixes up the bodies of conditional puts; use another store")]
    Mixed {
        /// The store by its address and the name that it gives itself.
        store: StoreIdentity,
    },
}

/// Address of a store, and the name that it gives itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreIdentity {
    /// The address.
    pub endpoint: String,
    /// What its answers say in their `Server` header; empty if nothing.
    pub server: String,
}

impl fmt::Display for StoreIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint)?;
        if !self.server.is_empty() {
            write!(f, " ({})", self.server)?;
        }
        Ok(())
    }
}

impl S3Store {
    /// Lets eight conditional puts of one new object race, and one more come late: exactly one
    /// of them may succeed. Leaves nothing behind.
    ///
    /// # Errors
    /// If the store cannot be asked, or does not honour the condition.
    pub async fn prove_conditional_put(&self) -> Result<(), ProofError> {
        let name = format!("proof/{:016x}{:016x}", random(), random());
        let name = ObjectName::new(name).expect("letters and digits");
        let outcome = self.race(&name).await;
        // After a failed race an object that stays behind is the lesser trouble.
        let deleted = self.delete(&name).await;
        outcome?;
        deleted?;
        Ok(())
    }

    async fn race(&self, name: &ObjectName) -> Result<(), ProofError> {
        let body = |racer: usize| format!("{name} {racer}").into_bytes();
        let racers = (0..PROOF_RACERS).map(|racer| self.put_if_absent(name, body(racer)));
        let mut won = Vec::new();
        for (racer, outcome) in together(racers.collect()).await.into_iter().enumerate() {
            match outcome {
                Ok(()) => won.push(racer),
                Err(StoreError::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let late = match self.put_if_absent(name, body(PROOF_RACERS)).await {
            Ok(()) => 1,
            Err(StoreError::Exists { .. }) => 0,
            Err(error) => return Err(error.into()),
        };
        let [winner] = won[..] else {
            return Err(ProofError::Ignored { store: self.identity().await?, winners: won.len() });
        };
        if late > 0 {
            return Err(ProofError::Ignored { store: self.identity().await?, winners: 2 });
        }
        let expected = body(winner);
        let len = self.head(name).await?;
        if len != expected.len() as u64 || self.get_range(name, 0..len).await? != expected {
            return Err(ProofError::Mixed { store: self.identity().await? });
        }
        Ok(())
    }
}

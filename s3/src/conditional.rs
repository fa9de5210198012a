//! The conditional put: made certain when its answer is lost, and proved before it is relied on.
//!
//! A put whose answer did not come may have made the object. It is repeated until the store
//! says either that it is made now or that the name is taken. If the name is taken, and only
//! then, the object's bytes tell whether it is our own: callers that race put different bytes.

use bytes::Bytes;
use chunk::RemoteFailure;

use crate::client::Client;
use crate::objects::{Read, nonsense};

/// Times that an object may vanish while one finds out whose it is.
const MAX_ROUNDS: u32 = 4;

impl Client {
    /// Whether this call made the object.
    pub(crate) async fn put_if_absent(
        &self,
        thread: usize,
        key: &str,
        body: Bytes,
    ) -> Result<bool, RemoteFailure> {
        let mut doubtful = false;
        for _ in 0..MAX_ROUNDS {
            let done = self.put_new(thread, key, body.clone()).await?;
            if done.reply.status.is_success() {
                return Ok(true);
            }
            doubtful |= done.doubtful;
            if !doubtful {
                return Ok(false);
            }
            if let Some(ours) = self.is_body(thread, key, &body).await? {
                return Ok(ours);
            }
        }
        Err(nonsense("the name is taken, but there is no object"))
    }

    /// For stores that ignore the condition: looks first, which does not help against a race.
    pub(crate) async fn put_if_unseen(
        &self,
        thread: usize,
        key: &str,
        body: Bytes,
    ) -> Result<bool, RemoteFailure> {
        match self.head(thread, key).await? {
            Some(_) => Ok(false),
            None => self.put_if_absent(thread, key, body).await,
        }
    }

    /// Whether an object has these bytes; `None` if there is none.
    async fn is_body(
        &self,
        thread: usize,
        key: &str,
        body: &Bytes,
    ) -> Result<Option<bool>, RemoteFailure> {
        let len = body.len() as u64;
        match self.head(thread, key).await? {
            None => return Ok(None),
            Some(other) if other != len => return Ok(Some(false)),
            Some(_) => {}
        }
        match self.get(thread, key, 0..len).await? {
            Read::Missing => Ok(None),
            Read::Past { .. } => Ok(Some(false)),
            Read::Bytes(found) => Ok(Some(found == *body)),
        }
    }
}

//! Which volume a command means.

use chunk::{VolumeName, catalog};
use wal::VolumeId;

use super::{Admin, refusal};
use crate::control::Refusal;
use crate::error::ErrorKind;
use crate::server::limits::LOOK_TIMEOUT;
use crate::server::patience::in_time;

impl Admin {
    /// As [`Self::find`], but an open volume is found though the store does not answer.
    pub(super) async fn find_soon(&self, text: &str) -> Result<(VolumeName, VolumeId), Refusal> {
        if let Some(found) = in_time(LOOK_TIMEOUT, self.find(text)).await
            && !matches!(&found, Err(refusal) if refusal.kind == ErrorKind::Retry)
        {
            return found;
        }
        let name = VolumeName::new(text).map_err(|error| refusal(ErrorKind::Invalid, &error))?;
        match self.local.clients.named(&name) {
            Some(id) => Ok((name, id)),
            None => {
                let text = format!("the store does not answer, and no client has opened {name}");
                Err(refusal(ErrorKind::Retry, &text))
            }
        }
    }

    /// As [`Self::find`], without asking the store if a volume of this name is open: for what concerns
    /// what this server has of it.
    pub(super) async fn find_open(&self, text: &str) -> Result<(VolumeName, VolumeId), Refusal> {
        if let Ok(name) = VolumeName::new(text)
            && let Some(id) = self.local.clients.named(&name)
            && self.local.number(id).is_some()
        {
            return Ok((name, id));
        }
        self.find(text).await
    }

    pub(super) async fn find(&self, text: &str) -> Result<(VolumeName, VolumeId), Refusal> {
        let name = VolumeName::new(text).map_err(|error| refusal(ErrorKind::Invalid, &error))?;
        let found = catalog::find(&self.local.core.store, &name).await;
        match found.map_err(|error| refusal(error.kind().into(), &error))? {
            Some(id) => {
                self.local.clients.note_name(&name, id);
                Ok((name, id))
            }
            None => {
                let text =
                    format!("no volume is named {name}: `krait volume list` shows those that are");
                Err(refusal(ErrorKind::NotFound, &text))
            }
        }
    }
}

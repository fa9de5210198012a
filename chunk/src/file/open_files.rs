//! Files that were read lately, kept open so that a small read is one call.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use crate::limits::MAX_OPEN_FILES;

/// A file open for reading.
#[derive(Clone, Debug)]
pub(super) struct OpenFile {
    pub file: Arc<File>,
    pub len: u64,
}

/// The files read last, bounded.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    files: HashMap<String, (OpenFile, u64)>,
    clock: u64,
    forgotten: u64,
}

impl OpenFiles {
    pub(super) fn get(&mut self, name: &str) -> Option<OpenFile> {
        self.clock += 1;
        let (file, used) = self.files.get_mut(name)?;
        *used = self.clock;
        Some(file.clone())
    }

    /// A mark to pass to [`Self::keep`] for a file that is opened after this call.
    pub(super) fn mark(&self) -> u64 {
        self.forgotten
    }

    /// Keeps a file, unless any was forgotten since `mark`: it might be this one.
    pub(super) fn keep(&mut self, name: &str, file: OpenFile, mark: u64) {
        if mark != self.forgotten {
            return;
        }
        if self.files.len() >= MAX_OPEN_FILES {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.files.remove(&oldest);
            }
        }
        self.clock += 1;
        self.files.insert(name.to_owned(), (file, self.clock));
    }

    /// The name means another file now, or none.
    pub(super) fn forget(&mut self, name: &str) {
        self.forgotten += 1;
        self.files.remove(name);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }
}

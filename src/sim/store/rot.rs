//! Damage to what is stored, and putting back what was there.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Bucket, ProcessId};
use crate::sim::random::Random;

/// Damage to a stored object, at one of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectRot {
    /// One bit flips.
    Bit,
    /// One byte changes.
    Byte,
    /// 512 bytes from there on turn to noise.
    Noise,
    /// The object ends there.
    Short,
    /// The object holds what another one holds.
    Swapped,
}

impl ObjectRot {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Bit, Self::Byte, Self::Noise, Self::Short, Self::Swapped];
}

/// All objects of a store.
pub struct BucketImage(BTreeMap<String, Bytes>);

impl Bucket {
    /// All objects, as they are now.
    #[must_use]
    pub fn image(&self) -> BucketImage {
        BucketImage(self.shelf.objects.borrow().clone())
    }

    /// Puts back what was stored.
    pub fn restore(&self, image: &BucketImage) {
        self.shelf.objects.replace(image.0.clone());
    }

    /// Nothing of what a process has under way ever happens.
    pub fn forget(&self, process: ProcessId) {
        self.shelf.under_way.borrow_mut().retain(|_, change| change.0 != process);
    }

    /// Damages an object at one byte; returns whether it has that byte.
    pub fn rot(&self, name: &str, at: u64, rot: ObjectRot, random: &mut Random) -> bool {
        let mut objects = self.shelf.objects.borrow_mut();
        let others: Vec<_> = objects.keys().filter(|other| *other != name).cloned().collect();
        let Some(body) = objects.get(name).filter(|body| at < body.len() as u64) else {
            return false;
        };
        let (mut body, at) = (body.to_vec(), at as usize);
        match rot {
            ObjectRot::Bit => body[at] ^= 1 << random.below(8),
            ObjectRot::Byte => body[at] ^= random.within(1..256) as u8,
            ObjectRot::Noise => {
                let end = (at + 512).min(body.len());
                body[at..end].iter_mut().for_each(|byte| *byte ^= random.within(1..256) as u8);
            }
            ObjectRot::Short => body.truncate(at),
            ObjectRot::Swapped if others.is_empty() => {}
            ObjectRot::Swapped => body = objects[random.pick(&others)].to_vec(),
        }
        objects.insert(name.to_owned(), body.into());
        true
    }
}

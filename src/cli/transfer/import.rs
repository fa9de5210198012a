//! `krait import`: an image becomes a volume.
//!
//! What a power cut, or any other end, leaves after each step:
//! 1. the volume is made, under the name `NAME.importing`: nothing of `NAME`.
//! 2. data is written and flushed: a part of the image in `NAME.importing`, which no one takes for
//!    the whole. `--resume` goes on with it.
//! 3. with `--replace`, the old volume is deleted: there is no `NAME`; the whole image is in
//!    `NAME.importing`, and `--resume` with its size does the rest.
//! 4. the volume gets its name, see [`chunk::catalog::rename`].

use std::path::{Path, PathBuf};

use chunk::catalog::{self, CreateError};
use chunk::{VolumeName, VolumeNameError};
use futures_lite::future::block_on;
use serde::Serialize;
use wal::{BLOCK_BYTES, SECTOR_BYTES, VolumeId};

use super::disk::Disk;
use super::error::TransferError;
use super::image::{Piece, Source, runs};
use super::interrupt::{Done, say_at_the_end};
use super::reach;
use crate::cli::output;
use crate::cli::progress::{Bar, Progress};
use crate::cli::volume::error::VolumeError;
use crate::cli::volume::{delete, known, new_volume, store};
use crate::config::{ByteSize, Settings, VolumeSize};
use crate::control::lock::make_data_dir;
use crate::error::Error;
use crate::server::AnyStore;

/// Bytes between two flushes: so much at most is sent again when an import goes on.
const FLUSH_BYTES: u64 = 256 << 20;

/// What the name of a volume ends in that is not complete.
const PARTIAL: &str = ".importing";

/// What was typed.
pub(in crate::cli) struct Import<'a> {
    pub(in crate::cli) name: &'a VolumeName,
    pub(in crate::cli) image: &'a Path,
    pub(in crate::cli) size: Option<VolumeSize>,
    pub(in crate::cli) resume: Option<u64>,
    pub(in crate::cli) replace: bool,
    pub(in crate::cli) json: bool,
}

/// The JSON output.
#[derive(Serialize)]
struct ImportView {
    volume: String,
    id: String,
    size_bytes: u64,
    /// Bytes that were sent by this call; the rest was zeros, or was there.
    data_bytes: u64,
    image: PathBuf,
}

/// Imports an image.
///
/// # Errors
/// If it cannot be read, the name is taken, or the volume cannot be written.
pub(in crate::cli) fn import(settings: &Settings, wish: &Import<'_>) -> Result<(), Error> {
    let partial = partial_name(wish.name)?;
    let mut source = Source::open(wish.image)?;
    store::agree_with_server(settings)?;
    make_data_dir(&settings.data_dir)?;
    let store = store::open_or_make(settings)?;
    let find = |name| block_on(catalog::find(&store, name)).map_err(VolumeError::Read);
    let (taken, begun) = (find(wish.name)?, find(&partial)?);
    let has_nothing_to_resume = wish.resume.is_some() && begun.is_none();
    if taken.is_some() && !wish.replace && taken != begun && !has_nothing_to_resume {
        let name = wish.name.clone();
        return Err(VolumeError::Create(CreateError::Exists { name }).into());
    }
    let done = Done::new(wish.resume.unwrap_or(0));
    let unfinished = {
        let (name, partial) = (wish.name.to_string(), partial.to_string());
        let (image, done) = (wish.image.display().to_string(), done.clone());
        move |source| {
            let (name, partial, image) = (name.clone(), partial.clone(), image.clone());
            let (done, source) = (done.get(), Box::new(source));
            TransferError::Unfinished { name, partial, image, done, source }
        }
    };
    let at_signal = unfinished.clone();
    let said = say_at_the_end(move || at_signal(TransferError::Signal).to_string());
    said.map_err(TransferError::Signals)?;
    let size = match wish.resume {
        Some(offset) => resumed(&store, wish, &source, begun.map(|_| (&partial, offset)))?,
        None if begun.is_some() => {
            let (name, partial) = (wish.name.to_string(), partial.to_string());
            return Err(TransferError::Begun { name, partial }.into());
        }
        None => create(settings, &store, wish, &source, &partial)?,
    };
    let sent = reach(settings, true, |address| {
        let bar = Bar::start(format!("importing {}", wish.name), size, done.get());
        let mut disk = Disk::open(address, partial.as_str())?;
        let copied = copy(&mut source, &mut disk, &done, wish.resume.is_some(), &bar);
        copied.map_err(unfinished)
    })?;
    let id = give_name(settings, &store, wish.name, &partial)?;
    let view = ImportView {
        volume: wish.name.to_string(),
        id: id.to_string(),
        size_bytes: size,
        data_bytes: sent,
        image: wish.image.to_owned(),
    };
    if wish.json {
        return output::print_json(&view);
    }
    let (size, sent) = (ByteSize(size), ByteSize(sent));
    output::print(&format!("imported volume {} of {size}, {sent} of it data\n", wish.name))
}

/// The name of a volume until it is complete.
fn partial_name(name: &VolumeName) -> Result<VolumeName, TransferError> {
    VolumeName::new(format!("{name}{PARTIAL}")).map_err(|error| match error {
        VolumeNameError::TooLong { .. } => {
            TransferError::NameTooLong { most: VolumeName::MAX_BYTES - PARTIAL.len() }
        }
        VolumeNameError::Empty
        | VolumeNameError::Character { .. }
        | VolumeNameError::Edge { .. } => unreachable!("a name and letters are a name"),
    })
}

/// The size of a volume that is half imported, and is to be gone on with at some offset.
fn resumed(
    store: &AnyStore,
    wish: &Import<'_>,
    source: &Source,
    begun: Option<(&VolumeName, u64)>,
) -> Result<u64, Error> {
    let not_begun = || TransferError::NotBegun { name: wish.name.to_string() };
    let (partial, offset) = begun.ok_or_else(not_begun)?;
    let size = known(store, partial)?.manifest.size_bytes;
    let is_place = offset == size || offset.is_multiple_of(BLOCK_BYTES as u64);
    if offset > size || !is_place {
        return Err(TransferError::Offset { offset, size }.into());
    }
    if source.bytes().is_some_and(|bytes| bytes > size) {
        return Err(TransferError::TooLong { size: ByteSize(size) }.into());
    }
    Ok(size)
}

/// Makes the volume, under the name of what is not complete; returns its size.
fn create(
    settings: &Settings,
    store: &AnyStore,
    wish: &Import<'_>,
    source: &Source,
    partial: &VolumeName,
) -> Result<u64, Error> {
    let sector = SECTOR_BYTES as u64;
    let size = match (wish.size, source.bytes()) {
        (Some(size), Some(bytes)) if bytes > size.bytes().0 => {
            return Err(TransferError::TooLong { size: size.bytes() }.into());
        }
        (Some(size), _) => size.bytes().0,
        (None, Some(bytes)) => bytes.next_multiple_of(sector).max(sector),
        (None, None) => return Err(TransferError::SizeNeeded.into()),
    };
    let size = VolumeSize::new(ByteSize(size)).map_err(TransferError::Size)?;
    let new = new_volume(settings, wish.name, size)?;
    block_on(catalog::create_as(store, new, partial)).map_err(VolumeError::Create)?;
    Ok(size.bytes().0)
}

/// What is complete gets its name; what had it before goes.
fn give_name(
    settings: &Settings,
    store: &AnyStore,
    name: &VolumeName,
    partial: &VolumeName,
) -> Result<VolumeId, Error> {
    let _progress = Progress::start(format!("naming {name}"));
    let find = |name| block_on(catalog::find(store, name)).map_err(VolumeError::Read);
    let (taken, complete) = (find(name)?, find(partial)?);
    if taken.is_some() && taken != complete {
        delete::remove(settings, name, false)?;
    }
    Ok(block_on(catalog::rename(store, partial, name)).map_err(VolumeError::Rename)?)
}

/// Copies an image to a volume from `done` on, which it keeps up to date: so much is durable.
/// Returns the bytes that were sent. What was never written is zeros; where an import goes on, it
/// may have been.
fn copy(
    source: &mut Source,
    disk: &mut Disk,
    done: &Done,
    goes_on: bool,
    bar: &Bar,
) -> Result<u64, TransferError> {
    let size = disk.size();
    let (mut at, mut sent) = (done.get(), 0);
    loop {
        let piece = source.next(at)?;
        let bytes = match &piece {
            Piece::End => break,
            Piece::Hole(bytes) => *bytes,
            Piece::Data(bytes) => bytes.len() as u64,
        };
        if at + bytes > size {
            return Err(TransferError::TooLong { size: ByteSize(size) });
        }
        match piece {
            Piece::Data(bytes) => sent += write(disk, at, bytes, goes_on)?,
            Piece::Hole(_) if goes_on => disk.zero(at, bytes)?,
            Piece::Hole(_) | Piece::End => {}
        }
        at += bytes;
        bar.set(at);
        if at - done.get() >= FLUSH_BYTES {
            disk.flush()?;
            done.set(at / BLOCK_BYTES as u64 * BLOCK_BYTES as u64);
        }
    }
    let rest = at.next_multiple_of(SECTOR_BYTES as u64).min(size);
    if goes_on && rest < size {
        disk.zero(rest, size - rest)?;
    }
    disk.flush()?;
    done.set(size);
    Ok(sent)
}

/// Starts to write what of a piece is not zeros; returns how much that is.
fn write(
    disk: &mut Disk,
    at: u64,
    mut bytes: Vec<u8>,
    goes_on: bool,
) -> Result<u64, TransferError> {
    // An image may end within a sector, a volume does not.
    bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES), 0);
    let (mut from, mut sent) = (0, 0);
    for (length, is_data) in runs(&bytes) {
        let place = at + from as u64;
        if is_data {
            disk.write(place, &bytes[from..from + length])?;
            sent += length as u64;
        } else if goes_on {
            disk.zero(place, length as u64)?;
        }
        from += length;
    }
    Ok(sent)
}

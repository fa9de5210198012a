//! `krait export`: a volume or snapshot becomes an image.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde::Serialize;
use wal::BLOCK_BYTES;

use super::disk::{Disk, PIECE_BYTES};
use super::error::TransferError;
use super::image::{Target, is_pipe};
use super::interrupt::{Done, say_at_the_end};
use super::reach;
use crate::cli::clone::Source;
use crate::cli::output;
use crate::cli::progress::Bar;
use crate::cli::volume::{known, store};
use crate::config::{ByteSize, Settings};
use crate::error::Error;

/// Reads under way.
const READS: usize = 8;

/// What was typed.
pub(in crate::cli) struct Export<'a> {
    pub(in crate::cli) from: &'a Source,
    pub(in crate::cli) image: &'a Path,
    pub(in crate::cli) resume: Option<u64>,
    pub(in crate::cli) overwrite: bool,
    pub(in crate::cli) json: bool,
}

/// The JSON output.
#[derive(Serialize)]
struct ExportView {
    from: String,
    size_bytes: u64,
    /// Bytes that were read by this call; the rest is zeros, or was there.
    data_bytes: u64,
    image: PathBuf,
}

/// Exports a volume or snapshot.
///
/// # Errors
/// If it cannot be read, or the image not be written.
pub(in crate::cli) fn export(settings: &Settings, wish: &Export<'_>) -> Result<(), Error> {
    if is_pipe(wish.image) && (wish.json || wish.resume.is_some()) {
        return Err(TransferError::Pipe.into());
    }
    store::agree_with_server(settings)?;
    known(&store::open(settings)?, &wish.from.volume)?;
    let name = wish.from.to_string();
    let mut target = Target::open(wish.image, wish.overwrite || wish.resume.is_some())?;
    let begin = wish.resume.unwrap_or(0);
    let done = Done::new(begin);
    let interrupted = {
        let (name, image, done) = (name.clone(), wish.image.display().to_string(), done.clone());
        move |source| {
            let (name, image, source) = (name.clone(), image.clone(), Box::new(source));
            let done = done.get() / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
            TransferError::Interrupted { name, image, done, source }
        }
    };
    if !is_pipe(wish.image) {
        let at_signal = interrupted.clone();
        let said = say_at_the_end(move || at_signal(TransferError::Signal).to_string());
        said.map_err(TransferError::Signals)?;
    }
    let (size, read) = reach(settings, false, |address| {
        let mut disk = Disk::open(address, &name)?;
        let size = disk.size();
        if begin > size || !(begin.is_multiple_of(BLOCK_BYTES as u64) || begin == size) {
            return Err(TransferError::Offset { offset: begin, size });
        }
        target.begin(begin)?;
        let bar = Bar::start(format!("exporting {name}"), size, begin);
        match copy(&mut disk, &mut target, &done, &bar) {
            Ok(read) => Ok((size, read)),
            Err(error) if is_pipe(wish.image) => Err(error),
            Err(source) => Err(interrupted(source)),
        }
    })?;
    let image = wish.image.to_owned();
    let view =
        ExportView { from: wish.from.to_string(), size_bytes: size, data_bytes: read, image };
    if wish.json {
        return output::print_json(&view);
    }
    if is_pipe(wish.image) {
        return Ok(());
    }
    let (size, read, image) = (ByteSize(size), ByteSize(read), wish.image.display());
    output::print(&format!("exported {} of {size}, {read} of it data, to {image}\n", view.from))
}

/// Copies a disk to its image from `done` on, which it keeps up to date; returns the bytes that were
/// read.
fn copy(
    disk: &mut Disk,
    target: &mut Target,
    done: &Done,
    bar: &Bar,
) -> Result<u64, TransferError> {
    let (size, mut read) = (disk.size(), 0);
    while done.get() < size {
        for (bytes, is_data) in disk.runs(done.get(), size - done.get())? {
            let bytes = bytes.min(size - done.get());
            if is_data {
                copy_data(disk, target, done, bytes, bar)?;
                read += bytes;
            } else {
                target.hole(done.get(), bytes)?;
                done.set(done.get() + bytes);
            }
            bar.set(done.get());
        }
    }
    target.finish(size)?;
    Ok(read)
}

/// The same of a run that is data, with several reads under way.
fn copy_data(
    disk: &mut Disk,
    target: &mut Target,
    done: &Done,
    bytes: u64,
    bar: &Bar,
) -> Result<(), TransferError> {
    let (mut asked, end) = (done.get(), done.get() + bytes);
    let mut reading = VecDeque::with_capacity(READS);
    while done.get() < end {
        while asked < end && reading.len() < READS {
            let count = (PIECE_BYTES as u64).min(end - asked);
            reading.push_back(disk.start_read(asked, count as usize)?);
            asked += count;
        }
        let oldest = reading.pop_front().expect("a read is under way");
        let content = disk.finish_read(&oldest)?;
        target.data(done.get(), &content)?;
        done.set(done.get() + content.len() as u64);
        bar.set(done.get());
    }
    Ok(())
}

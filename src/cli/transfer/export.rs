//! `krait export`: a volume or snapshot becomes an image.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde::Serialize;
use wal::BLOCK_BYTES;

use super::disk::{Disk, PIECE_BYTES};
use super::error::TransferError;
use super::image::{Target, is_pipe};
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
    let (size, read) = reach(settings, false, |address| {
        let mut done = wish.resume.unwrap_or(0);
        let mut disk = Disk::open(address, &name)?;
        let size = disk.size();
        if done > size || !(done.is_multiple_of(BLOCK_BYTES as u64) || done == size) {
            return Err(TransferError::Offset { offset: done, size });
        }
        target.begin(done)?;
        let bar = Bar::start(format!("exporting {name}"), size, done);
        match copy(&mut disk, &mut target, &mut done, &bar) {
            Ok(read) => Ok((size, read)),
            Err(error) if is_pipe(wish.image) => Err(error),
            Err(source) => Err(TransferError::Interrupted {
                name: name.clone(),
                image: wish.image.display().to_string(),
                done: done / BLOCK_BYTES as u64 * BLOCK_BYTES as u64,
                source: Box::new(source),
            }),
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
    done: &mut u64,
    bar: &Bar,
) -> Result<u64, TransferError> {
    let (size, mut read) = (disk.size(), 0);
    while *done < size {
        for (bytes, is_data) in disk.runs(*done, size - *done)? {
            let bytes = bytes.min(size - *done);
            if is_data {
                copy_data(disk, target, done, bytes, bar)?;
                read += bytes;
            } else {
                target.hole(*done, bytes)?;
                *done += bytes;
            }
            bar.set(*done);
        }
    }
    target.finish(size)?;
    Ok(read)
}

/// The same of a run that is data, with several reads under way.
fn copy_data(
    disk: &mut Disk,
    target: &mut Target,
    done: &mut u64,
    bytes: u64,
    bar: &Bar,
) -> Result<(), TransferError> {
    let (mut asked, end) = (*done, *done + bytes);
    let mut reading = VecDeque::with_capacity(READS);
    while *done < end {
        while asked < end && reading.len() < READS {
            let count = (PIECE_BYTES as u64).min(end - asked);
            reading.push_back(disk.start_read(asked, count as usize)?);
            asked += count;
        }
        let oldest = reading.pop_front().expect("a read is under way");
        let content = disk.finish_read(&oldest)?;
        target.data(*done, &content)?;
        *done += content.len() as u64;
        bar.set(*done);
    }
    Ok(())
}

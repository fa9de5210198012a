//! `krait sfs put`: a directory goes into a volume.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use chunk::VolumeName;
use wal::BLOCK_BYTES;

use super::DoneView;
use super::format::{self, Entry, Head, Kind, SfsError};
use super::tree::{self, Item, failed};
use crate::cli::progress::Progress;
use crate::cli::transfer::disk::{Disk, PIECE_BYTES};
use crate::cli::transfer::error::TransferError;
use crate::cli::transfer::reach;
use crate::config::{ByteSize, Settings};
use crate::error::Error;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Puts what is below a directory into a volume, see `FORMAT.md`: a power cut leaves all of it, or an
/// empty file system.
pub(super) fn put(
    settings: &Settings,
    dir: &Path,
    volume: &VolumeName,
    overwrite: bool,
) -> Result<DoneView, Error> {
    let (items, left_out) = tree::walk(dir)?;
    let mut done = DoneView { left_out, ..DoneView::new(volume) };
    let progress = Progress::start(format!("putting {} files into {volume}", items.len()));
    reach(settings, true, |address| {
        let mut disk = Disk::open(address, volume.as_str())?;
        make_room(&mut disk, needed(&items), overwrite)?;
        let (mut at, mut entries) = (BLOCK, Vec::with_capacity(items.len()));
        for item in items {
            let entry = put_item(&mut disk, dir, item, at)?;
            at = (at + entry.bytes).next_multiple_of(BLOCK);
            done.count(&entry);
            progress.say(format!("putting {} into {volume}", entry.path));
            entries.push(entry);
        }
        let (bytes, head) = format::encode(&entries, at)?;
        for (n, piece) in (0..).zip(bytes.chunks(PIECE_BYTES)) {
            write(&mut disk, at + n * PIECE_BYTES as u64, piece)?;
        }
        disk.flush()?;
        write(&mut disk, 0, &head.encode())?;
        disk.flush()?;
        Ok(done)
    })
}

/// Bytes of the volume that items take.
fn needed(items: &[Item]) -> u64 {
    let contents = items.iter().map(|item| item.bytes.next_multiple_of(BLOCK));
    let entries: usize = items.iter().map(|item| format::entry_bytes(&item.path)).sum();
    BLOCK + contents.sum::<u64>() + (entries as u64).next_multiple_of(BLOCK)
}

/// Leaves an empty file system and nothing else; refuses a volume that is too small, or has something
/// else, unless told.
fn make_room(disk: &mut Disk, needed: u64, overwrite: bool) -> Result<(), TransferError> {
    let size = disk.size();
    if size < needed {
        return Err(TransferError::NoRoom { needed: ByteSize(needed), size: ByteSize(size) });
    }
    let is_ours = !matches!(Head::decode(&disk.read(0, BLOCK_BYTES)?, size), Err(SfsError::None));
    if !is_ours && !overwrite && has_data(disk)? {
        return Err(TransferError::Occupied);
    }
    let (_, empty) = format::encode(&[], BLOCK)?;
    write(disk, 0, &empty.encode())?;
    disk.flush()?;
    disk.zero(BLOCK, size - BLOCK)?;
    disk.flush()
}

/// Whether anything was written to a volume, and not trimmed since.
fn has_data(disk: &mut Disk) -> Result<bool, TransferError> {
    let mut at = 0;
    while at < disk.size() {
        let runs = disk.runs(at, disk.size() - at)?;
        if runs.iter().any(|(_, is_data)| *is_data) {
            return Ok(true);
        }
        at += runs.iter().map(|(bytes, _)| bytes).sum::<u64>();
    }
    Ok(false)
}

/// Puts one file, directory or link, whose content begins at `at`.
fn put_item(disk: &mut Disk, dir: &Path, item: Item, at: u64) -> Result<Entry, TransferError> {
    let Item { path, kind, mode, .. } = item;
    let place = dir.join(&path);
    let (mut bytes, mut crc) = (0, 0);
    let mut take = |content: &[u8]| {
        write(disk, at + bytes, content)?;
        crc = crc32c::crc32c_append(crc, content);
        bytes += content.len() as u64;
        Ok::<_, TransferError>(())
    };
    match kind {
        Kind::Directory => {}
        Kind::Link => {
            let target = fs::read_link(&place).map_err(failed("read link", &place))?;
            take(target.as_os_str().as_bytes())?;
        }
        Kind::File => {
            let mut file = File::open(&place).map_err(failed("open", &place))?;
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let count = read_full(&mut file, &mut piece).map_err(failed("read", &place))?;
                if count == 0 {
                    break;
                }
                take(&piece[..count])?;
            }
        }
    }
    let at = if bytes == 0 { 0 } else { at };
    Ok(Entry { path, kind, mode, bytes, at, crc })
}

/// Writes whole blocks, the last one filled up with zeros.
fn write(disk: &mut Disk, at: u64, content: &[u8]) -> Result<(), TransferError> {
    let mut blocks = content.to_vec();
    blocks.resize(content.len().next_multiple_of(BLOCK_BYTES), 0);
    if at + blocks.len() as u64 > disk.size() {
        // It grew meanwhile.
        let (needed, size) = (at + blocks.len() as u64, disk.size());
        return Err(TransferError::NoRoom { needed: ByteSize(needed), size: ByteSize(size) });
    }
    disk.write(at, &blocks)
}

/// Reads until the buffer is full or the file has ended.
fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match file.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

//! `krait sfs`: a directory in a volume, and back. Format: `sfs/FORMAT.md`.

mod format;
mod put;
mod tree;

use std::path::{Path, PathBuf};

use chunk::VolumeName;
use serde::Serialize;
use wal::BLOCK_BYTES;

pub use format::SfsError;

use super::args::SfsCommand;
use super::output::{self, Align, Table};
use super::progress::Bar;
use super::transfer::disk::{Disk, PIECE_BYTES};
use super::transfer::error::TransferError;
use super::transfer::reach;
use super::volume::{known, store};
use crate::config::{ByteSize, Settings};
use crate::error::Error;
use format::{Entry, Head, Kind};

/// Does what was typed.
///
/// # Errors
/// If it cannot be done, or something is damaged.
pub(super) fn run(settings: &Settings, command: &SfsCommand) -> Result<(), Error> {
    match command {
        SfsCommand::Put { dir, volume, overwrite, json } => {
            find(settings, volume)?;
            let done = put::put(settings, dir, volume, *overwrite)?;
            tell(&done, "put", json.json)
        }
        SfsCommand::Ls { volume, json } => list(settings, volume, json.json),
        SfsCommand::Get { volume, dir, json } => {
            let done = read_all(settings, volume, Some(dir))?;
            tell(&done, "got", json.json)
        }
        SfsCommand::Verify { volume, json } => {
            let done = read_all(settings, volume, None)?;
            tell(&done, "verified", json.json)?;
            match done.damaged.len() {
                0 => Ok(()),
                count => Err(super::volume::error::VolumeError::Damaged { count }.into()),
            }
        }
    }
}

/// What was done, in JSON.
#[derive(Serialize)]
struct DoneView {
    volume: String,
    files: u64,
    directories: u64,
    links: u64,
    bytes: u64,
    /// Paths whose content is not what was put.
    damaged: Vec<String>,
    /// Paths that are neither file, directory nor link, and were left out.
    left_out: Vec<String>,
}

impl DoneView {
    fn new(volume: &VolumeName) -> Self {
        Self {
            volume: volume.to_string(),
            files: 0,
            directories: 0,
            links: 0,
            bytes: 0,
            damaged: Vec::new(),
            left_out: Vec::new(),
        }
    }

    fn count(&mut self, entry: &Entry) {
        match entry.kind {
            Kind::File => self.files += 1,
            Kind::Directory => self.directories += 1,
            Kind::Link => self.links += 1,
        }
        self.bytes += entry.bytes;
    }
}

fn tell(done: &DoneView, verb: &str, json: bool) -> Result<(), Error> {
    if json {
        return output::print_json(done);
    }
    let DoneView { volume, files, directories, links, bytes, damaged, left_out } = done;
    let bytes = ByteSize(*bytes);
    let mut text = format!(
        "{verb} {files} files, {directories} directories and {links} links with {bytes}: {volume}\n"
    );
    damaged.iter().for_each(|path| text.push_str(&format!("damaged: {path}\n")));
    left_out.iter().for_each(|path| text.push_str(&format!("left out: {path}\n")));
    output::print(&text)
}

/// A volume that is not there is named before anything is opened.
fn find(settings: &Settings, volume: &VolumeName) -> Result<(), Error> {
    store::agree_with_server(settings)?;
    known(&store::open(settings)?, volume)?;
    Ok(())
}

/// Reads the entries of a volume.
fn entries(disk: &mut Disk) -> Result<Vec<Entry>, TransferError> {
    if disk.size() < BLOCK_BYTES as u64 {
        return Err(SfsError::None.into());
    }
    let head = Head::decode(&disk.read(0, BLOCK_BYTES)?, disk.size())?;
    let mut bytes = Vec::with_capacity(head.bytes as usize);
    while bytes.len() < head.bytes as usize {
        let count = PIECE_BYTES.min(head.bytes as usize - bytes.len());
        bytes.extend(disk.read(head.at + bytes.len() as u64, count)?);
    }
    Ok(format::decode(&head, &bytes)?)
}

/// One entry in JSON.
#[derive(Serialize)]
struct EntryView {
    path: String,
    /// `file`, `directory` or `link`.
    kind: &'static str,
    mode: String,
    bytes: u64,
    crc32c: String,
}

/// The JSON output of `ls`.
#[derive(Serialize)]
struct ListView {
    volume: String,
    entries: Vec<EntryView>,
}

fn list(settings: &Settings, volume: &VolumeName, json: bool) -> Result<(), Error> {
    find(settings, volume)?;
    let found =
        reach(settings, false, |address| entries(&mut Disk::open(address, volume.as_str())?))?;
    let view = |entry: Entry| EntryView {
        kind: match entry.kind {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Link => "link",
        },
        mode: format!("{:04o}", entry.mode),
        path: entry.path,
        bytes: entry.bytes,
        crc32c: format!("{:08x}", entry.crc),
    };
    let view =
        ListView { volume: volume.to_string(), entries: found.into_iter().map(view).collect() };
    if json {
        return output::print_json(&view);
    }
    let mut table =
        Table::new(&[("MODE", Align::Left), ("BYTES", Align::Right), ("PATH", Align::Left)]);
    for entry in view.entries {
        let slash = if entry.kind == "directory" { "/" } else { "" };
        table.row(vec![entry.mode, entry.bytes.to_string(), entry.path + slash]);
    }
    output::print(&table.text())
}

/// Reads everything, compares it with its checksums, and writes it to a directory if there is one.
fn read_all(
    settings: &Settings,
    volume: &VolumeName,
    dir: Option<&PathBuf>,
) -> Result<DoneView, Error> {
    find(settings, volume)?;
    reach(settings, false, |address| {
        let mut disk = Disk::open(address, volume.as_str())?;
        let found = entries(&mut disk)?;
        if let Some(dir) = dir {
            tree::make_target(dir)?;
        }
        let all = found.iter().map(|entry| entry.bytes).sum();
        let bar = Bar::start(format!("reading {volume}"), all, 0);
        let mut done = DoneView::new(volume);
        for entry in &found {
            if !read_entry(&mut disk, entry, dir.map(PathBuf::as_path))? {
                done.damaged.push(entry.path.clone());
            }
            done.count(entry);
            bar.set(done.bytes);
        }
        match dir {
            // What is damaged is not handed out as if it was not.
            Some(_) if !done.damaged.is_empty() => {
                Err(TransferError::Damaged { path: done.damaged.swap_remove(0) })
            }
            _ => Ok(done),
        }
    })
}

/// Reads one entry; returns whether it is as it was put.
fn read_entry(disk: &mut Disk, entry: &Entry, dir: Option<&Path>) -> Result<bool, TransferError> {
    let mut out = dir.map(|dir| tree::Made::new(dir, entry)).transpose()?;
    let (mut at, end, mut crc) = (entry.at, entry.at + entry.bytes, 0);
    while at < end {
        let count = (PIECE_BYTES as u64).min(end - at) as usize;
        let content = disk.read(at, count)?;
        crc = crc32c::crc32c_append(crc, &content);
        if let Some(out) = &mut out {
            out.take(&content)?;
        }
        at += count as u64;
    }
    let is_right = crc == entry.crc;
    match out {
        Some(out) if is_right => out.finish(entry)?,
        Some(out) => out.discard()?,
        None => {}
    }
    Ok(is_right)
}

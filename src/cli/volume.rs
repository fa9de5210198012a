//! `krait volume`: the commands that work on the store, with or without a server beside them.

mod attach;
mod check;
pub(super) mod delete;
mod drain;
pub mod error;
mod info;
pub(super) mod log;
mod resize;
mod status;
pub(super) mod store;

use std::collections::BTreeMap;
use std::path::Path;

use chunk::catalog::{self, NameError};
use chunk::manifest_log::latest;
use chunk::{Manifest, ManifestSeq, ObjectStore, Parent, ReadError, VolumeName};
use futures_lite::future::block_on;
use serde::Serialize;
use wal::VolumeId;
use wal::layout::MIN_STRIPE_SHIFT;

use super::args::VolumeCommand;
use super::output::{self, Align, Table};
use crate::config::{ByteSize, Settings, VolumeSize};
use crate::control::lock::make_data_dir;
use crate::error::Error;
use crate::runtime::clock::unix_ms;
use error::VolumeError;

/// Does what was typed.
///
/// # Errors
/// If it cannot be done, or something is damaged.
pub(super) fn run(settings: &Settings, command: &VolumeCommand) -> Result<(), Error> {
    match command {
        VolumeCommand::Create { name, size, json, promises: _ } => {
            create(settings, name, *size, json.json)
        }
        VolumeCommand::List { json } => list(settings, json.json),
        VolumeCommand::Info { name, json } => info::info(settings, name, json.json),
        VolumeCommand::Status { name, json } => status::status(settings, name, json.json),
        VolumeCommand::Check { name, json } => check::check(settings, name, json.json),
        VolumeCommand::Resize(options) => resize::resize(settings, options),
        VolumeCommand::Drain { name, timeout, json } => {
            drain::drain(settings, name, *timeout, json.json)
        }
        VolumeCommand::Attach { name, force, json } => {
            attach::attach(settings, name, *force, json.json)
        }
        VolumeCommand::Detach { name, timeout, json } => {
            attach::detach(settings, name, *timeout, json.json)
        }
        VolumeCommand::DropLog { name, yes, json } => {
            attach::drop_log(settings, name, *yes, json.json)
        }
        VolumeCommand::Delete { name, yes, snapshots, json } => {
            delete::delete(settings, name, (*yes, *snapshots), json.json)
        }
    }
}

/// A volume as the store knows it.
pub(super) struct Known {
    pub(super) id: VolumeId,
    seq: ManifestSeq,
    pub(super) manifest: Manifest,
}

/// Reads the newest manifest of the volume with this name.
pub(super) fn known<S: ObjectStore>(store: &S, name: &VolumeName) -> Result<Known, VolumeError> {
    block_on(async {
        let missing = || VolumeError::NotFound { name: name.clone() };
        let id = catalog::find(store, name).await?.ok_or_else(missing)?;
        let (seq, bytes) = latest(store, id).await?.ok_or(VolumeError::NoManifest { id })?;
        let manifest = Manifest::decode_as(&bytes, id, seq)
            .map_err(|source| VolumeError::Manifest { object: seq.object_name(id), source })?;
        Ok(Known { id, seq, manifest })
    })
}

/// One volume in JSON; the same fields in every command that prints it.
#[derive(Serialize)]
struct VolumeView {
    name: String,
    id: String,
    size_bytes: u64,
    /// RFC 3339, UTC.
    created: String,
    /// Number of its last opening for writing; 0 if there was none. A clone begins with that of
    /// its parent.
    incarnation: u64,
    durability: &'static str,
    fencing: &'static str,
    /// How long a lease lasts, where one is needed.
    lease_seconds: Option<u16>,
    /// What it was cloned from.
    parent: Option<ParentView>,
}

/// What a volume was cloned from, in JSON.
#[derive(Serialize)]
struct ParentView {
    /// Name of the volume, if that is known.
    volume: Option<String>,
    volume_id: String,
    /// The snapshot; `None` if the volume was cloned as it was.
    snapshot: Option<String>,
}

impl ParentView {
    fn new(parent: &Parent) -> Self {
        let snapshot = parent.name.clone_id().is_none().then(|| parent.name.to_string());
        Self { volume: None, volume_id: parent.volume.to_string(), snapshot }
    }

    fn text(&self) -> String {
        let volume = self.volume.as_ref().unwrap_or(&self.volume_id);
        match &self.snapshot {
            Some(snapshot) => format!("{volume}@{snapshot}"),
            None => volume.clone(),
        }
    }
}

impl VolumeView {
    fn new(name: &VolumeName, manifest: &Manifest) -> Self {
        Self {
            name: name.to_string(),
            id: manifest.volume.to_string(),
            size_bytes: manifest.size_bytes,
            created: time_text(manifest.created_unix_ms),
            incarnation: manifest.incarnation.0,
            durability: manifest.promises.durability.name(),
            fencing: manifest.promises.fencing.name(),
            lease_seconds: manifest.promises.fencing.lease().map(chunk::LeaseTerm::seconds),
            parent: manifest.parent.as_ref().map(ParentView::new),
        }
    }
}

/// A time in milliseconds since 1970, as RFC 3339 in UTC with whole seconds.
pub(super) fn time_text(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).ok();
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("{unix_ms} ms after 1970"), |time| time.to_string())
}

fn create(
    settings: &Settings,
    name: &VolumeName,
    size: VolumeSize,
    json: bool,
) -> Result<(), Error> {
    store::agree_with_server(settings)?;
    make_data_dir(&settings.data_dir)?;
    let store = store::open_or_make(settings)?;
    let new = new_volume(settings, name, size)?;
    let manifest = block_on(catalog::create(&store, new)).map_err(VolumeError::Create)?;
    let view = VolumeView::new(name, &manifest);
    if json {
        return output::print_json(&view);
    }
    output::print(&format!("created volume {name} of {size}, id {}\n", view.id))
}

/// A volume with an identity of its own, created now.
pub(super) fn new_volume(
    settings: &Settings,
    name: &VolumeName,
    size: VolumeSize,
) -> Result<catalog::NewVolume, Error> {
    Ok(catalog::NewVolume {
        name: name.clone(),
        id: VolumeId(random_id()?),
        size_bytes: size.bytes().0,
        stripe_shift: MIN_STRIPE_SHIFT,
        promises: settings.new_volumes,
        created_unix_ms: unix_ms(),
    })
}

/// The bits of an identity that nobody else has.
///
/// # Errors
/// If the operating system gives none.
pub(super) fn random_id() -> Result<[u8; 16], Error> {
    let mut id = [0; 16];
    let source = Path::new("/dev/urandom");
    let random = std::fs::File::open(source);
    random
        .and_then(|mut random| std::io::Read::read_exact(&mut random, &mut id))
        .map_err(|error| Error::file("read", source, error))?;
    Ok(id)
}

/// The JSON output of `list`.
#[derive(Serialize)]
struct ListView {
    volumes: Vec<VolumeView>,
    /// Volumes that cannot be read, as messages.
    damaged: Vec<String>,
}

fn list(settings: &Settings, json: bool) -> Result<(), Error> {
    store::agree_with_server(settings)?;
    let store = store::open(settings)?;
    let mut view = ListView { volumes: Vec::new(), damaged: Vec::new() };
    for entry in block_on(catalog::list(&store)).map_err(VolumeError::Store)? {
        match entry.map_err(VolumeError::from).and_then(|(name, _)| {
            let known = known(&store, &name)?;
            Ok(VolumeView::new(&name, &known.manifest))
        }) {
            Ok(volume) => view.volumes.push(volume),
            // Deleted since it was listed.
            Err(VolumeError::NotFound { .. }) => {}
            Err(error) if error.kind() == crate::error::ErrorKind::Corrupt => {
                view.damaged.push(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    view.name_parents();
    if json {
        output::print_json(&view)?;
    } else {
        output::print(&list_text(&view))?;
    }
    match view.damaged.len() {
        0 => Ok(()),
        count => Err(VolumeError::Damaged { count }.into()),
    }
}

impl ListView {
    /// Says what the volumes are named that others were cloned from.
    fn name_parents(&mut self) {
        let names: BTreeMap<_, _> =
            self.volumes.iter().map(|volume| (volume.id.clone(), volume.name.clone())).collect();
        for parent in self.volumes.iter_mut().filter_map(|volume| volume.parent.as_mut()) {
            parent.volume = names.get(&parent.volume_id).cloned();
        }
    }
}

fn list_text(view: &ListView) -> String {
    let mut columns = vec![
        ("NAME", Align::Left),
        ("SIZE", Align::Right),
        ("CREATED", Align::Left),
        ("ID", Align::Left),
    ];
    let has_clones = view.volumes.iter().any(|volume| volume.parent.is_some());
    if has_clones {
        columns.push(("CLONE OF", Align::Left));
    }
    let mut table = Table::new(&columns);
    for volume in &view.volumes {
        let mut row = vec![
            volume.name.clone(),
            ByteSize(volume.size_bytes).to_string(),
            volume.created.clone(),
            volume.id.clone(),
        ];
        if has_clones {
            row.push(volume.parent.as_ref().map(ParentView::text).unwrap_or_default());
        }
        table.row(row);
    }
    let damaged: String = view.damaged.iter().map(|text| format!("damaged: {text}\n")).collect();
    table.text() + &damaged
}

impl From<NameError> for VolumeError {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Read(error) => Self::Read(error),
            NameError::Grammar { .. } => Self::Name(error),
        }
    }
}

impl From<ReadError> for VolumeError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

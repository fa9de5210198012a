//! An object of map pages and directory segments.

use chunk::map_object::MapPart;
use chunk::{DirectorySegment, MapPage, PageIdentity, PageValue, SegmentIdentity};
use serde::Serialize;

use crate::cli::output;
use crate::error::Error;

/// The JSON output.
#[derive(Serialize)]
struct MapView {
    kind: &'static str,
    parts: Vec<PartView>,
}

#[derive(Serialize)]
#[serde(tag = "part", rename_all = "kebab-case")]
enum PartView {
    Page { volume: String, page: u64, first_block: u64, runs: Vec<RunView> },
    Segment { volume: String, segment: u32, pages: Vec<PagePlace> },
}

#[derive(Serialize)]
struct RunView {
    /// `data` or `zero`.
    kind: &'static str,
    lba: u64,
    blocks: u16,
    chunk: Option<String>,
    payload_block: Option<u32>,
    crcs: Vec<String>,
}

#[derive(Serialize)]
struct PagePlace {
    page: u64,
    object: String,
    offset: u32,
    bytes: u32,
}

/// Prints all parts of a map object.
pub(super) fn show(parts: &[MapPart], json: bool) -> Result<(), Error> {
    let parts = parts.iter().map(|part| match part {
        MapPart::Page(identity, page) => page_view(identity, page),
        MapPart::Segment(identity, segment) => segment_view(identity, segment),
    });
    let view = MapView { kind: "map", parts: parts.collect() };
    if json { output::print_json(&view) } else { output::print(&text(&view)) }
}

fn page_view(identity: &PageIdentity, page: &MapPage) -> PartView {
    let first_block = identity.index.first_block().0;
    let runs = page.iter().map(|(run, value, crcs)| {
        let (kind, chunk, block) = match value {
            PageValue::Data { chunk, block } => ("data", Some(chunk), Some(block)),
            PageValue::Zero => ("zero", None, None),
        };
        RunView {
            kind,
            lba: first_block + u64::from(run.first()),
            blocks: run.count(),
            chunk: chunk.map(|chunk| chunk.to_string()),
            payload_block: block.map(|block| block.0),
            crcs: crcs.iter().map(|crc| format!("{crc:08x}")).collect(),
        }
    });
    PartView::Page {
        volume: identity.volume.to_string(),
        page: identity.index.0,
        first_block,
        runs: runs.collect(),
    }
}

fn segment_view(identity: &SegmentIdentity, segment: &DirectorySegment) -> PartView {
    let pages = segment.iter().map(|(page, place)| PagePlace {
        page: page.0,
        object: place.object.to_string(),
        offset: place.offset,
        bytes: place.len,
    });
    PartView::Segment {
        volume: identity.volume.to_string(),
        segment: identity.index.0,
        pages: pages.collect(),
    }
}

fn text(view: &MapView) -> String {
    let mut text = format!("map object, {} parts\n", view.parts.len());
    for part in &view.parts {
        match part {
            PartView::Page { volume, page, first_block, runs } => {
                text.push_str(&format!("page {page} of volume {volume}, from {first_block}\n"));
                runs.iter().for_each(|run| text.push_str(&run_text(run)));
            }
            PartView::Segment { volume, segment, pages } => {
                text.push_str(&format!("directory segment {segment} of volume {volume}\n"));
                for PagePlace { page, object, offset, bytes } in pages {
                    text.push_str(&format!(
                        "  page {page}: {bytes} bytes at {offset} of map {object}\n"
                    ));
                }
            }
        }
    }
    text
}

fn run_text(run: &RunView) -> String {
    let end = run.lba + u64::from(run.blocks);
    match (&run.chunk, run.payload_block) {
        (Some(chunk), Some(block)) => format!(
            "  {} [{}, {end}) in chunk {chunk} at payload block {block}\n",
            run.kind, run.lba
        ),
        _ => format!("  {} [{}, {end})\n", run.kind, run.lba),
    }
}

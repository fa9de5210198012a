//! What bytes from outside meet first: one function for each decoder, which takes anything and
//! panics if a promise of the decoder is broken. Driven by cargo-fuzz (`tests/fuzz/README.md`),
//! and on every toolchain by `tests/decoders.rs`.

mod log;
#[path = "../../../nbd/tests/sessions/memory_server.rs"]
mod memory_server;
mod objects;
mod protocol;
mod seal;

/// A decoder: the name of its target, and the function that is given anything.
pub type Target = (&'static str, fn(&[u8]));

/// Every decoder.
pub const TARGETS: &[Target] = &[
    ("handshake", protocol::handshake),
    ("options", protocol::options),
    ("requests", protocol::requests),
    ("session", protocol::session),
    ("replies", protocol::replies),
    ("log_record", log::record),
    ("log_segment", log::segment),
    ("chunk", objects::chunk),
    ("manifest", objects::manifest),
    ("map_page", objects::page),
    ("map_object", objects::map_object),
    ("snapshot", objects::snapshot),
    ("clone_pin", objects::pin),
    ("volume_name", objects::name),
];

/// Gives `bytes` to the decoder of this name.
///
/// # Panics
/// If there is none, or the decoder breaks a promise.
pub fn run(target: &str, bytes: &[u8]) {
    let (_, decode) = TARGETS.iter().find(|(name, _)| *name == target).expect("a known target");
    decode(bytes);
}

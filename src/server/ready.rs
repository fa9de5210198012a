//! What the server says when it accepts connections.

use std::path::PathBuf;

use nbd::ExportInfo;

use crate::config::Listen;
use crate::runtime::ListenAddr;

/// The address of a listener as the settings would write it.
pub(super) fn as_setting(address: &ListenAddr) -> Listen {
    match address {
        ListenAddr::Unix(path) => Listen::Unix(path.clone()),
        ListenAddr::Tcp(address) => {
            Listen::Tcp { host: address.ip().to_string(), port: address.port() }
        }
    }
}

/// The lines for standard error: where clients connect, and what to paste to use an export.
pub(super) fn text(listeners: &[Listen], export: Option<&ExportInfo>) -> String {
    let addresses: Vec<String> = listeners.iter().map(Listen::to_string).collect();
    let mut text = format!("ready: listening on {}\n", addresses.join(" and "));
    let Some(listener) = listeners.first() else { return text };
    match export {
        None => text += "make a volume with: krait volume create NAME --size 20G\n",
        Some(export) => {
            let uri = listener.uri(&export.name);
            let device = blockdev(listener, export);
            text += &format!("look at it with:     nbdinfo '{uri}'\n");
            text += &match export.read_only {
                true => format!("copy it to a file:   nbdcopy '{uri}' IMAGE\n"),
                false => format!(
                    "copy an image to it: nbdcopy IMAGE '{uri}'\n                     \
                     qemu-img convert -n -f qcow2 -O raw IMAGE '{uri}'\n"
                ),
            };
            text += &format!(
                "give it to a guest:  qemu-system-x86_64 -blockdev {device} -device virtio-blk-pci,drive=disk0\n"
            );
        }
    }
    text
}

/// The value of QEMU's `-blockdev`.
fn blockdev(listener: &Listen, export: &ExportInfo) -> String {
    let server = match listener {
        Listen::Unix(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
            format!("server.type=unix,server.path={}", path.display())
        }
        Listen::Tcp { host, port } => {
            format!("server.type=inet,server.host={host},server.port={port}")
        }
    };
    let (name, writable) =
        (&export.name, if export.read_only { "read-only=on" } else { "discard=unmap" });
    format!("driver=nbd,node-name=disk0,{server},export={name},{writable}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_name_every_listener_and_the_first_ones_uri() {
        let listeners =
            ["unix:/run/k.sock", "tcp:127.0.0.1:10810"].map(|text| text.parse().unwrap());
        let mut export = ExportInfo::new("demo", 512);
        let writable = text(&listeners, Some(&export));
        export.read_only = true;
        let read_only = text(&listeners, Some(&export));
        assert!(read_only.contains("export=demo,read-only=on"), "{read_only}");
        assert!(!read_only.contains("-n -f qcow2"), "{read_only}");
        let text = writable;
        assert!(text.starts_with("ready: listening on unix:/run/k.sock and tcp:127.0.0.1:10810\n"));
        assert!(text.contains("nbdinfo 'nbd+unix:///demo?socket=/run/k.sock'"), "{text}");
        let device = "driver=nbd,node-name=disk0,server.type=unix,server.path=/run/k.sock,export=demo,discard=unmap";
        assert!(text.contains(device), "{text}");
    }

    #[test]
    fn without_a_volume_the_lines_say_how_to_make_one() {
        let text = text(&["tcp:[::1]:1".parse().unwrap()], None);
        assert!(text.contains("tcp:[::1]:1") && text.contains("krait volume create"), "{text}");
    }
}

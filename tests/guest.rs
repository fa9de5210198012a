//! A booted guest whose disks are volumes: it makes, fills, checks and re-mounts file systems.
//!
//! QEMU emulates the machine in software, so that this runs the same on every host;
//! `KRAIT_GUEST_ACCEL=kvm` uses the processor instead.

#[path = "guest/initramfs.rs"]
mod initramfs;
#[path = "guest/kernel.rs"]
mod kernel;
#[path = "guest/machine.rs"]
mod machine;
#[path = "guest/served.rs"]
mod served;
#[path = "guest/tool.rs"]
mod tool;

use initramfs::Initramfs;
use kernel::Kernel;
use machine::Machine;
use served::Home;

/// Export with ext4, the guest's first disk. So small a file system has blocks of 1 KiB, four of
/// which share a block of the volume.
const EXT4: (&str, u64) = ("ext4", 256 << 20);

/// Export with xfs, the guest's second disk.
const XFS: (&str, u64) = ("xfs", 512 << 20);

/// Copies of the payload that stay on each file system.
const KEPT_COPIES: u64 = 3;

/// Most bytes of metadata that a file system of these sizes may have, journal included.
const METADATA: u64 = 8 << 20;

#[test]
fn a_guest_makes_fills_checks_and_remounts_ext4_and_xfs() {
    let home = Home::new();
    let Some((kernel, initramfs)) = parts(&home) else { return };
    let machine = Machine::new(&kernel, &initramfs, home.socket(), [EXT4.0, XFS.0]);

    let server = home.serve(&[EXT4, XFS]);
    machine.boot("fill");
    server.stop();

    let server = home.serve(&[]);
    for (export, _) in [EXT4, XFS] {
        let data = server.data_bytes(export);
        let kept = KEPT_COPIES * initramfs.payload_bytes();
        assert!(data >= kept, "{export} has {data} bytes of data, {kept} were written");
        let most = kept + METADATA;
        assert!(data <= most, "{export} has {data} bytes of data after fstrim, {most} at most");
    }
    machine.boot("verify");
    server.kill();

    let server = home.serve(&[]);
    machine.boot("again");
    server.stop();
    for (export, _) in [EXT4, XFS] {
        home.check(export);
    }
}

#[test]
fn a_guest_writes_on_while_its_server_is_restarted_and_replaced() {
    let home = Home::new();
    let Some((kernel, initramfs)) = parts(&home) else { return };
    let machine = Machine::new(&kernel, &initramfs, home.socket(), [EXT4.0, XFS.0]);
    let mut server = Some(home.serve(&[EXT4, XFS]));
    let mut wishes = Vec::new();
    machine.boot_and("live", |wish| {
        let old = server.take().expect("one serves all the time");
        server = Some(match wish {
            "restart" => {
                old.stop();
                home.serve(&[])
            }
            "replace" => home.replace(old),
            _ => panic!("the guest asks for {wish}"),
        });
        wishes.push(wish.to_owned());
    });
    assert_eq!(wishes, ["restart", "replace"]);
    server.expect("one serves").stop();
    for (export, _) in [EXT4, XFS] {
        home.check(export);
    }
}

/// What the guest boots from; nothing, said aloud, if this machine lacks a part of it. In CI that
/// is a failure.
fn parts(home: &Home) -> Option<(Kernel, Initramfs)> {
    let found = Kernel::find().and_then(|kernel| {
        tool::all(&[machine::QEMU, "nbdinfo", "cpio", "sha256sum", "ldd"])?;
        let initramfs = Initramfs::build(&home.path("initramfs"), &kernel)?;
        Ok((kernel, initramfs))
    });
    match found {
        Ok(parts) => Some(parts),
        Err(missing) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{missing}");
            eprintln!("skipped: {missing}; tests/run installs it");
            None
        }
    }
}

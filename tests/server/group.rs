//! Snapshots of several volumes at one instant.

use crate::fixture::{Home, client};
use crate::shell::{fails, ok, uri};

/// Snapshots that are made under load.
const SNAPSHOTS: u32 = 8;

#[test]
fn snapshots_of_several_volumes_are_of_one_instant() {
    let home = Home::new();
    let server = home.serve("8M");
    ok(&home, "volume create log --size 8M");
    let data = home.path("data").display().to_string();
    let krait = env!("CARGO_BIN_EXE_krait");
    let [first, second] = ["demo", "log"].map(|export| uri(&server, export));
    // One client counts, on one volume, then on the other one.
    let script = format!(
        "import struct, subprocess, threading\n\
         krait = ['{krait}', '--data-dir', '{data}', 'snapshot', 'create', '--group', 'demo,log']\n\
         failed, done = [], threading.Event()\n\
         def take():\n\
         \x20   for n in range({SNAPSHOTS}):\n\
         \x20       made = subprocess.run(krait + ['s%d' % n], capture_output=True)\n\
         \x20       if made.returncode != 0: failed.append(made)\n\
         \x20   done.set()\n\
         other = nbd.NBD()\n\
         other.connect_uri('{second}')\n\
         h.pwrite(bytes(512), 0)\n\
         other.pwrite(bytes(512), 5 << 20)\n\
         taking = threading.Thread(target=take)\n\
         taking.start()\n\
         number = 0\n\
         while not done.is_set():\n\
         \x20   number += 1\n\
         \x20   block = struct.pack('<Q', number) + bytes(504)\n\
         \x20   h.pwrite(block, 0)\n\
         \x20   other.pwrite(block, 5 << 20)\n\
         taking.join()\n\
         assert not failed, failed\n\
         assert number > 100, number\n\
         def seen(uri, n, at):\n\
         \x20   view = nbd.NBD()\n\
         \x20   view.connect_uri(uri.replace('?', '@s%d?' % n))\n\
         \x20   found = struct.unpack('<Q', view.pread(8, at))[0]\n\
         \x20   view.shutdown()\n\
         \x20   return found\n\
         before = 0\n\
         for n in range({SNAPSHOTS}):\n\
         \x20   one, two = seen('{first}', n, 0), seen('{second}', n, 5 << 20)\n\
         \x20   assert two <= one <= two + 1 and one >= before, (n, one, two, before)\n\
         \x20   before = one\n\
         assert before > 0\n\
         h.shutdown()\n\
         other.shutdown()\n"
    );
    if client("nbdsh", |c| c.args(["-u", &first, "-c", &script])).is_none() {
        return;
    }
    // All of them, or none.
    ok(&home, "snapshot delete log s3");
    fails(&home, 4, "snapshot create --group log,demo s3", "demo@s3 exists already");
    assert!(!ok(&home, "snapshot list log").contains("s3"), "it was taken back");
    fails(&home, 2, "snapshot create --group log,log s9", "named twice");
    fails(&home, 2, "snapshot create s9", "--group VOLUME,VOLUME");
    fails(&home, 3, "snapshot create --group log,none s9", "no volume is named none");
    assert!(server.stop().success());
    let text = ok(&home, "snapshot create --group demo,log still");
    assert_eq!(text, "made snapshots demo@still, log@still of one instant\n");
}

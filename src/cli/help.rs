//! What stands below the options in the help of each command: examples, and what a script needs to
//! know.

use crate::error::ErrorKind;

pub(super) const SERVE: &str = "\
Examples:
  krait serve --create demo=1G
      Make a volume of 1 GiB if it is missing, and serve it on DATA_DIR/nbd.sock
  krait serve --listen unix:/run/krait/nbd.sock --listen tcp:127.0.0.1:10809 --read-only base
      Serve all volumes on a socket and a port; nobody may write to `base`
  krait serve --listen unix:/run/krait/nbd.sock --replace
      Take the place of the server that runs, as after an upgrade of the program

Says `ready` once clients may come, and where. Volumes whose log holds what the store lacks are
recovered meanwhile; a client of one of them waits for it. SIGTERM and SIGINT end it with exit code
0 when requests under way are finished, all logs are durable, and all is uploaded or 10 seconds are
over: what is left is in the log. Exit code 1 then means that some of what was acknowledged may be
lost, as a log could not be synced.

With --replace, the server that runs goes on until this one can take its sockets and its data
directory; it ends with exit code 0 then. Clients that connect again wait less than a second, or
longer if the log has a gigabyte that the store lacks. Store and addresses must be the same. If this
one fails, the other goes on: exit code 2 if the settings differ, 5 if another process replaces it
already, 9 if it stopped meanwhile. Exit code 9 of a server that was to be replaced: the new one
died; everything is durable, start one.

TCP has no encryption and no password.";

pub(super) const IMPORT: &str = "\
Examples:
  krait import golden debian.raw
  zstdcat debian.raw.zst | krait import golden - --size 20G
  krait import golden debian.raw --resume 1342177280
      Go on where an import was cut off, which says from where

Raw images; for others, `qemu-img convert -O raw IN /dev/stdout`, or its NBD target. Holes and zeros are
not sent. Until all of it is there the volume is named NAME.importing, and `krait volume delete` removes
what is left of an import that nobody goes on with. Works with and without a server; without one, all
of it is in the object store at the end. Exit code 4: the name is taken, or an import was begun.";

pub(super) const SFS: &str = "\
Examples:
  krait volume create demo --size 1G
  krait sfs put ./dir --volume demo && krait sfs verify demo
  krait sfs get demo ./again

A file system that is written once, with a checksum for each file, to see a volume at work without a
guest. Works with and without a server. Exit code 6: something is not what was put.";

pub(super) const EXPORT: &str = "\
Examples:
  krait export vm1@before-upgrade vm1.raw
  krait export vm1@before-upgrade - | zstd > vm1.raw.zst

Raw. Files get holes where the volume has none but zeros, pipes get the zeros. Of a volume that is being
written to, make a snapshot: an export reads one block after the other, while the volume changes. A
file that is not complete is shorter than the volume. Exit code 4: the file exists.";

pub(super) const CREATE: &str = "\
Examples:
  krait volume create vm1 --size 20G
  krait volume create db1 --size 1T --durability wal --fencing lease

A volume keeps what it was made with; `krait volume info` prints it. Works while a server runs, which serves the volume at once. Exit code 4: the name is taken.";

pub(super) const LIST: &str = "\
Exit code 6: volumes that cannot be read are listed as damaged; the others are listed all the same.";

pub(super) const INFO: &str = "\
Reads the store, not the log: `krait volume status` tells what is on its way.";

pub(super) const STATUS: &str = "\
Asks the server of the data directory if one runs, else looks at log and store. Data go from `dirty`
(acknowledged, in memory) through `logged` (on the local disk) and `syncing` (being uploaded) to
`remote` (in the object store). `unknown`: the number would take reading the whole log, or the store
does not answer. A bucket that fails says since when, and why. `kept aside` is what this host had
logged of a volume that another host took over.";

pub(super) const DRAIN: &str = "\
Examples:
  krait volume drain vm1 --timeout 5m && krait volume info vm1

With a server, clients may go on: what they write later is not waited for. Without one, the volume is
opened, drained and closed here. Exit code 9: the time is over. Nothing is lost then, and a server
goes on uploading.";

pub(super) const ATTACH: &str = "\
Examples:
  krait volume attach vm1
      Open it here, after another host detached it or ended its server
  krait volume attach vm1 --force
      The other host is dead, or is to lose it

A volume has one host at a time. A server opens a volume by itself for its first client, if no host
has it: `attach` does so without one. Without a server it is opened for the next one. What the host
that loses it had not uploaded stays in that host's log and is never replayed; `krait volume status`
there says so. A volume made with `--fencing lease` is taken over without `--force` as well, once the
lease of the other host has run out. Exit code 10: another host has it.";

pub(super) const DETACH: &str = "\
Examples:
  krait volume detach vm1 && ssh other-host krait volume attach vm1

The next client that connects here opens it here again, unless another host has it by then. Exit code
5: clients are connected to it; 9: the time is over, and the volume stays with this host.";

pub(super) const DROP_LOG: &str = "\
Examples:
  krait volume drop-log vm1 --yes

Never touches a log that an opening replays. Exit code 3: nothing is kept aside.";

pub(super) const CHECK: &str = "\
Reads every object of the volume, and its log unless a server works on it. Changes nothing. Exit code
6: something is damaged, as printed; 9: the store did not answer everything.";

pub(super) const RESIZE: &str = "\
Examples:
  krait volume resize vm1 40G
      With a server, clients go on meanwhile
  krait volume resize vm1 10G --danger-discard-tail
      What is behind the first 10 GiB is destroyed

The new size is in the store when the command returns. A client that connects sees it; one that is
connected keeps the size that it was told until it connects again, as NBD has no message for that.
Snapshots and clones keep their own. A volume that grows reads as zeros behind its old end, also if it
was larger before. It shrinks only while no client is connected; if that is cut off it may have its
old size and have lost its tail. Without a server, the volume is opened, changed and given back. Exit
code 2: it would shrink, and --danger-discard-tail is missing; 5: it would shrink, and clients are
connected; 9: the time is over; 10: another host has it.";

pub(super) const DELETE: &str = "\
Examples:
  krait volume delete vm1
      Asks on a terminal
  krait volume delete vm1 --yes
      For scripts

Exit code 5: clients are connected to it, or it has snapshots and --snapshots is not given, or clones
of it need it, which are named.";

pub(super) const SNAPSHOT_CREATE: &str = "\
Examples:
  krait snapshot create vm1 before-upgrade
  nbdcopy 'nbd+unix:///vm1@before-upgrade?socket=/run/krait/nbd.sock' backup.raw
  krait snapshot create --group data,log before-upgrade
      Both volumes at one instant: data@before-upgrade and log@before-upgrade

With a server, clients go on meanwhile, and none of their requests waits. It is made when the server's log
has it, as durable as what a client has flushed, and comes to the store with the next upload. It is one instant
between the call and its return: what a file system in a guest has not written yet is not in it. It is
an export of its own, VOLUME@NAME, which any host can read and nobody can write to. It takes no space
but for what the volume changes later. Without a server a volume that this host has is opened,
uploaded and given back. With --group, what was acknowledged on any of the volumes before a write to
another one was sent is in its snapshot if that write is; all of them are made, or none. Exit code 4:
the name is taken; 9: the time is over, and there is no snapshot; 10: another host has the volume.";

pub(super) const SNAPSHOT_LIST: &str = "\
STORED says `soon` of a snapshot that only the server's log has yet: \"manifest\": null in JSON.
Exit code 6: snapshots that cannot be read are listed as damaged; the others are listed all the same.";

pub(super) const SNAPSHOT_DIFF: &str = "\
Examples:
  krait snapshot diff vm1 monday tuesday
      What a copy of monday needs to become tuesday
  krait snapshot diff vm1 monday --json
      What changed since, up to the newest cut; `krait volume drain vm1` makes one

Compares maps and reads no data: every byte that differs is in a range, and a range may hold bytes
that are equal, as they were written again or moved by `krait gc`. Ranges are whole blocks of 4 KiB,
and end where the volume ends in the second state. Exit code 3: there is no such snapshot.";

pub(super) const SNAPSHOT_DELETE: &str = "\
Examples:
  krait snapshot delete vm1 before-upgrade

A deletion that was cut off is finished by the next one. Exit code 5: clones need it, which are named,
or clients of this server read it.";

pub(super) const CLONE_CREATE: &str = "\
Examples:
  krait clone create vm2 --from vm1@before-upgrade
      Begin as that snapshot
  krait clone create vm2 --from vm1
      Begin as vm1 is now, with all that was acknowledged before the call

A clone shares what it does not change with the volume that it was made from, and is a volume as any
other: it can be written, moved to another host, snapshotted and cloned. Nothing is copied, whatever
the size, and reads cost the same at any depth. What it was made from cannot be deleted before it.
Exit code 4: the name is taken; 9: the time is over; 10: another host has the volume that is to be
cloned as it is now.";

pub(super) const CLONE_FLATTEN: &str = "\
Examples:
  krait clone flatten vm2 && krait snapshot delete vm1 before-upgrade

Copies what is shared, a little at a time; clients go on meanwhile. When it is done, the clone is a
volume as one that was created, and what it was made of can be deleted. Stopped at any point, nothing
is lost and the next run goes on; a server goes on by itself. A snapshot of the clone that was made
before shares as well: exit code 5 names it, and it has to be deleted first. Without a server, the
clone is opened, separated and given back. Exit code 10: another host has it.";

pub(super) const INSPECT: &str = "\
Examples:
  krait inspect krait-data/wal/4f0c.../00000001-00000001.wal
  krait inspect --json krait-data/store/names/vm1

Exit code 6: the file is damaged. That a segment of the log has remains of its earlier use and ends in
a torn record is no damage: both are shown. Exit code 2: it is none of Krait's.";

pub(super) const EXPLAIN: &str = "\
Examples:
  krait config explain
  krait config explain --json --memory 2G";

pub(super) const COMPLETION: &str = "\
Examples:
  krait completion bash > ~/.local/share/bash-completion/completions/krait
  krait completion zsh > ~/.zfunc/_krait";

pub(super) const MAN: &str = "\
Examples:
  krait man | man -l -
  krait man > /usr/local/share/man/man1/krait.1
  krait man volume drain > /usr/local/share/man/man1/krait-volume-drain.1";

/// Exit codes, for the help of the program.
pub(super) fn exit_codes() -> String {
    let codes = std::iter::once("\n  0  done".to_owned()).chain(
        ErrorKind::ALL.iter().map(|kind| format!("\n{:>3}  {}", kind.exit_code(), kind.about())),
    );
    format!("Exit codes:{}", codes.collect::<String>())
}

pub(super) const GC: &str = "\
Examples:
  krait gc --dry-run
      What is stored of each volume, how much of it is needed, and what would be removed
  krait gc run --volume vm1

A server does this by itself for volumes that are written to. An object is removed when neither the
newest manifest nor a snapshot of its volume refers to it, and did not some time ago either
(`gc.grace_seconds`, 60 unless set): the command takes two or three times as long. Where less than 70 %
of what is stored is needed, the needed part of the emptiest chunks is moved into new ones, until it
is 75 %. Stopped at any point, nothing is lost, and the next run goes on. A volume that another host
has is left to that host: exit code 10.";

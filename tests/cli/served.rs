//! Volume commands beside a server.

use krait::config::Flags;
use krait::config::key::Key;
use krait::control::lock::make_data_dir;
use krait::control::{self, Answer, ControlRequest, ControlServer, DataDirLock, Op, Refusal};
use krait::control::{ServerInfo, SnapshotInfo, TrafficStatus, VolumeState, VolumeStatus};
use krait::engine::collect::Collected;
use krait::engine::fetch_health::StoreState;
use krait::error::ErrorKind;

use super::*;

/// A process that serves the data directory of a shell, played by this one: volume `busy` has
/// clients, all others have none.
struct Served {
    _control: ControlServer,
    _lock: DataDirLock,
}

impl Served {
    fn start(shell: &Shell, store: &str) -> Self {
        let data_dir = shell.path().join("krait-data");
        let values = vec![(Key::DataDir, vec![data_dir.display().to_string()])];
        let settings = krait::config::load(&Flags { config: None, values }).unwrap().settings;
        make_data_dir(&data_dir).unwrap();
        let lock = DataDirLock::acquire(&settings).unwrap();
        let (sender, requests) = control::channel();
        let control = ControlServer::start(&lock, sender).unwrap();
        let store = store.to_owned();
        std::thread::Builder::new().spawn(move || answer_all(&requests, &store)).unwrap();
        Self { _control: control, _lock: lock }
    }
}

fn answer_all(requests: &async_channel::Receiver<ControlRequest>, store: &str) {
    while let Ok(ControlRequest { op, reply }) = requests.recv_blocking() {
        reply.send(match op {
            Op::Ping => Ok(Answer::Server(ServerInfo {
                version: "0".to_owned(),
                pid: std::process::id(),
                store: store.to_owned(),
                cores: 1,
                listen: Vec::new(),
            })),
            Op::Status { volume } => Ok(Answer::Status(Box::new(status(volume)))),
            Op::Delete { volume, .. } if volume == "busy" => Err(Refusal {
                kind: ErrorKind::Busy,
                message: "volume busy has 2 clients: disconnect them first".to_owned(),
            }),
            Op::Delete { .. } => Ok(Answer::Deleted),
            Op::Drain { volume, seconds } if volume == "busy" => Err(Refusal {
                kind: ErrorKind::Retry,
                message: format!("volume busy is not drained after {seconds} seconds"),
            }),
            Op::Drain { .. } => Ok(Answer::Drained),
            Op::DeleteSnapshot { .. } => Ok(Answer::Deleted),
            Op::CreateSnapshot { volume, name, seconds } => Ok(Answer::Snapshot(SnapshotInfo {
                volume,
                name,
                id: "5".repeat(32),
                created_unix_ms: seconds * 1000,
                manifest: Some(4),
                size_bytes: 1 << 30,
            })),
            Op::Clone { snapshot, .. } => match snapshot {
                Some(_) => Ok(Answer::Cloned { id: "6".repeat(32) }),
                None => Err(Refusal {
                    kind: ErrorKind::Fenced,
                    message: "host 1 has volume vm1 since incarnation 4".to_owned(),
                }),
            },
            Op::Collect { dry_run, .. } => Ok(Answer::Collected(Collected {
                removed: u64::from(!dry_run),
                ..Default::default()
            })),
            Op::ComingSnapshots { volume } => {
                let (name, id) = ("later".to_owned(), "5".repeat(32));
                let (created_unix_ms, size_bytes) = (0, 1 << 30);
                let coming =
                    SnapshotInfo { volume, name, id, created_unix_ms, manifest: None, size_bytes };
                Ok(Answer::Snapshots { snapshots: vec![coming] })
            }
            Op::CreateSnapshots { .. }
            | Op::SettleSnapshots { .. }
            | Op::Flatten { .. }
            | Op::Flattening { .. }
            | Op::Resize { .. }
            | Op::Attach { .. }
            | Op::Detach { .. }
            | Op::DropLog { .. }
            | Op::ShareSockets { .. }
            | Op::Leave { .. }
            | Op::Volumes => {
                panic!("no test asks this")
            }
        });
    }
}

fn status(volume: String) -> VolumeStatus {
    VolumeStatus {
        volume,
        id: "7".repeat(32),
        state: VolumeState::Serving,
        size_bytes: 1 << 30,
        read_only: false,
        connections: 2,
        incarnation: 3,
        dirty_bytes: 4096,
        logged_bytes: Some(8192),
        syncing_bytes: 0,
        remote_bytes: None,
        cached_bytes: 4096,
        disk_cached_bytes: 1 << 20,
        disk_cache_hits: 7,
        disk_cache_rotten: 1,
        wal_bytes: 1 << 24,
        written_bytes: 8 << 20,
        store_state: Some(StoreState::Slow),
        traffic: Some(TrafficStatus {
            requests: 12,
            puts: 4,
            put_bytes: 8 << 20,
            puts_per_mib: Some(0.5),
            requests_per_mib: Some(1.5),
        }),
        failure: None,
        ..VolumeStatus::default()
    }
}

/// The URL of the store that commands of this shell use.
fn store_of(shell: &Shell) -> String {
    format!("file://{}", shell.path().join("krait-data/store").display())
}

#[test]
fn the_status_of_a_served_volume_is_the_servers_word() {
    let shell = Shell::new();
    let _served = Served::start(&shell, &store_of(&shell));
    let told = shell.json("volume status vm1 --json");
    assert_eq!(told, serde_json::to_value(status("vm1".to_owned())).unwrap());
    let text = shell.ok("volume status vm1");
    says(&text, "clients      2");
    says(&text, "remote       unknown");
    says(&text, "cached       4 KiB in memory, 1 MiB on the local disk");
    says(&text, "disk cache   answered 7 reads, 1 were rotten");
    says(&text, "12, of these 4 puts; 1.50 requests, 0.50 puts per MiB of the 8 MiB written");
    says(&text, "store        slow");
}

#[test]
fn a_served_volume_is_deleted_by_the_server_or_not_at_all() {
    let shell = Shell::new();
    let _served = Served::start(&shell, &store_of(&shell));
    shell.ok("volume create busy --size 1G");
    let line = shell.fails(5, "volume delete busy --yes");
    assert_eq!(line, "krait: volume busy has 2 clients: disconnect them first\n");
    shell.ok("volume info busy");
    says(&shell.ok("volume delete idle --yes"), "deleted volume idle");
}

#[test]
fn commands_work_beside_a_server_and_leave_its_log_alone() {
    let shell = Shell::new();
    let _served = Served::start(&shell, &store_of(&shell));
    shell.ok("volume create vm1 --size 1G");
    says(&shell.ok("volume list"), "vm1");
    says(&shell.ok("volume check vm1"), "log: not checked, as a server works on it");
}

#[test]
fn a_command_with_another_store_than_the_servers_is_refused() {
    let shell = Shell::new();
    let _served = Served::start(&shell, "memory:");
    let line = shell.fails(2, "volume list");
    says(&line, "uses the store memory:, not file:///");
    says(&shell.fails(2, "volume delete vm1 --yes"), "--store memory:");
}

#[test]
fn a_drain_is_the_servers_work_and_ends_in_time() {
    let shell = Shell::new();
    let _served = Served::start(&shell, &store_of(&shell));
    says(&shell.ok("volume drain idle"), "drained volume idle");
    assert_eq!(shell.json("volume drain idle --json")["drained"], true);
    let line = shell.fails(9, "volume drain busy --timeout 2m");
    assert_eq!(line, "krait: volume busy is not drained after 120 seconds\n");
    says(&shell.fails(2, "volume drain busy --timeout 2d"), "such as 60s or 5m");
    says(&shell.fails(2, "volume drain busy --timeout 0"), "choose from 1s to 1h");
}

#[test]
fn snapshots_and_clones_beside_a_server_are_the_servers_work() {
    let shell = Shell::new();
    let _served = Served::start(&shell, &store_of(&shell));
    let made = shell.json("snapshot create vm1 s1 --timeout 5s --json");
    assert_eq!((&made["volume"], &made["name"]), (&"vm1".into(), &"s1".into()));
    assert_eq!((&made["created"], &made["manifest"]), (&"1970-01-01T00:00:05Z".into(), &4.into()));
    says(&shell.ok("snapshot delete vm1 s1"), "deleted snapshot vm1@s1");
    let cloned = shell.json("clone create vm2 --from vm1@s1 --json");
    assert_eq!((&cloned["id"], &cloned["from"]), (&"6".repeat(32).into(), &"vm1@s1".into()));
    says(&shell.fails(10, "clone create vm2 --from vm1"), "host 1 has volume vm1");
}

#[test]
fn a_snapshot_on_its_way_to_the_store_is_listed() {
    let shell = Shell::new();
    shell.ok("volume create vm1 --size 1G");
    shell.ok("snapshot create vm1 earlier");
    let _served = Served::start(&shell, &store_of(&shell));
    let listed = shell.ok("snapshot list vm1");
    let rows: Vec<Vec<&str>> = listed.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!((rows[1][0], *rows[1].last().unwrap()), ("earlier", "yes"), "{listed}");
    assert_eq!((rows[2][0], *rows[2].last().unwrap()), ("later", "soon"), "{listed}");
    let json = shell.json("snapshot list vm1 --json");
    assert_eq!(json["snapshots"][1]["manifest"], serde_json::Value::Null);
}

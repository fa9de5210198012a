//! The client against servers: the built-in null server always, nbdkit where it is installed.

use std::env;
use std::process::Command;

use perf::compare::Comparison;
use perf::fill::Fill;
use perf::load::Client;
use perf::null_server;
use perf::operations::LoadError;
use perf::pinned::default_core;
use perf::recipe::Recipe;
use perf::scenario::{Scenario, compared};
use perf::server::Server;
use perf::size::ByteSize;
use perf::uri::Uri;

const SIZE: ByteSize = ByteSize::new(32 << 20);

/// False, with a note, where `program` is missing; a failure in CI.
fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    assert!(found || env::var_os("CI").is_none(), "{program} must be installed in CI");
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

fn short(name: &str) -> Scenario {
    let mut scenario = Scenario::load(name).expect("built in");
    scenario.seconds = 0.1;
    scenario.warmup_seconds = 0.02;
    scenario
}

fn nbdkit_memory() -> Recipe {
    Recipe::peers("nbdkit-memory").expect("known").remove(0)
}

#[test]
fn every_workload_runs_on_simple_and_structured_replies() {
    let dir = tempfile::tempdir().expect("tempdir");
    for structured in [false, true] {
        let socket = dir.path().join(format!("{structured}.sock"));
        null_server::start(&socket, SIZE.bytes(), structured).expect("server");
        let uri = Uri::unix(socket, "any");
        let mut client = Client::new(1);
        for name in compared() {
            let measured = client.run(&short(name), &uri, None).expect(name);
            assert!(measured.operations > 0, "{name}");
            assert!(measured.seconds >= 0.1, "{name}: {measured:?}");
        }
    }
}

#[test]
fn a_paced_load_keeps_its_rate() {
    let dir = tempfile::tempdir().expect("tempdir");
    let socket = dir.path().join("null.sock");
    null_server::start(&socket, SIZE.bytes(), true).expect("server");
    let mut scenario = short("randwrite-4k-qd32");
    (scenario.seconds, scenario.rate) = (0.5, Some(ByteSize::new(4 << 20)));
    let measured = Client::new(1).run(&scenario, &Uri::unix(socket, ""), None).expect("run");
    assert!((300..=560).contains(&measured.operations), "{measured:?}");
}

#[test]
fn connections_take_volumes_in_turns() {
    let dir = tempfile::tempdir().expect("tempdir");
    let socket = dir.path().join("null.sock");
    null_server::start(&socket, SIZE.bytes(), true).expect("server");
    let volumes = [Uri::unix(socket, "a"), Uri::unix(dir.path().join("none.sock"), "b")];
    let mut scenario = short("writeflush-4k-qd1");
    let mut client = Client::new(1);
    assert!(client.run_on(&scenario, &volumes, None).expect("the first").operations > 0);
    scenario.connections = 2;
    let outcome = client.run_on(&scenario, &volumes, None);
    assert!(matches!(outcome, Err(LoadError::Connect(_))), "{outcome:?}");
}

#[test]
fn a_server_that_forgets_is_found_by_verification() {
    let dir = tempfile::tempdir().expect("tempdir");
    let socket = dir.path().join("null.sock");
    null_server::start(&socket, SIZE.bytes(), true).expect("server");
    let mut scenario = short("mixed-4k-4c");
    scenario.verify = true;
    let outcome = Client::new(1).run(&scenario, &Uri::unix(socket, ""), None);
    assert!(matches!(outcome, Err(LoadError::Mismatch { .. })), "{outcome:?}");
}

#[test]
fn nbdkit_passes_verification_in_every_workload() {
    if !installed("nbdkit") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let server = Server::start(&nbdkit_memory(), dir.path(), SIZE, &[]).expect("nbdkit");
    let mut client = Client::new(1);
    for name in compared() {
        let mut scenario = short(name);
        scenario.verify = true;
        scenario.read_percent = scenario.read_percent.clamp(30, 70);
        let measured = client.run(&scenario, &server.uri, Some(server.pid())).expect(name);
        assert!(measured.read_latency_us.is_some() && measured.write_latency_us.is_some());
        assert!(measured.server_cpu_us_per_op.is_some());
    }
    server.stop().expect("stopped");
}

#[test]
fn a_comparison_fills_every_cell_and_leaves_nothing_behind() {
    if !installed("nbdkit") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let mut recipes = vec![
        Recipe::krait_command("nbdkit -f -U {socket} file {dir}/../nbdkit.file/volume.img")
            .expect("command"),
    ];
    recipes.splice(0..0, Recipe::peers("nbdkit-file").expect("known"));
    recipes[0].name = "nbdkit.file".to_owned();
    let comparison = Comparison {
        recipes,
        scenarios: ["randwrite-4k-qd1", "writeflush-4k-qd1"].map(short).to_vec(),
        scratch: dir.path().to_owned(),
        size: SIZE,
        runs: 2,
        client_core: default_core(),
        server_cores: vec![0],
        recovery: None,
    };
    let report = comparison.run(|_| {}).expect("compared");
    assert_eq!(report.cells.len(), 5, "two servers twice, the bare file once");
    assert!(report.cells.iter().all(|cell| cell.runs.len() == 2 && cell.median.is_some()));
    let table = report.table().to_string().lines().skip(1).collect::<Vec<_>>().join("\n");
    assert_eq!(table.matches("x |").count(), 6, "{table}");
    assert!(report.servers.iter().all(|server| server.peak_rss_bytes > 0));
    assert_eq!(dir.path().read_dir().expect("scratch").count(), 0, "scratch was left behind");
}

#[test]
fn a_fill_reports_memory_and_idle_time() {
    if !installed("nbdkit") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let server = Server::start(&nbdkit_memory(), dir.path(), SIZE, &[]).expect("nbdkit");
    let fill = Fill {
        scenario: short("seqwrite-1m"),
        bytes: ByteSize::new(48 << 20),
        uri: server.uri.clone(),
        pid: server.pid(),
        client_core: default_core(),
        idle: std::time::Duration::from_millis(200),
    };
    let filled = fill.run().expect("filled");
    assert_eq!(filled.load.operations, 48);
    assert!(filled.rss_peak > SIZE.bytes() && filled.rss_peak >= filled.rss_before);
    assert!(filled.idle_cpu_percent < 50.0);
}

#[test]
fn a_server_that_does_not_start_is_reported_with_its_words() {
    let dir = tempfile::tempdir().expect("tempdir");
    let start = |command: &str| {
        let recipe = Recipe::krait_command(command).expect("command");
        Server::start(&recipe, dir.path(), SIZE, &[]).map(drop).expect_err("no server").to_string()
    };
    assert!(start("no-such-program {socket}").contains("installed"));
    let words = start("ls {socket}/nothing-here");
    assert!(words.contains("ended") && words.contains("nothing-here"), "{words}");
}

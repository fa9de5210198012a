//! What every store must do.

use chunk::{ObjectStore as _, StoreKind, conformance};
use s3_test_server::Options;

use crate::fixture::{BUCKET, bytes, config, name, open, server, store, stored, wait};

#[test]
fn the_store_does_what_every_store_must() {
    let server = server();
    let store = store(&server);
    assert_eq!(store.kind(), StoreKind::S3);
    wait(store.check()).expect("the bucket is there");
    wait(conformance::suite(&store, 10_000));
}

#[test]
fn of_sixteen_racing_conditional_puts_exactly_one_wins_two_hundred_times() {
    let server = server();
    conformance::race(&store(&server), 16, 200);
}

#[test]
fn the_bucket_may_stand_in_the_hosts_name_and_the_prefix_may_be_missing() {
    let options = Options { listen: ([127, 0, 0, 1], 0).into(), ..Options::default() };
    let server = s3_test_server::TestServer::start(options).unwrap();
    let mut config = config(&server);
    let endpoint = format!("http://localhost:{}", server.address().port());
    config.endpoint = Some(endpoint.parse().unwrap());
    config.path_style = Some(false);
    config.prefix = None;
    let store = open(&config);
    wait(conformance::suite(&store, 100));
    wait(store.put(&name("a/b"), vec![1])).unwrap();
    assert_eq!(server.keys(BUCKET), ["a/b"]);
}

#[test]
fn objects_of_others_are_not_listed() {
    let server = server();
    let store = store(&server);
    for key in ["deep/prefix/", "deep/prefix/a b", "deep/prefix/\u{1}é", "deep/prefixed", "x"] {
        server.insert(BUCKET, key, vec![1]);
    }
    server.insert(BUCKET, "deep/prefix/ok", vec![1, 2]);
    assert_eq!(wait(store.list("")).unwrap(), [(name("ok"), 2)]);
}

#[test]
fn a_large_object_goes_up_in_parts() {
    let server = server();
    let store = store(&server);
    let body = bytes(s3::limits::MAX_SINGLE_PUT_BYTES + 5);
    wait(store.put(&name("large"), body.clone())).unwrap();
    assert!(stored(&server, "large") == Some(body.clone()), "the object is what was put");
    assert_eq!(server.uploads(), 0);
    let tail = body.len() as u64 - 10..body.len() as u64;
    assert_eq!(wait(store.get_range(&name("large"), tail)).unwrap(), body[body.len() - 10..]);
    let metrics = store.metrics();
    assert_eq!(metrics.of(s3::Op::Put).requests, 5);
    assert_eq!(metrics.of(s3::Op::Put).bytes_sent, body.len() as u64);
    assert_eq!(metrics.of(s3::Op::Upload).requests, 2);
}

#[test]
fn sixteen_requests_at_once_share_as_many_connections_for_ever() {
    let server = server();
    let mut config = config(&server);
    config.connections = 16;
    let store = open(&config);
    server.faults().add(s3_test_server::Rule::all(s3_test_server::Fault::Delay(
        std::time::Duration::from_millis(5),
    )));
    std::thread::scope(|scope| {
        for n in 0..32 {
            let store = store.clone();
            let put = move || {
                for m in 0..20 {
                    wait(store.put(&name(&format!("o/{n}/{m}")), bytes(1000))).unwrap();
                }
            };
            std::thread::Builder::new().spawn_scoped(scope, put).unwrap();
        }
    });
    assert_eq!(server.requests(), 640);
    assert_eq!(server.most_at_once(), 16);
    assert!(server.connections() <= 20, "{} connections", server.connections());
}

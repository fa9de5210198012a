//! A store that asks for fewer requests gets fewer, and later as many as before.

use s3_test_server::{Fault, Rule};

use chunk::ObjectStore as _;

use crate::fixture::{bytes, config, name, open, server, wait};

#[test]
fn slow_down_lowers_the_concurrency_and_successes_raise_it_again() {
    let server = server();
    let mut config = config(&server);
    config.connections = 8;
    let store = open(&config);
    server.faults().add(Rule::once(Fault::Status(503)));
    wait(store.put(&name("object"), bytes(10))).unwrap();
    let metrics = store.metrics();
    assert_eq!((metrics.concurrency, metrics.total().slowdowns), (4, 1));
    for _ in 0..4 + 5 + 6 + 7 {
        wait(store.put(&name("object"), bytes(10))).unwrap();
    }
    assert_eq!(store.metrics().concurrency, 8);
}

#[test]
fn the_numbers_tell_requests_retries_failures_and_bytes_apart() {
    let server = server();
    let store = open(&config(&server));
    server.faults().add(Rule::once(Fault::Status(500)));
    wait(store.put(&name("object"), bytes(1000))).unwrap();
    assert_eq!(wait(store.get_range(&name("object"), 0..100)).unwrap().len(), 100);
    server.faults().add(Rule::all(Fault::Status(403)).on("HEAD".parse().unwrap()));
    wait(store.head(&name("object"))).unwrap_err();
    let metrics = store.metrics();
    let put = metrics.of(s3::Op::Put);
    assert_eq!((put.requests, put.retries, put.failures, put.errors), (2, 1, 1, 0));
    assert_eq!(put.bytes_sent, 2000);
    assert_eq!(metrics.of(s3::Op::Get).bytes_received, 100);
    let head = metrics.of(s3::Op::Head);
    assert_eq!((head.requests, head.retries, head.failures, head.errors), (1, 0, 1, 1));
}

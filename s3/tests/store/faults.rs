//! Each thing that can go wrong goes away by itself, or ends in an error that says what it was.

use std::time::{Duration, Instant};

use chunk::{ObjectStore as _, RemoteCause, StoreError};
use s3::{Op, S3Store};
use s3_test_server::{Fault, Rule, TestServer};

use crate::fixture::{
    BUCKET, bytes, cause, config, impatient, name, open, server, store, stored, wait,
};

/// Puts, reads, asks and deletes while the server has faults, and checks each result.
fn works(server: &TestServer, store: &S3Store) {
    let (object, body) = (name("object"), bytes(5000));
    wait(store.put(&object, body.clone())).expect("put");
    assert_eq!(stored(server, "object").expect("it is there"), body);
    assert_eq!(wait(store.head(&object)).expect("head"), 5000);
    assert_eq!(wait(store.get_range(&object, 100..4000)).expect("get"), body[100..4000]);
    assert_eq!(wait(store.list("ob")).expect("list"), [(object.clone(), 5000)]);
    wait(store.put_if_absent(&name("new"), body.clone())).expect("put");
    let again = wait(store.put_if_absent(&name("new"), vec![7]));
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    wait(store.delete_many(&[object.clone(), name("new")])).expect("delete");
    wait(store.delete(&object)).expect("delete");
    let gone = wait(store.get_range(&object, 0..1));
    assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
}

/// Each of ten requests is hit once, by a rule for each kind of request.
fn survives(fault: Fault) {
    let server = server();
    let store = store(&server);
    for method in ["PUT", "GET", "HEAD", "DELETE", "POST"] {
        let method = method.parse().expect("a method");
        server.faults().add(Rule::once(fault).on(method));
    }
    works(&server, &store);
    assert!(server.faults().hits() >= 4, "{} hits", server.faults().hits());
    assert!(store.metrics().total().retries >= 4);
}

#[test]
fn an_internal_error_is_tried_again() {
    survives(Fault::Status(500));
}

#[test]
fn a_bad_gateway_is_tried_again_even_if_the_store_behind_it_did_it() {
    survives(Fault::StatusAfter(502));
}

#[test]
fn too_many_requests_are_tried_again() {
    survives(Fault::Status(429));
}

#[test]
fn a_request_to_slow_down_is_tried_again() {
    survives(Fault::Status(503));
}

#[test]
fn a_conflict_is_tried_again() {
    survives(Fault::Status(409));
}

#[test]
fn a_request_that_the_server_thinks_is_late_is_tried_again() {
    survives(Fault::Status(408));
}

#[test]
fn a_reset_before_the_request_was_applied_is_tried_again() {
    survives(Fault::ResetBefore);
}

#[test]
fn a_reset_after_the_request_was_applied_is_tried_again() {
    survives(Fault::ResetAfter);
}

#[test]
fn a_server_that_hangs_is_left_and_tried_again() {
    survives(Fault::Hang);
}

#[test]
fn a_server_that_hangs_after_it_did_it_is_left_and_tried_again() {
    survives(Fault::HangAfter);
}

#[test]
fn an_upload_that_is_damaged_on_its_way_is_noticed_and_tried_again() {
    let server = server();
    let store = store(&server);
    server.faults().add(Rule::once(Fault::DamageUpload));
    works(&server, &store);
    assert_eq!(server.faults().hits(), 1);
}

#[test]
fn an_upload_that_is_always_damaged_is_a_clear_error_and_no_object() {
    let server = server();
    let store = store(&server);
    server.faults().add(Rule::all(Fault::DamageUpload));
    let refused = cause(wait(store.put(&name("object"), bytes(100))));
    let RemoteCause::Refused { answer } = &refused else { panic!("{refused}") };
    assert_eq!(answer.status, 400, "{refused}");
    assert_eq!(stored(&server, "object"), None);
}

/// A read meets a fault once, then gets its bytes; meeting it always, it never gets wrong ones.
fn read_survives(fault: Fault) -> RemoteCause {
    let server = server();
    server.insert(BUCKET, "deep/prefix/object", bytes(20_000));
    let store = store(&server);
    server.faults().add(Rule::once(fault).on("GET".parse().expect("a method")));
    let read = wait(store.get_range(&name("object"), 5_000..15_000)).expect("get");
    assert_eq!(read, bytes(20_000)[5_000..15_000]);
    assert_eq!(server.faults().hits(), 1);
    server.faults().add(Rule::all(fault).on("GET".parse().expect("a method")));
    let store = open(&impatient(&server));
    cause(wait(store.get_range(&name("object"), 5_000..15_000)))
}

#[test]
fn a_truncated_body_is_never_taken_for_the_whole() {
    let last = read_survives(Fault::Truncate);
    assert!(matches!(last, RemoteCause::Length { need: 10_000, have: 5_000 }), "{last}");
}

#[test]
fn a_short_part_is_never_taken_for_the_whole() {
    let last = read_survives(Fault::ShortPart);
    assert!(matches!(last, RemoteCause::Length { need: 10_000, have: 9_999 }), "{last}");
}

#[test]
fn a_part_that_denies_the_rest_of_the_object_is_not_believed() {
    let last = read_survives(Fault::ShortObject);
    assert!(matches!(last, RemoteCause::Length { need: 10_000, .. }), "{last}");
}

#[test]
fn a_whole_object_instead_of_a_part_is_refused() {
    let last = read_survives(Fault::WholeObject);
    assert!(matches!(last, RemoteCause::Malformed { .. }), "{last}");
}

#[test]
fn a_trickle_ends_by_the_time_for_the_attempt() {
    let server = server();
    server.insert(BUCKET, "deep/prefix/object", bytes(20_000));
    let store = open(&impatient(&server));
    server.faults().add(Rule::all(Fault::Trickle(Duration::from_millis(20))));
    #[expect(clippy::disallowed_methods, reason = "the test measures real time")]
    let begun = Instant::now();
    let last = cause(wait(store.get_range(&name("object"), 0..20_000)));
    let elapsed = begun.elapsed();
    assert!(matches!(last, RemoteCause::Timeout { what: "whole answer", .. }), "{last}");
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
}

#[test]
fn a_hanging_server_ends_in_an_error_in_bounded_time() {
    let server = server();
    let store = open(&impatient(&server));
    server.faults().add(Rule::all(Fault::Hang));
    #[expect(clippy::disallowed_methods, reason = "the test measures real time")]
    let begun = Instant::now();
    let last = cause(wait(store.put(&name("object"), bytes(10))));
    assert!(matches!(last, RemoteCause::Timeout { .. }), "{last}");
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn an_object_that_is_missing_for_a_moment_is_asked_for_again() {
    let server = server();
    server.insert(BUCKET, "deep/prefix/object", bytes(10));
    let store = store(&server);
    server.faults().add(Rule::once(Fault::Status(404)));
    assert_eq!(wait(store.get_range(&name("object"), 0..10)).unwrap(), bytes(10));
    server.faults().add(Rule::once(Fault::Status(404)));
    assert_eq!(wait(store.head(&name("object"))).unwrap(), 10);
    assert_eq!(server.faults().hits(), 2);
}

#[test]
fn wrong_bytes_of_the_right_length_pass_here_for_the_checksums_above() {
    let server = server();
    server.insert(BUCKET, "deep/prefix/object", bytes(10));
    let store = store(&server);
    server.faults().add(Rule::once(Fault::WrongBytes));
    let read = wait(store.get_range(&name("object"), 0..10)).unwrap();
    assert!(read.len() == 10 && read != bytes(10));
}

#[test]
fn a_refused_connection_is_an_error_that_says_so_and_passes_when_the_server_is_back() {
    let server = server();
    let patient = store(&server);
    let store = open(&impatient(&server));
    wait(store.put(&name("object"), bytes(10))).unwrap();
    server.down();
    let last = cause(wait(store.get_range(&name("object"), 0..10)));
    assert!(matches!(last, RemoteCause::Connection { what: "connecting", .. }), "{last}");
    assert!(last.to_string().contains("refused"), "{last}");
    std::thread::scope(|scope| {
        let read = || wait(patient.get_range(&name("object"), 0..10));
        let read = std::thread::Builder::new().spawn_scoped(scope, read).unwrap();
        wait_for(Duration::from_millis(300));
        server.up();
        assert_eq!(read.join().unwrap().unwrap(), bytes(10));
    });
    assert_eq!(wait(store.get_range(&name("object"), 0..10)).unwrap(), bytes(10));
}

#[expect(clippy::disallowed_methods, reason = "an outage takes real time")]
fn wait_for(time: Duration) {
    std::thread::sleep(time);
}

#[test]
fn an_upload_in_parts_survives_faults_in_each_of_its_steps() {
    let server = server();
    let mut config = config(&server);
    config.timeouts.operation = Duration::from_secs(20);
    let store = open(&config);
    let body = bytes(s3::limits::MAX_SINGLE_PUT_BYTES + 5);
    // The completion is applied, but its answer is lost: the upload starts over.
    server.faults().add(Rule::once(Fault::ErrorBody).containing("uploads="));
    server.faults().add(Rule::once(Fault::ResetAfter).containing("partNumber=2"));
    server
        .faults()
        .add(Rule::once(Fault::ErrorBody).on("POST".parse().unwrap()).containing("uploadId"));
    server
        .faults()
        .add(Rule::once(Fault::ResetAfter).on("POST".parse().unwrap()).containing("uploadId"));
    wait(store.put(&name("large"), body.clone())).unwrap();
    assert!(stored(&server, "large") == Some(body.clone()), "the object is what was put");
    assert_eq!((server.faults().hits(), server.uploads()), (4, 0));
    server.faults().add(Rule::all(Fault::Status(403)).containing("partNumber=3"));
    let denied = cause(wait(store.put(&name("other"), body)));
    assert!(matches!(denied, RemoteCause::Denied { .. }), "{denied}");
    assert_eq!((stored(&server, "other"), server.uploads()), (None, 0));
}

#[test]
fn deleting_many_survives_an_error_with_a_good_status_and_a_server_without_that_request() {
    let server = server();
    let store = store(&server);
    for fault in [Fault::ErrorBody, Fault::Status(501), Fault::Status(400)] {
        server.insert(BUCKET, "deep/prefix/object", bytes(10));
        server.faults().add(Rule::once(fault).on("POST".parse().unwrap()));
        wait(store.delete_many(&[name("object"), name("missing")])).unwrap();
        assert_eq!(server.keys(BUCKET), [""; 0]);
    }
    assert_eq!(server.faults().hits(), 3);
    assert_eq!(store.metrics().of(Op::Delete).requests, 4);
}

#[test]
fn every_operation_survives_a_mix_of_faults_at_thirty_percent() {
    let server = server();
    let store = store(&server);
    for fault in [
        Fault::Status(500),
        Fault::StatusAfter(500),
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::Truncate,
        Fault::Status(503),
    ] {
        server.faults().add(Rule::all(fault).at(60));
    }
    for _ in 0..40 {
        works(&server, &store);
    }
    assert!(server.faults().hits() > 50, "{} hits", server.faults().hits());
}

//! A store must prove that it honours conditions.

use chunk::{ObjectStore as _, StoreError};
use s3::ProofError;
use s3_test_server::{Fault, Options, Rule, TestServer};

use crate::fixture::{BUCKET, bytes, name, server, store, wait};

#[test]
fn a_store_that_honours_conditions_proves_it_and_nothing_is_left_behind() {
    let server = server();
    let store = store(&server);
    server.faults().add(Rule::all(Fault::Delay(std::time::Duration::from_millis(5))));
    wait(store.prove_conditional_put()).unwrap();
    assert_eq!(server.keys(BUCKET), [""; 0]);
    assert!(server.most_at_once() >= 8, "the puts raced");
}

#[test]
fn the_proof_stands_faults() {
    let server = server();
    let store = store(&server);
    server.faults().add(Rule::all(Fault::ResetAfter).at(200));
    server.faults().add(Rule::all(Fault::Status(500)).at(100));
    for _ in 0..5 {
        wait(store.prove_conditional_put()).unwrap();
    }
    assert!(server.faults().hits() > 5);
}

#[test]
fn a_store_that_ignores_conditions_is_refused_by_name_with_the_way_out() {
    let options = Options { ignores_conditions: true, ..Options::default() };
    let server = TestServer::start(options).unwrap();
    let store = store(&server);
    let refused = wait(store.prove_conditional_put()).unwrap_err();
    assert!(matches!(refused, ProofError::Ignored { .. }), "{refused}");
    let text = refused.to_string();
    for part in [
        server.endpoint().as_str(),
        "s3-test-server",
        "accept_unconditional_put",
        "[danger]",
        "destroy each other's data",
    ] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert_eq!(server.keys(BUCKET), [""; 0]);
}

#[test]
fn a_store_that_ignores_conditions_and_is_accepted_still_looks_first() {
    let options = Options { ignores_conditions: true, ..Options::default() };
    let server = TestServer::start(options).unwrap();
    let store = store(&server);
    store.accept_unconditional_put();
    wait(store.put_if_absent(&name("object"), bytes(10))).unwrap();
    let taken = wait(store.put_if_absent(&name("object"), bytes(11)));
    assert!(matches!(taken, Err(StoreError::Exists { .. })), "{taken:?}");
}

#[test]
fn a_store_that_cannot_be_asked_is_no_store_that_ignores_conditions() {
    let server = server();
    let store = store(&server);
    server.faults().add(Rule::all(Fault::Status(403)));
    let failed = wait(store.prove_conditional_put()).unwrap_err();
    assert!(matches!(failed, ProofError::Store(_)), "{failed}");
}

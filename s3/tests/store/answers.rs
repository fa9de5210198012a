//! Answers that no retry helps against are clear errors.

use chunk::{ObjectStore as _, RemoteCause, StoreError};
use s3::{BucketName, Environment};
use s3_test_server::{ACCESS_KEY, Fault, Rule};

use crate::fixture::{bytes, cause, config, name, open, server, store, wait};

#[test]
fn clocks_that_disagree_are_named_with_their_difference() {
    let server = server();
    let store = store(&server);
    server.faults().add(Rule::all(Fault::ClockAhead(1200)));
    let skew = cause(wait(store.put(&name("object"), bytes(10))));
    let RemoteCause::ClockSkew { ahead, .. } = skew else { panic!("{skew}") };
    assert!((-1205..=-1195).contains(&ahead), "{ahead}");
    assert!(skew.to_string().contains("s behind that of the store, set it right"), "{skew}");
    assert_eq!(server.requests(), 1, "no retry helps");
}

#[test]
fn a_wrong_secret_is_denied_with_the_servers_words_and_not_its_own() {
    let server = server();
    let mut config = config(&server);
    config.environment = Environment::of([
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", "not-the-secret"),
    ]);
    let store = open(&config);
    let error = wait(store.put(&name("object"), bytes(10))).unwrap_err();
    let text = format!("{error} {error:?} {store:?} {config:?}");
    assert!(text.contains("denies access") && text.contains("SignatureDoesNotMatch"), "{error}");
    assert!(text.contains("put object") && text.contains("1 attempt in"), "{error}");
    assert!(!text.contains("not-the-secret"), "{text}");
    assert_eq!(server.requests(), 1, "no retry helps");
}

#[test]
fn an_unknown_key_is_denied() {
    let server = server();
    let mut config = config(&server);
    config.environment =
        Environment::of([("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "x")]);
    let denied = cause(wait(open(&config).head(&name("object"))));
    assert!(matches!(denied, RemoteCause::Denied { .. }), "{denied}");
}

#[test]
fn a_missing_bucket_is_not_a_missing_object() {
    let server = server();
    let mut config = config(&server);
    config.bucket = BucketName::new("nowhere").unwrap();
    let store = open(&config);
    let refused = cause(wait(store.check()));
    assert!(refused.to_string().contains("NoSuchBucket"), "{refused}");
    let refused = cause(wait(store.get_range(&name("object"), 0..1)));
    assert!(refused.to_string().contains("NoSuchBucket"), "{refused}");
}

#[test]
fn a_bucket_in_another_region_is_followed_there() {
    let server = server();
    let store = store(&server);
    server.faults().add(Rule::once(Fault::OtherRegion("eu-south-9")));
    wait(store.put(&name("object"), bytes(10))).unwrap();
    assert_eq!(wait(store.head(&name("object"))).unwrap(), 10);
    assert_eq!(server.requests(), 3, "the region is remembered");
}

#[test]
fn a_full_store_is_out_of_space() {
    let server = server();
    let store = store(&server);
    server.faults().add(Rule::all(Fault::Status(507)));
    let error = wait(store.put(&name("object"), bytes(10))).unwrap_err();
    assert_eq!(error.kind(), chunk::ErrorKind::NoSpace, "{error}");
}

#[test]
fn a_conditional_put_that_lost_for_certain_asks_nothing_more() {
    let server = server();
    let store = store(&server);
    wait(store.put(&name("object"), bytes(10))).unwrap();
    let lost = wait(store.put_if_absent(&name("object"), bytes(10)));
    assert!(matches!(lost, Err(StoreError::Exists { .. })), "{lost:?}");
    assert_eq!(server.requests(), 2);
}

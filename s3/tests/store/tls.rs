//! Which servers are trusted.

use chunk::{ObjectStore as _, RemoteCause};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use s3::{Op, S3ConfigError, S3Store};
use s3_test_server::{Fault, Options, Rule, TestServer};

use crate::fixture::{THREADS, bytes, cause, impatient, name, open, stored, wait};

fn secure() -> (TestServer, String) {
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let tls = Some((cert.pem(), signing_key.serialize_pem()));
    let server = TestServer::start(Options { tls, ..Options::default() }).unwrap();
    (server, cert.pem())
}

#[test]
fn a_server_with_the_given_certificate_is_trusted_and_bodies_go_unsigned() {
    let (server, pem) = secure();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let mut config = impatient(&server);
    config.timeouts.operation = std::time::Duration::from_secs(10);
    config.ca_file = Some(file.path().to_owned());
    let store = open(&config);
    wait(store.put(&name("object"), bytes(100_000))).unwrap();
    assert_eq!(wait(store.get_range(&name("object"), 5..9)).unwrap(), bytes(10)[5..9]);
    wait(store.prove_conditional_put()).unwrap();
    // Nothing but the checksum stands against damage now.
    server.faults().add(Rule::once(Fault::DamageUpload));
    wait(store.put(&name("object"), bytes(1000))).unwrap();
    assert_eq!(stored(&server, "object"), Some(bytes(1000)));
    assert_eq!(store.metrics().of(Op::Put).failures, 1);
}

#[test]
fn an_unknown_certificate_is_refused_unless_that_danger_was_chosen() {
    let (server, _) = secure();
    let (_, other) = secure();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), other).unwrap();
    let mut config = impatient(&server);
    config.ca_file = Some(file.path().to_owned());
    let refused = cause(wait(open(&config).put(&name("object"), bytes(10))));
    assert!(matches!(refused, RemoteCause::Connection { what: "connecting", .. }), "{refused}");
    assert!(refused.to_string().contains("certificate"), "{refused}");
    config.ca_file = None;
    config.accept_self_signed = true;
    wait(open(&config).put(&name("object"), bytes(10))).unwrap();
}

#[test]
fn a_file_without_certificates_is_refused() {
    let (server, _) = secure();
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut config = impatient(&server);
    config.ca_file = Some(file.path().to_owned());
    let refused = S3Store::new(&config, &THREADS).unwrap_err();
    assert!(matches!(refused, S3ConfigError::Certificates { .. }), "{refused}");
    config.ca_file = Some("/nowhere/at/all".into());
    let refused = S3Store::new(&config, &THREADS).unwrap_err();
    assert!(matches!(refused, S3ConfigError::CaFile { .. }), "{refused}");
}

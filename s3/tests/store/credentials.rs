//! Where keys come from, and that they are renewed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};

use chunk::{ObjectStore as _, RemoteCause};
use s3::{Environment, S3Config};
use s3_test_server::{ACCESS_KEY, Fault, Rule, SECRET_KEY, TestServer};

use crate::fixture::{bytes, cause, config, name, open, server, wait};

/// A service that hands out keys: says what it was asked, answers by a function of that.
struct Service {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn start(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let serve = move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap_or(0) > 0 {}
                let length = head.to_ascii_lowercase();
                let length = length.split("content-length: ").nth(1);
                let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                stream.read_exact(&mut body).unwrap();
                let request = format!("{head}{}", String::from_utf8(body).unwrap());
                let (status, text) = answer(&request);
                log.lock().unwrap().push(request);
                let answer = format!(
                    "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                    text.len()
                );
                drop(stream.get_mut().write_all(answer.as_bytes()));
            }
        };
        std::thread::Builder::new().spawn(serve).unwrap();
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn document(seconds: i64) -> String {
    #[expect(clippy::disallowed_methods, reason = "keys end at a time of day")]
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let expires = jiff::Timestamp::from_second(now as i64 + seconds).unwrap();
    format!(
        r#"{{"Code":"Success","AccessKeyId":"{ACCESS_KEY}","SecretAccessKey":"{SECRET_KEY}",
        "Token":"session","Expiration":"{expires}"}}"#
    )
}

/// A configuration whose only source of keys is this environment.
fn with(server: &TestServer, variables: &[(&str, &str)]) -> S3Config {
    let mut config = config(server);
    let off = [("AWS_EC2_METADATA_DISABLED", "true")];
    config.environment = Environment::of(off.into_iter().chain(variables.iter().copied()));
    config
}

fn puts(config: &S3Config) {
    wait(open(config).put(&name("object"), bytes(10))).expect("the keys are good");
}

fn write(directory: &Path, file: &str, text: &str) -> String {
    let path = directory.join(file);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn keys_come_from_the_named_profile() {
    let server = server();
    let directory = tempfile::tempdir().unwrap();
    let keys = format!("aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n");
    let bad = "aws_access_key_id = x\naws_secret_access_key = y\n";
    let credentials = write(directory.path(), "c", &format!("[default]\n{bad}[dev]\n{keys}"));
    let settings = write(directory.path(), "s", "[profile dev]\nregion = eu-test-1\n");
    let files = [
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str()),
        ("AWS_CONFIG_FILE", settings.as_str()),
    ];
    let mut config = with(&server, &files);
    let denied = cause(wait(open(&config).head(&name("object"))));
    assert!(matches!(denied, RemoteCause::Denied { .. }), "{denied}");
    config.profile = Some("dev".to_owned());
    puts(&config);
    let named = files.into_iter().chain([("AWS_PROFILE", "dev")]).collect::<Vec<_>>();
    puts(&with(&server, &named));
    config.profile = Some("missing".to_owned());
    let missing = cause(wait(open(&config).head(&name("object")))).to_string();
    assert!(missing.contains("`missing` is not in") && missing.contains("/c"), "{missing}");
}

#[test]
fn a_profile_that_needs_what_is_not_supported_says_so() {
    let server = server();
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "s", "[default]\nsso_session = x\n");
    let config = with(&server, &[("AWS_CONFIG_FILE", &file)]);
    let refused = cause(wait(open(&config).head(&name("object")))).to_string();
    assert!(refused.contains("`sso_session`, which is not supported"), "{refused}");
    assert_eq!(server.requests(), 0);
}

#[test]
fn keys_that_change_in_their_file_are_found_when_the_old_ones_are_denied() {
    let server = server();
    let directory = tempfile::tempdir().unwrap();
    let keys = |secret| {
        format!("[default]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={secret}\n")
    };
    let file = write(directory.path(), "c", &keys("old"));
    let store = open(&with(&server, &[("AWS_SHARED_CREDENTIALS_FILE", &file)]));
    let denied = cause(wait(store.put(&name("object"), bytes(10))));
    assert!(matches!(denied, RemoteCause::Denied { .. }), "{denied}");
    write(directory.path(), "c", &keys(SECRET_KEY));
    wait(store.put(&name("object"), bytes(10))).unwrap();
}

#[test]
fn keys_come_from_the_containers_service() {
    let server = server();
    let service = Service::start(|_| (200, document(3600)));
    let directory = tempfile::tempdir().unwrap();
    let token = write(directory.path(), "token", "tok-1\n");
    let url = format!("http://{}/creds?x=1", service.address);
    let config = with(
        &server,
        &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token),
        ],
    );
    puts(&config);
    let asked = service.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("GET /creds?x=1 "), "{}", asked[0]);
    assert!(asked[0].contains("authorization: tok-1\r\n"), "{}", asked[0]);
}

#[test]
fn keys_come_from_the_instances_service_which_wants_a_token() {
    let server = server();
    let service = Service::start(|request| {
        let has_token = request.contains("x-aws-ec2-metadata-token: T0K\r\n");
        match request.split(' ').nth(1).unwrap_or_default() {
            "/latest/api/token" if request.starts_with("PUT ") => (200, "T0K".to_owned()),
            _ if !has_token => (401, String::new()),
            "/latest/meta-data/iam/security-credentials/" => (200, "the-role\n".to_owned()),
            "/latest/meta-data/iam/security-credentials/the-role" => (200, document(3600)),
            _ => (404, String::new()),
        }
    });
    let mut config = config(&server);
    let host = format!("http://{}/", service.address);
    config.environment = Environment::of([("AWS_EC2_METADATA_SERVICE_ENDPOINT", host.as_str())]);
    puts(&config);
    assert_eq!(service.asked().len(), 3);
}

#[test]
fn keys_come_for_the_token_of_a_web_identity() {
    let server = server();
    let answer = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"x\"><AssumeRoleWithWebIdentityResult>\
         <Audience>a</Audience><Credentials><AccessKeyId>{ACCESS_KEY}</AccessKeyId>\
         <SecretAccessKey>{SECRET_KEY}</SecretAccessKey><SessionToken>s</SessionToken>\
         <Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    let service = Service::start(move |_| (200, answer.clone()));
    let directory = tempfile::tempdir().unwrap();
    let token = write(directory.path(), "token", "e+y/J=\n");
    let url = format!("http://{}", service.address);
    let config = with(
        &server,
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", &token),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
            ("AWS_ENDPOINT_URL_STS", &url),
        ],
    );
    puts(&config);
    let asked = service.asked();
    let form = "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=krait\
                &WebIdentityToken=e%2By%2FJ%3D";
    assert!(asked[0].starts_with("POST / ") && asked[0].contains(form), "{}", asked[0]);
}

#[test]
fn keys_that_end_soon_are_renewed_before_they_do_and_only_once_in_a_while() {
    let server = server();
    let service = Service::start(|_| (200, document(200)));
    let url = format!("http://{}/", service.address);
    let store = open(&with(&server, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)]));
    for _ in 0..10 {
        wait(store.put(&name("object"), bytes(10))).unwrap();
    }
    // They are within the time before their end, but were fetched a moment ago.
    assert_eq!(service.asked().len(), 1);
    let service = Service::start(|_| (200, document(5)));
    let url = format!("http://{}/", service.address);
    let store = open(&with(&server, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)]));
    for _ in 0..3 {
        wait(store.put(&name("object"), bytes(10))).unwrap();
    }
    // These end at any moment.
    assert_eq!(service.asked().len(), 3);
}

#[test]
fn a_denial_makes_temporary_keys_be_fetched_anew_once() {
    let server = server();
    let service = Service::start(|_| (200, document(3600)));
    let url = format!("http://{}/", service.address);
    let store = open(&with(&server, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)]));
    wait(store.put(&name("object"), bytes(10))).unwrap();
    server.faults().add(Rule::all(Fault::Status(403)));
    wait(store.put(&name("object"), bytes(10))).unwrap_err();
    assert_eq!(service.asked().len(), 2);
}

#[test]
fn a_service_that_fails_is_asked_again() {
    let server = server();
    let failures = Mutex::new(2);
    let service = Service::start(move |_| {
        let mut left = failures.lock().unwrap();
        if *left == 0 {
            return (200, document(3600));
        }
        *left -= 1;
        (500, String::new())
    });
    let url = format!("http://{}/", service.address);
    puts(&with(&server, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)]));
    assert_eq!(service.asked().len(), 3);
}

#[test]
fn without_any_keys_the_error_names_the_places_and_nothing_is_sent() {
    let server = server();
    let refused = cause(wait(open(&with(&server, &[])).head(&name("object"))));
    let text = refused.to_string();
    assert!(text.contains("AWS_ACCESS_KEY_ID") && text.contains("switched off"), "{text}");
    assert_eq!(server.requests(), 0);
    let half = with(&server, &[("AWS_ACCESS_KEY_ID", "x")]);
    let text = cause(wait(open(&half).head(&name("object")))).to_string();
    assert!(text.contains("AWS_ACCESS_KEY_ID but not AWS_SECRET_ACCESS_KEY"), "{text}");
}

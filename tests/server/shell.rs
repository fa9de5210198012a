//! Commands beside the server, and images to and from its exports.

use std::fs;
use std::process::Output;
use std::time::Duration;

use crate::fixture::{Home, Server, client, now, pause};

/// Runs a command beside the server; its exit code, output and errors.
fn run(home: &Home, line: &str) -> (i32, String, String) {
    let output = home.krait().args(line.split_whitespace()).output().expect("the program");
    let Output { status, stdout, stderr } = output;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code().expect("no signal ended it"), text(&stdout), text(&stderr))
}

/// Runs a command that must succeed, and say nothing besides.
#[track_caller]
pub fn ok(home: &Home, line: &str) -> String {
    let (code, out, err) = run(home, line);
    assert_eq!((code, err.as_str()), (0, ""), "krait {line}");
    out
}

/// Runs a command that must fail by this exit code, and say why.
#[track_caller]
pub fn fails(home: &Home, code: i32, line: &str, why: &str) {
    let (found, _, err) = run(home, line);
    assert!(found == code && err.contains(why), "krait {line}: {found} {err}");
}

/// Tries again while something is in use that a client has just left.
#[track_caller]
pub fn ok_soon(home: &Home, line: &str) {
    let deadline = now() + Duration::from_secs(10);
    loop {
        let (code, _, err) = run(home, line);
        if code == 0 {
            return;
        }
        assert!(code == 5 && now() < deadline, "krait {line}: {code} {err}");
        pause();
    }
}

pub fn uri(server: &Server, export: &str) -> String {
    server.uri().replace("demo", export)
}

/// Copies an image to an export; `None` without the tool.
pub fn write(server: &Server, export: &str, content: &[u8], home: &Home) -> Option<String> {
    let image = home.path("image");
    fs::write(&image, content).expect("room");
    // Without a flush, a server that is killed next may have had it in memory only.
    client("nbdcopy", |c| c.arg("--flush").arg(&image).arg(uri(server, export)))
}

/// What an export holds.
pub fn read(server: &Server, export: &str, home: &Home) -> Vec<u8> {
    let copy = home.path("copy");
    client("nbdcopy", |c| c.arg(uri(server, export)).arg(&copy)).expect("it was there just now");
    fs::read(&copy).expect("a copy")
}

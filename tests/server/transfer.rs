//! `krait import` and `krait export` beside a server, judged by other tools.

use std::os::unix::fs::FileExt as _;

use super::fixture::{Home, client, noise};

#[test]
fn what_is_imported_and_exported_beside_a_server_is_the_same_to_other_tools() {
    let home = Home::new();
    let server = home.serve("16M");
    let image = home.path("in.raw");
    let file = std::fs::File::create(&image).expect("an image");
    file.set_len(1 << 30).expect("holes");
    for (at, bytes) in [(0, 5000), (40 << 20, 3 << 20), ((1 << 30) - 5000, 5000)] {
        file.write_all_at(&noise(bytes), at).expect("data");
    }
    let run = |words: &[&str]| {
        let output = home.krait().args(words).output().expect("the program");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text, output.stdout)
    };
    let path = |name| home.path(name).display().to_string();
    assert_eq!(run(&["import", "golden", &path("in.raw")]).0, Some(0));
    // Served at once, under its name and no other one.
    let uri = format!("nbd+unix:///golden?socket={}", server.socket.display());
    let compared = client("qemu-img", |command| {
        command.args(["compare", "-f", "raw", "-F", "raw", &path("in.raw"), &uri])
    });
    assert!(compared.is_none_or(|text| text.contains("identical")));
    assert_eq!(run(&["snapshot", "create", "golden", "s1"]).0, Some(0));
    let (code, _, exported) = run(&["export", "golden@s1", "-"]);
    assert_eq!(code, Some(0));
    assert!(exported == std::fs::read(&image).expect("the image"), "every byte");
    let (code, text, _) = run(&["export", "golden@s2", &path("none.raw")]);
    assert_eq!((code, text.lines().count()), (Some(3), 1), "{text}");
    let (code, text, _) = run(&["import", "demo", &path("in.raw")]);
    assert_eq!((code, text.lines().count()), (Some(4), 1), "{text}");
    assert!(server.stop().success());
}

#[test]
fn an_import_that_loses_its_server_says_how_to_go_on() {
    let home = Home::new();
    let server = home.serve("16M");
    let image = home.path("in.raw");
    std::fs::write(&image, noise(64 << 20)).expect("an image");
    let mut fifo = home.krait();
    let path = image.display().to_string();
    fifo.args(["import", "vm", &path]).stderr(std::process::Stdio::piped());
    let child = fifo.spawn().expect("the program");
    super::fixture::pause();
    server.kill();
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // It may have been done, or not have begun, by then.
    let resumed = match text.split_once("--resume ") {
        Some((_, rest)) => rest.split('`').next().expect("an offset").to_owned(),
        None => return,
    };
    assert_eq!(output.status.code(), Some(9), "{text}");
    let server = home.serve("16M");
    let again = home.krait().args(["import", "vm", &path, "--resume", &resumed]).output();
    assert!(again.expect("the program").status.success());
    let uri = format!("nbd+unix:///vm?socket={}", server.socket.display());
    let compared = client("qemu-img", |command| {
        command.args(["compare", "-f", "raw", "-F", "raw", &path, &uri])
    });
    assert!(compared.is_none_or(|text| text.contains("identical")));
}

//! Volumes that nobody may write to.

use std::fs;

use crate::fixture::{Home, client, noise};

#[test]
fn a_read_only_export_refuses_writes_with_eperm_and_is_read_by_everybody() {
    let home = Home::new();
    let image = home.path("image");
    let content = noise(8 << 20);
    fs::write(&image, &content).expect("room");
    let server = home.serve("8M");
    if client("nbdcopy", |c| c.arg(&image).arg(server.uri())).is_none() {
        return;
    }
    assert!(server.stop().success());

    let server = home.serve_with("8M", &["--read-only", "demo", "--create", "free=8M"]);
    let seen = client("nbdinfo", |c| c.arg(server.uri())).expect("it was there just now");
    assert!(seen.contains("is_read_only: true"), "{seen}");
    let free = server.uri().replace("demo", "free");
    let seen = client("nbdinfo", |c| c.arg(free)).expect("it was there just now");
    assert!(seen.contains("is_read_only: false"), "{seen}");
    assert_eq!(home.status("demo")["read_only"], true);

    // Without strict mode libnbd sends what the server does not offer.
    assert!(server.nbdsh(
        "import errno\n\
         h.set_strict_mode(0)\n\
         for attempt in [lambda: h.pwrite(bytes(4096), 0), lambda: h.trim(4096, 0),\n\
         \x20               lambda: h.zero(4096, 0), lambda: h.pwrite(bytes(1 << 20), 0)]:\n\
         \x20   try:\n\
         \x20       attempt()\n\
         \x20   except nbd.Error as error:\n\
         \x20       assert error.errnum == errno.EPERM, error\n\
         \x20   else:\n\
         \x20       assert False, 'it was written'\n\
         h.flush()\n"
    ));
    let copy = home.path("copy");
    let convert = ["convert", "-f", "raw", "-O", "raw"];
    client("qemu-img", |c| c.args(convert).arg(server.uri()).arg(&copy));
    assert!(fs::read(&copy).expect("a copy") == content, "it differs");
}

#[test]
fn the_file_can_name_read_only_volumes_and_a_missing_one_is_told_of() {
    let home = Home::on_cores("1");
    fs::write(home.path("krait.toml"), "[serve]\nread_only = [\"demo\", \"later\"]\n")
        .expect("room");
    let server = home.serve("1M");
    assert_eq!(home.status("demo")["read_only"], true);
    let made = home.krait().args(["volume", "create", "later", "--size", "1M"]).status();
    assert!(made.expect("the program").success());
    let later = server.uri().replace("demo", "later");
    let seen = client("nbdinfo", |c| c.arg(later));
    assert!(seen.is_none_or(|seen| seen.contains("is_read_only: true")));
}

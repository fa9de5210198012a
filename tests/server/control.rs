//! Other commands beside a server, and one server for one directory.

use crate::fixture::Home;

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let home = Home::on_cores("1");
    let _first = home.serve("1M");
    let second = home.krait().args(["serve", "--listen", "unix:other.sock"]).output();
    let second = second.expect("the program");
    assert_eq!(second.status.code(), Some(5), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("is in use"), "{said}");
    assert!(!home.path("other.sock").exists());
}

#[test]
fn a_volume_in_use_is_not_deleted_and_an_idle_one_is() {
    let home = Home::new();
    let server = home.serve("16M");
    let krait = env!("CARGO_BIN_EXE_krait");
    let script = format!(
        "import subprocess\n\
         delete = ['{krait}', '--data-dir', '{}', 'volume', 'delete', 'demo', '--yes']\n\
         h.pwrite(b'x' * 4096, 0)\n\
         refused = subprocess.run(delete, capture_output=True)\n\
         assert refused.returncode == 5, refused\n\
         h.shutdown()\n",
        home.path("data").display()
    );
    if !server.nbdsh(&script) {
        return;
    }
    let status = home.krait().args(["volume", "status", "demo", "--json"]).output();
    let status = status.expect("the program");
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("\"state\": \"serving\""), "{status}");
    // The server may still be busy with the end of the connection.
    let deadline = crate::fixture::now() + std::time::Duration::from_secs(10);
    loop {
        let delete = home.krait().args(["volume", "delete", "demo", "--yes"]).output();
        let delete = delete.expect("the program");
        if delete.status.success() {
            break;
        }
        assert!(crate::fixture::now() < deadline, "{delete:?}");
        crate::fixture::pause();
    }
    let uri = server.uri();
    let gone = std::process::Command::new("nbdinfo").arg(&uri).output().expect("libnbd is there");
    assert!(!gone.status.success(), "the export is gone");
}

#[test]
fn a_volume_made_beside_a_server_is_served_at_once() {
    let home = Home::on_cores("1");
    let server = home.serve("1M");
    let made = home.krait().args(["volume", "create", "other", "--size", "2M"]).status();
    assert!(made.expect("the program").success());
    let uri = server.uri().replace("demo", "other");
    let size = crate::fixture::client("nbdinfo", |command| command.args(["--size", &uri]));
    assert!(size.is_none_or(|size| size.trim() == "2097152"));
}

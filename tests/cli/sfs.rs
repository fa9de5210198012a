//! `krait sfs` without a server.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

/// A directory with files of all kinds of sizes, a directory in a directory, and links.
fn tree(shell: &Shell) -> PathBuf {
    let dir = shell.path().join("dir");
    fs::create_dir_all(dir.join("a/b")).unwrap();
    fs::create_dir(dir.join("a.empty")).unwrap();
    fs::write(dir.join("a/none"), "").unwrap();
    fs::write(dir.join("a/b/one"), "x").unwrap();
    fs::write(dir.join("large"), (0..3_000_000u32).map(|n| (n / 777) as u8).collect::<Vec<_>>())
        .unwrap();
    fs::set_permissions(dir.join("a/b/one"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("a/b/one", dir.join("link")).unwrap();
    symlink("/nowhere", dir.join("a/dangling")).unwrap();
    dir
}

#[test]
fn a_directory_comes_back_as_it_was_put() {
    let shell = Shell::new();
    let dir = tree(&shell);
    shell.ok("volume create demo --size 64M");
    says(&shell.fails(3, "sfs verify demo"), "there is no file system");
    let put = shell.json("sfs put dir --volume demo --json");
    assert_eq!((&put["files"], &put["links"]), (&3.into(), &2.into()));
    assert_eq!(put["bytes"], 3_000_001 + 7 + 8);
    let verified = shell.json("sfs verify demo --json");
    assert_eq!(verified["bytes"], put["bytes"]);
    says(&shell.ok("sfs ls demo"), "0640        1  a/b/one");
    assert_eq!(shell.json("sfs ls demo --json")["entries"].as_array().unwrap().len(), 8);
    shell.ok("sfs get demo again");
    let mut same = Command::new("diff");
    same.args(["-r", "--no-dereference"]).arg(&dir).arg(shell.path().join("again"));
    let same = same.output().unwrap();
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
    let mode = fs::metadata(shell.path().join("again/a/b/one")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    says(&shell.fails(4, "sfs get demo again"), "is not empty");

    fs::remove_dir_all(dir.join("a")).unwrap();
    shell.ok("sfs put dir --volume demo");
    assert_eq!(shell.json("sfs ls demo --json")["entries"].as_array().unwrap().len(), 3);
}

#[test]
fn what_was_changed_is_found_and_not_handed_out() {
    let shell = Shell::new();
    tree(&shell);
    shell.ok("volume create demo --size 64M");
    shell.ok("sfs put dir --volume demo");
    shell.ok("export demo demo.raw");
    let path = shell.path().join("demo.raw");
    let mut image = fs::read(&path).unwrap();
    // The one block of `a/b/one`, which is the second content behind that of `a/dangling`.
    let at = image.windows(4).position(|bytes| bytes == b"x\0\0\0").unwrap();
    image[at] = b'y';
    fs::write(&path, &image).unwrap();
    shell.ok("import changed demo.raw");
    let ran = shell.run("sfs verify changed");
    assert_eq!(ran.code, 6, "{}", ran.err);
    says(&ran.out, "damaged: a/b/one");
    says(&shell.fails(6, "sfs get changed again"), "a/b/one does not match its checksum");
    assert!(!shell.path().join("again/a/b/one").exists());
    image[3] ^= 1;
    fs::write(&path, &image).unwrap();
    shell.ok("import other demo.raw");
    says(&shell.fails(4, "sfs put dir --volume other"), "add --overwrite");
    shell.ok("sfs put dir --volume other --overwrite");
    shell.ok("sfs verify other");
}

#[test]
fn nothing_is_overwritten_that_somebody_may_need() {
    let shell = Shell::new();
    tree(&shell);
    // As file systems that leave the start to boot loaders.
    let mut image = vec![0; 16 << 20];
    image[64 << 10] = 1;
    fs::write(shell.path().join("raw"), &image).unwrap();
    shell.ok("import other raw");
    says(&shell.fails(4, "sfs put dir --volume other"), "add --overwrite");
    shell.ok("export other same");
    assert_eq!(fs::read(shell.path().join("same")).unwrap(), image);
    shell.ok("sfs put dir --volume other --overwrite");
    // What does not fit takes nothing away.
    fs::write(shell.path().join("dir/too-large"), vec![1; 16 << 20]).unwrap();
    says(&shell.fails(2, "sfs put dir --volume other"), "volume resize");
    assert_eq!(shell.json("sfs verify other --json")["files"], 3);
}

#[test]
fn wrong_inputs_give_one_line() {
    let shell = Shell::new();
    fs::create_dir(shell.path().join("dir")).unwrap();
    fs::write(shell.path().join("dir/f"), vec![1; 9000]).unwrap();
    shell.ok("volume create small --size 8K");
    says(&shell.fails(3, "sfs put dir --volume none"), "no volume is named none");
    says(&shell.fails(3, "sfs put missing --volume small"), "list missing");
    says(&shell.fails(2, "sfs put dir --volume small"), "takes 20 KiB and the volume has 8 KiB");
    says(&shell.fails(3, "sfs verify small"), "there is no file system");
}

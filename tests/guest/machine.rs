//! The emulated machine.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::initramfs::Initramfs;
use crate::kernel::Kernel;
use crate::tool;

/// The emulator.
pub const QEMU: &str = "qemu-system-x86_64";

/// Longest time from power on to power off.
const RUN: Duration = Duration::from_secs(240);

/// How the guest's verdict starts, as `init.sh` prints it.
const VERDICT: &str = "krait-guest: ";

/// How the guest asks for something, as `live.sh` prints it.
const WISH: &str = "krait-host: ";

/// How long the emulator waits for a server before the guest sees an error, in seconds.
const RECONNECT: u32 = 30;

/// A machine that can be switched on.
pub struct Machine {
    image: PathBuf,
    archive: PathBuf,
    socket: PathBuf,
    exports: [&'static str; 2],
}

/// An emulator at work. Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    /// A machine with an export for each of its disks.
    pub fn new(
        kernel: &Kernel,
        initramfs: &Initramfs,
        socket: PathBuf,
        exports: [&'static str; 2],
    ) -> Self {
        Self { image: kernel.image.clone(), archive: initramfs.archive.clone(), socket, exports }
    }

    /// Switches it on, and waits until it has run a script of its own and switched itself off.
    /// Panics with its last words unless the script succeeded.
    pub fn boot(&self, script: &str) {
        self.boot_and(script, |wish| panic!("{script} asks for {wish}"));
    }

    /// As [`Self::boot`]; `act` does what the guest asks for.
    pub fn boot_and(&self, script: &str, mut act: impl FnMut(&str)) {
        let started = now();
        let mut running = Running(self.command(script).spawn().expect("the emulator"));
        let (sender, lines) = mpsc::channel();
        let console = running.0.stdout.take().expect("it is piped");
        let reader = std::thread::Builder::new().spawn(move || {
            for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                eprintln!("guest: {line}");
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut verdict = None;
        loop {
            let left = (started + RUN).saturating_duration_since(now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some((_, wish)) = line.split_once(WISH) {
                        act(wish);
                        let keyboard = running.0.stdin.as_mut().expect("it is piped");
                        keyboard.write_all(b"done\n").expect("the guest is on");
                    }
                    verdict = line.split_once(VERDICT).map(|(_, text)| text.to_owned()).or(verdict);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("{script}: the guest is still on after {RUN:?}")
                }
            }
        }
        reader.expect("a thread").join().expect("it only reads");
        let status = running.0.wait().expect("it is our child");
        assert_eq!(verdict, Some(format!("{script} passed")), "the guest's verdict");
        assert!(status.success(), "{QEMU}: {status}");
        eprintln!("guest: {script} took {:.1} s", started.elapsed().as_secs_f64());
    }

    fn command(&self, script: &str) -> Command {
        let accel = std::env::var("KRAIT_GUEST_ACCEL").unwrap_or_else(|_| "tcg".to_owned());
        let mut command = Command::new(tool::find(QEMU).expect("it was there"));
        command
            .args(["-machine", "q35", "-accel", &accel, "-cpu", "max", "-smp", "2", "-m", "512"]);
        command.args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]);
        command.arg("-kernel").arg(&self.image).arg("-initrd").arg(&self.archive);
        command.args(["-append", &format!("console=ttyS0 quiet panic=-1 krait.script={script}")]);
        for (n, export) in self.exports.into_iter().enumerate() {
            command.args(["-blockdev", &disk(n, &self.socket, export)]);
            command.args(["-device", &format!("virtio-blk-pci,drive=disk{n}")]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }
}

/// The value of `-blockdev`; the guest's discards reach the export.
fn disk(n: usize, socket: &Path, export: &str) -> String {
    let socket = socket.display();
    format!(
        "driver=nbd,node-name=disk{n},server.type=unix,server.path={socket},export={export},\
         discard=unmap,reconnect-delay={RECONNECT}"
    )
}

#[expect(clippy::disallowed_methods, reason = "tests live in real time")]
fn now() -> Instant {
    Instant::now()
}

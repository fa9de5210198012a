//! Krait over a bucket: its servers and their commands.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use s3_test_server::{ACCESS_KEY, SECRET_KEY};

use super::{BUCKET, BucketError, Setup, io_error};
use crate::clock;
use crate::command::{CommandError, Krait};
use crate::connection::Connection;
use crate::limits::START_SECONDS;
use crate::load::Client;
use crate::pinned::pinned;
use crate::plan::{Plan, Stop};
use crate::scenario::Scenario;
use crate::uri::Uri;

/// A host with a data directory and a server of its own.
pub(super) struct Host<'a> {
    setup: &'a Setup,
    krait: Krait,
    dir: &'a Path,
    name: &'static str,
    server: Child,
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        // Both fail if it has ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl<'a> Host<'a> {
    /// Starts a server whose log takes everything before anything is uploaded.
    pub(super) fn start(
        setup: &'a Setup,
        endpoint: &str,
        dir: &'a Path,
        name: &'static str,
    ) -> Result<Self, BucketError> {
        let (log, rpo) = (setup.bytes * 4, setup.bytes * 2);
        let words = format!(
            "serve --cores=1 --memory={} --wal-cap={log} --rpo-bytes={rpo} --rpo-seconds=3600",
            setup.memory.bytes()
        );
        let socket = dir.join(format!("{name}.sock"));
        let krait = krait(setup, endpoint, &dir.join(name));
        let mut command = krait.command(&words);
        command.arg(format!("--listen=unix:{}", socket.display()));
        let server = command.stderr(Stdio::null()).spawn().map_err(io_error("krait"))?;
        let host = Self { setup, krait, dir, name, server };
        let begun = clock::now();
        while !socket.exists() {
            if begun.elapsed().as_secs() > START_SECONDS {
                let said = "it does not listen".to_owned();
                return Err(CommandError::Failed { words, said }.into());
            }
            clock::pause(Duration::from_millis(10));
        }
        Ok(host)
    }

    /// Runs a command, which the server carries out.
    pub(super) fn run(&self, words: &str) -> Result<(), BucketError> {
        Ok(self.krait.run(words).map(drop)?)
    }

    fn uri(&self, volume: &str) -> Uri {
        Uri::unix(self.dir.join(format!("{}.sock", self.name)), volume)
    }

    /// Writes a new volume into the log, then has it uploaded; returns the time that this takes.
    pub(super) fn upload(&self, volume: &str) -> Result<Duration, BucketError> {
        self.run(&format!("volume create {volume} --size {}", self.setup.bytes))?;
        let scenario = Scenario::load("seqwrite-1m")?;
        let uri = self.uri(volume);
        pinned(self.setup.core, || Client::new(1).prefill(&scenario, &uri))?;
        let begun = clock::now();
        self.run(&format!("volume drain {volume} --timeout 10m"))?;
        Ok(begun.elapsed())
    }

    /// Reads a volume of which this host has nothing, once and in order; returns the time.
    pub(super) fn read(&self, volume: &str) -> Result<Duration, BucketError> {
        self.run(&format!("volume attach {volume} --force"))?;
        let scenario = Scenario::load("seqread-1m")?;
        let uri = self.uri(volume);
        let mut client = Client::new(1);
        let first = Connection::open(&uri).map_err(crate::operations::LoadError::Connect)?;
        let mut plan =
            Plan::new(&scenario, &first.export).map_err(crate::operations::LoadError::Plan)?;
        (plan.warmup, plan.stop) = (Duration::ZERO, Stop::Operations(plan.positions));
        let begun: Instant = clock::now();
        pinned(self.setup.core, || client.execute(&plan, first, &uri, None, &mut Vec::new()))?;
        Ok(begun.elapsed())
    }
}

fn krait(setup: &Setup, endpoint: &str, data: &Path) -> Krait {
    Krait::new(&setup.krait, data)
        .with("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .with("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .with("KRAIT_S3_ENDPOINT", endpoint)
        .with("KRAIT_STORE", format!("s3://{BUCKET}/krait"))
}

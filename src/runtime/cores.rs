//! Executors pinned to cores: start, warm-up, heartbeat, end.

use super::GlommioRuntime;
use super::checks::{MachineError, allowed_cpus, check_machine, io_memory_bytes};
use super::disk::{GlommioDisk, plain};
use super::heartbeat::Heartbeat;
use super::limits::START_PATIENCE;
use super::nudge::Nudge;
use crate::engine::mesh::CoreId;
use glommio::io::DmaFile;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};
use std::collections::BTreeSet;
use std::future::Future;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;
use wal::BLOCK_BYTES;
use wal::runtime::Runtime;

/// The file that executors are warmed up with. It stays: a full disk must not keep us from
/// starting.
const PROBE_FILE: &str = ".direct-io-probe";

/// What an operator decides about cores.
#[derive(Clone, Debug)]
pub struct CoreOptions {
    /// Number of executors; `None` takes all CPUs that this process may use, a container's quota
    /// included.
    pub cores: Option<u16>,
    /// The directory of all local files; must exist.
    pub data_dir: PathBuf,
    /// Whether executors may share CPUs when there are more of them: slow, for tests.
    pub share_cpus: bool,
}

impl CoreOptions {
    /// One executor on each CPU.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        let data_dir = data_dir.to_owned();
        Self { cores: None, data_dir, share_cpus: false }
    }
}

/// Why the executors did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something about kernel or limits.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// More executors than CPUs, or none.
    #[error("{asked} cores asked for, this process may use {allowed} CPUs")]
    CoreCount {
        /// From the configuration.
        asked: usize,
        /// By affinity.
        allowed: usize,
    },
    /// The data directory cannot be used.
    #[error("data directory {}: {source}", path.display())]
    DataDir {
        /// As configured.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file system cannot transfer past the page cache, or only in larger blocks than ours.
    #[error("data directory {}: no direct I/O in blocks of {BLOCK_BYTES} bytes: {source}", path.display())]
    DirectIo {
        /// As configured.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A thread or its rings could not be made.
    #[error("start the executor of core {core}: {source}")]
    Executor {
        /// Number of the core.
        core: u16,
        /// What the operating system said.
        source: io::Error,
    },
    /// An executor panicked before it ran anything of ours.
    #[error(transparent)]
    Panicked(#[from] CorePanicked),
}

/// A core ended by a panic.
#[derive(Debug, thiserror::Error)]
#[error("core {core} panicked")]
pub struct CorePanicked {
    /// Number of the core.
    pub core: u16,
}

/// What the main function of a core gets.
#[derive(Clone, Debug)]
pub struct CoreContext {
    /// Its number.
    pub id: CoreId,
    /// Number of cores.
    pub cores: u16,
    /// The data directory.
    pub disk: GlommioDisk,
    /// Time, randomness, tasks.
    pub runtime: GlommioRuntime,
}

/// A checked decision about which CPUs run what; nothing runs yet. Threads that are not executors
/// are started between this and [`Self::start`].
#[derive(Clone, Debug)]
pub struct CorePlan {
    cpus: Vec<usize>,
    data_dir: PathBuf,
}

impl CorePlan {
    /// Checks the machine and the data directory and picks the CPUs.
    ///
    /// # Errors
    /// Whatever would keep the executors from working.
    pub fn new(options: &CoreOptions) -> Result<Self, StartError> {
        check_machine()?;
        let allowed = allowed_cpus()?;
        let asked = options.cores.map_or_else(default_cores, usize::from);
        let too_many = asked > allowed.len() && !options.share_cpus;
        if asked == 0 || too_many || u16::try_from(asked).is_err() {
            return Err(StartError::CoreCount { asked, allowed: allowed.len() });
        }
        let in_dir = |source| StartError::DataDir { path: options.data_dir.clone(), source };
        let data_dir = options.data_dir.canonicalize().map_err(in_dir)?;
        make_probe_file(&data_dir).map_err(in_dir)?;
        let cpus = allowed.into_iter().cycle().take(asked).collect();
        Ok(Self { cpus, data_dir })
    }

    /// Number of executors that [`Self::start`] will start.
    #[must_use]
    pub fn cores(&self) -> u16 {
        u16::try_from(self.cpus.len()).expect("checked when it was made")
    }

    /// Starts one executor per seed, each pinned to its CPU and running `main` to its end. A seed
    /// carries what belongs to one core: its end of the mesh, its channels to other threads.
    ///
    /// Returns when all are warmed up and run `main`; if one cannot, none does.
    ///
    /// # Errors
    /// The first executor's that failed.
    ///
    /// # Panics
    /// If there are not as many seeds as cores.
    pub fn start<S, F, Fut, T>(&self, seeds: Vec<S>, main: F) -> Result<Cores<T>, StartError>
    where
        S: Send + 'static,
        F: FnOnce(CoreContext, S) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        self.start_after(seeds, main, || Ok(()))
    }

    /// As [`Self::start`]; `last` is called when all executors are warmed up and none runs `main`
    /// yet. If it fails, none does.
    ///
    /// # Errors
    /// The first executor's that failed, or that of `last`.
    ///
    /// # Panics
    /// If there are not as many seeds as cores.
    pub fn start_after<S, F, Fut, T, E: From<StartError>>(
        &self,
        seeds: Vec<S>,
        main: F,
        last: impl FnOnce() -> Result<(), E>,
    ) -> Result<Cores<T>, E>
    where
        S: Send + 'static,
        F: FnOnce(CoreContext, S) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        assert_eq!(seeds.len(), self.cpus.len(), "one seed per core");
        let (ready, all_ready) = mpsc::channel();
        let mut cores = Cores { threads: Vec::new() };
        let mut go_signals = Vec::new();
        for (core, seed) in (0..self.cores()).zip(seeds) {
            let (go, started) = mpsc::channel();
            go_signals.push(go);
            let (plan, main, ready) = (self.clone(), main.clone(), ready.clone());
            let body = move || plan.run_core(core, ready, started, |context| main(context, seed));
            let thread = std::thread::Builder::new().name(format!("krait-core-{core}")).spawn(body);
            cores.threads.push(thread.map_err(|source| StartError::Executor { core, source })?);
        }
        drop(ready);
        self.await_all(&all_ready, &cores.threads)?;
        last()?;
        // Until here no `main` runs; returning early drops the signals and sends all threads home.
        for go in go_signals {
            go.send(()).expect("the thread waits for it");
        }
        Ok(cores)
    }

    /// Waits until all cores have said that they are warmed up.
    fn await_all<T>(
        &self,
        all_ready: &Receiver<Result<u16, StartError>>,
        threads: &[JoinHandle<T>],
    ) -> Result<(), StartError> {
        let nudge = Nudge::prepare().map_err(|source| StartError::Executor { core: 0, source })?;
        let mut missing: BTreeSet<u16> = (0..self.cores()).collect();
        loop {
            match all_ready.recv_timeout(START_PATIENCE) {
                Ok(result) => drop(missing.remove(&result?)),
                Err(RecvTimeoutError::Timeout) => nudge.all(threads),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        match missing.pop_first() {
            Some(core) => Err(CorePanicked { core }.into()),
            None => Ok(()),
        }
    }

    /// The body of a core's thread. All of it is one run of the executor: whoever has said that it
    /// is ready has a heartbeat, and never loses it.
    fn run_core<Fut: Future>(
        &self,
        core: u16,
        ready: Sender<Result<u16, StartError>>,
        started: Receiver<()>,
        main: impl FnOnce(CoreContext) -> Fut,
    ) -> Option<Fut::Output> {
        // Never dropped: a file that is being removed at the end still has a thread of glommio's
        // at work, which panics if nobody is left to take its answer.
        let executor = match self.make_executor(core) {
            Ok(executor) => ManuallyDrop::new(executor),
            Err(error) => return ready.send(Err(error)).map_or(None, |()| None),
        };
        executor.run(async {
            let heartbeat = Heartbeat::start();
            let warm = warm_up(&self.data_dir.join(PROBE_FILE)).await;
            let direct_io = |source| StartError::DirectIo { path: self.data_dir.clone(), source };
            ready.send(warm.map(|()| core).map_err(direct_io)).ok()?;
            drop(ready);
            // Blocks the executor, which has nothing else to do yet.
            started.recv().ok()?;
            let context = CoreContext {
                id: CoreId(core),
                cores: self.cores(),
                disk: GlommioDisk::new(&self.data_dir).expect("canonical since the check"),
                runtime: GlommioRuntime,
            };
            let output = main(context).await;
            // One more turn of the reactor, for the closes that are queued.
            GlommioRuntime.sleep(Duration::from_millis(1)).await;
            heartbeat.stop().await;
            Some(output)
        })
    }

    /// Makes the executor of the calling thread and pins the thread.
    fn make_executor(&self, core: u16) -> Result<LocalExecutor, StartError> {
        let builder = LocalExecutorBuilder::new(Placement::Fixed(self.cpus[usize::from(core)]))
            .io_memory(io_memory_bytes(self.cores()))
            // Not pinned beside us: its work would wait for ours.
            .blocking_thread_pool_placement(PoolPlacement::Unbound(1));
        builder.make().map_err(|error| StartError::Executor { core, source: plain(error) })
    }
}

/// Running executors.
#[derive(Debug)]
#[must_use = "the executors run until they are joined"]
pub struct Cores<T> {
    threads: Vec<JoinHandle<Option<T>>>,
}

impl<T> Cores<T> {
    /// Waits until the main functions of all cores have ended; their results in order.
    ///
    /// # Errors
    /// The first core that panicked, after all others ended.
    pub fn join(self) -> Result<Vec<T>, CorePanicked> {
        let ended: Vec<_> = self.threads.into_iter().map(JoinHandle::join).collect();
        let mut outputs = Vec::with_capacity(ended.len());
        for (core, output) in (0..).zip(ended) {
            outputs.push(output.ok().flatten().ok_or(CorePanicked { core })?);
        }
        Ok(outputs)
    }
}

/// Makes a panic on any thread end the process, in builds that unwind too. Otherwise one core would
/// be gone, and clients and peers would wait for it for ever. The server calls this first.
pub fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}

fn default_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Makes sure that there is a file with at least one block of written content.
fn make_probe_file(dir: &Path) -> io::Result<()> {
    let path = dir.join(PROBE_FILE);
    if std::fs::metadata(&path).is_ok_and(|stat| stat.len() >= BLOCK_BYTES as u64) {
        return Ok(());
    }
    let mut file = std::fs::File::create(&path)?;
    file.write_all(&[0x55; BLOCK_BYTES])?;
    file.sync_all()
}

/// Opens and reads a file that has content. glommio decides at the first open on a device, by a
/// read, whether to poll for completions there. A read of an empty file never reaches the device,
/// "works", and dooms every later read on this executor.
async fn warm_up(probe: &Path) -> io::Result<()> {
    let file = DmaFile::open(probe).await.map_err(plain)?;
    if file.alignment() > BLOCK_BYTES as u64 {
        let text = format!("the device has blocks of {} bytes", file.alignment());
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let read = file.read_at_aligned(0, BLOCK_BYTES).await.map_err(plain)?;
    file.close().await.map_err(plain)?;
    if read.len() < BLOCK_BYTES {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

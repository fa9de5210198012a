//! The local disk, for real: files of one data directory through io_uring, past the page cache.
//!
//! Reads, writes and syncs of open files go through the ring of the core. Everything that concerns
//! names (making directories, removing, listing, syncing a directory) is rare and blocks in file
//! systems, so it runs on the helper thread of the core.
//!
//! A file is closed in the background when its last handle goes. An error of that close is lost,
//! and none matters: what counts was synced before, and direct writes leave nothing to write back.
//!
//! A sync that has metadata to make durable is not believed by itself. When ext4 finds an error it
//! stops its journal at once, and notes the error on the medium before it refuses syncs. Whoever
//! waits for the journal is told; one who asks a moment later, for metadata that are gone by then,
//! is told that all is well (seen with Linux 6.18: in 1,300 such errors under load a block and a name
//! were lost so). So a change follows that takes the journal and alters nothing: if that can be made, the
//! journal was still alive when the sync ended.

use super::heartbeat::InFlight;
use super::limits::CREATE_WRITE_BYTES;
use super::names::{list_directory, make_directories, sync_directory};
use super::reserved::Reserved;
use glommio::io::{DmaBuffer, DmaFile, OpenOptions, ReadResult};
use std::cell::OnceCell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use wal::BLOCK_BYTES;
use wal::disk::{DirEntry, Disk, DiskBuf, DiskError, DiskFile};

/// [`Disk`] over one data directory, on the glommio executor of the thread that made it.
#[derive(Clone, Debug)]
pub struct GlommioDisk {
    root: Rc<Path>,
}

impl GlommioDisk {
    /// A disk over the data directory `root`, which must exist. The executor must have been warmed
    /// up for its file system, as [`super::CorePlan::start`] does.
    ///
    /// # Errors
    /// If the directory cannot be found.
    pub fn new(root: &Path) -> io::Result<Self> {
        Ok(Self { root: root.canonicalize()?.into() })
    }

    /// The data directory, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn resolve(&self, path: &str) -> PathBuf {
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        assert!(inside, "path {path:?} leaves the data directory");
        self.root.join(path)
    }

    /// Opens a file for reading and writing with `options` on top.
    async fn open_with(
        &self,
        options: &mut OpenOptions,
        action: &'static str,
        path: &str,
        reserved: Reserved,
    ) -> Result<GlommioFile, DiskError> {
        let _in_flight = InFlight::new();
        let opened = options.read(true).write(true).dma_open(self.resolve(path)).await;
        let dma = opened.map_err(|error| failed(action, path)(plain(error)))?;
        let full = self.resolve(path);
        Ok(GlommioFile {
            open: Rc::new(Open {
                dma,
                path: path.into(),
                full,
                durable: OnceCell::new(),
                reserved,
            }),
        })
    }

    /// Makes a file that `fill` gives its length. Steps, with what a power cut after each leaves behind:
    ///
    /// 1. Missing directories are made and synced: empty directories.
    /// 2. The file is opened under its name: nothing, or an empty file.
    /// 3. Its zeros are written, or reserved, and synced: a file of any length, zeros or garbage
    ///    in it.
    /// 4. Its directory is synced: the whole file.
    async fn make(
        &self,
        path: &str,
        bytes: u64,
        reserved: Reserved,
        fill: impl AsyncFnOnce(&GlommioFile) -> Result<(), DiskError>,
    ) -> Result<GlommioFile, DiskError> {
        assert!(bytes > 0 && whole_blocks(bytes), "a file of {bytes} bytes");
        let full = self.resolve(path);
        let dir = full.parent().expect("a path below the data directory").to_owned();
        let (root, made) = (self.root.to_path_buf(), dir.clone());
        off_core(move || make_directories(&root, &made)).await.map_err(failed("create", path))?;
        let mut options = OpenOptions::new();
        let options = options.create_new(true);
        let file = self.open_with(options, "create", path, reserved).await?;
        let filled = async || {
            fill(&file).await?;
            off_core(move || sync_directory(&dir)).await.map_err(failed("create", path))?;
            file.prove().await
        };
        if let Err(error) = filled().await {
            drop(file);
            // Best effort: the first error is the one to report.
            let _ = off_core(move || std::fs::remove_file(full)).await;
            return Err(error);
        }
        Ok(file)
    }
}

impl Disk for GlommioDisk {
    type File = GlommioFile;

    async fn create(&self, path: &str, bytes: u64) -> Result<GlommioFile, DiskError> {
        let written = Reserved::from(u64::MAX);
        self.make(path, bytes, written, async |file| file.fill_with_zeros(bytes).await).await
    }

    async fn reserve(&self, path: &str, bytes: u64) -> Result<GlommioFile, DiskError> {
        let whole = Reserved::from(0);
        self.make(path, bytes, whole, async |file| file.reserve(bytes).await).await
    }

    async fn open(&self, path: &str) -> Result<GlommioFile, DiskError> {
        let written = Reserved::from(u64::MAX);
        self.open_with(&mut OpenOptions::new(), "open", path, written).await
    }

    async fn remove(&self, path: &str) -> Result<(), DiskError> {
        let full = self.resolve(path);
        let removed = off_core(move || {
            let dir = full.parent().expect("a path below the data directory");
            match std::fs::remove_file(&full) {
                // Synced all the same: an earlier removal may not have come that far.
                Err(error) if error.kind() == io::ErrorKind::NotFound && dir.exists() => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other?,
            }
            sync_directory(dir)
        });
        removed.await.map_err(failed("remove", path))
    }

    async fn list(&self, dir: &str) -> Result<Vec<DirEntry>, DiskError> {
        let full = self.resolve(dir);
        off_core(move || list_directory(&full)).await.map_err(failed("list", dir))
    }
}

#[derive(Debug)]
struct Open {
    dma: DmaFile,
    path: Box<str>,
    full: PathBuf,
    /// The same file, opened so that a write is durable when it ends; `None` if that failed.
    durable: OnceCell<Option<DmaFile>>,
    reserved: Reserved,
}

/// An open file of a [`GlommioDisk`].
#[derive(Clone, Debug)]
pub struct GlommioFile {
    open: Rc<Open>,
}

impl GlommioFile {
    async fn fill_with_zeros(&self, bytes: u64) -> Result<(), DiskError> {
        let step = bytes.min(CREATE_WRITE_BYTES as u64);
        let mut zeros = self.alloc(usize::try_from(step).expect("bounded by CREATE_WRITE_BYTES"));
        zeros.fill(0);
        let zeros = Rc::new(zeros);
        let mut at = 0;
        while at < bytes {
            let left = bytes - at;
            if left >= step {
                self.write_at(at, Rc::clone(&zeros)).await?;
                at += step;
            } else {
                let mut tail = self.alloc(usize::try_from(left).expect("below one step"));
                tail.fill(0);
                self.write_at(at, Rc::new(tail)).await?;
                at += left;
            }
        }
        self.sync().await
    }

    async fn reserve(&self, bytes: u64) -> Result<(), DiskError> {
        let reserved = self.open.dma.pre_allocate(bytes, false).await.map_err(plain);
        reserved.map_err(self.failed("reserve"))?;
        self.sync().await
    }

    /// Fails if the file system can make no more changes: then no sync before this is believed.
    async fn prove(&self) -> Result<(), DiskError> {
        let _in_flight = InFlight::new();
        let taken = self.open.dma.pre_allocate(BLOCK_BYTES as u64, true).await.map_err(plain);
        match taken.map_err(self.failed("sync")) {
            // Some file systems count the space again, some cannot reserve any, and one in memory,
            // which has no journal, may be interrupted.
            Err(error) if error.is_no_space() || is_no_proof(&error) => Ok(()),
            taken => taken,
        }
    }

    /// A sync has ended; `fresh`: it had metadata to make durable, up to this byte.
    async fn end_sync(&self, fresh: Option<u64>) -> Result<(), DiskError> {
        if let Some(byte) = fresh {
            self.prove().await.map_err(DiskError::into_final)?;
            self.open.reserved.end_sync(byte);
        }
        Ok(())
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> DiskError {
        failed(action, &self.open.path)
    }

    /// Writes what a short write left over, until the disk takes it or says why not.
    async fn write_rest(&self, at: u64, rest: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < rest.len() {
            if !done.is_multiple_of(BLOCK_BYTES) {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let mut buf = self.open.dma.alloc_dma_buffer(rest.len() - done);
            buf.as_bytes_mut().copy_from_slice(&rest[done..]);
            match self.open.dma.write_at(buf, at + done as u64).await.map_err(plain)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => done += written,
            }
        }
        Ok(())
    }
}

impl DiskFile for GlommioFile {
    type Buf = GlommioBuf;
    type Read = ReadResult;

    fn alloc(&self, bytes: usize) -> GlommioBuf {
        assert!(bytes > 0 && whole_blocks(bytes as u64), "a buffer of {bytes} bytes");
        GlommioBuf { dma: Rc::new(self.open.dma.alloc_dma_buffer(bytes)) }
    }

    async fn write_at(&self, at: u64, buf: Rc<GlommioBuf>) -> Result<(), DiskError> {
        assert!(whole_blocks(at) && whole_blocks(buf.len() as u64), "{} at {at}", buf.len());
        let _in_flight = InFlight::new();
        let written = self.open.dma.write_rc_at(Rc::clone(&buf.dma), at).await.map_err(plain);
        let written = written.map_err(self.failed("write"))?;
        if written == buf.len() {
            self.open.reserved.note_write(at, written as u64);
            return Ok(());
        }
        // A disk that gets full takes a part; writing the rest tells the reason. A part of a block
        // is written again from its start.
        let kept = written - written % BLOCK_BYTES;
        let rest = self.write_rest(at + kept as u64, &buf[kept..]);
        rest.await.map_err(self.failed("write"))?;
        self.open.reserved.note_write(at, buf.len() as u64);
        Ok(())
    }

    async fn write_durably(&self, at: u64, buf: Rc<GlommioBuf>) -> Result<(), DiskError> {
        let _in_flight = InFlight::new();
        if self.open.durable.get().is_none() {
            let mut options = OpenOptions::new();
            let opened = options.read(true).write(true).custom_flags(libc::O_DSYNC);
            // Two who come at once open it twice, and one of them is closed again.
            let _ = self.open.durable.set(opened.dma_open(&self.open.full).await.ok());
        }
        if let Some(Some(durable)) = self.open.durable.get() {
            let written = durable.write_rc_at(Rc::clone(&buf.dma), at).await.map_err(plain);
            let written = written.map_err(self.failed("sync")).map_err(DiskError::into_final)?;
            if written == buf.len() {
                self.open.reserved.note_write(at, written as u64);
                return self.end_sync(self.open.reserved.begin_sync()).await;
            }
        }
        self.write_at(at, buf).await?;
        self.sync().await.map_err(DiskError::into_final)
    }

    async fn read_at(&self, at: u64, bytes: usize) -> Result<ReadResult, DiskError> {
        assert!(bytes > 0 && whole_blocks(at) && whole_blocks(bytes as u64), "{bytes} at {at}");
        let _in_flight = InFlight::new();
        let read = self.open.dma.read_at_aligned(at, bytes).await.map_err(plain);
        match read.map_err(self.failed("read"))? {
            whole if whole.len() == bytes => Ok(whole),
            _ => Err(self.failed("read")(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    async fn sync(&self) -> Result<(), DiskError> {
        let _in_flight = InFlight::new();
        let fresh = self.open.reserved.begin_sync();
        self.open.dma.fdatasync().await.map_err(plain).map_err(self.failed("sync"))?;
        self.end_sync(fresh).await
    }
}

/// A buffer that is aligned for direct I/O, registered with the kernel as long as there is room.
#[derive(Debug)]
pub struct GlommioBuf {
    // Shared with a write under way, and then not written to.
    dma: Rc<DmaBuffer>,
}

impl Deref for GlommioBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.dma.as_bytes()
    }
}

impl GlommioBuf {
    fn exclusive(&mut self) -> &mut DmaBuffer {
        Rc::get_mut(&mut self.dma).expect("nobody changes a buffer that is being written")
    }
}

impl DerefMut for GlommioBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.exclusive().as_bytes_mut()
    }
}

impl DiskBuf for GlommioBuf {
    fn truncate(&mut self, bytes: usize) {
        if bytes < self.len() {
            self.exclusive().trim_to_size(bytes);
        }
    }
}

fn whole_blocks(bytes: u64) -> bool {
    bytes.is_multiple_of(BLOCK_BYTES as u64)
}

/// Whether an error says nothing of the journal.
fn is_no_proof(error: &DiskError) -> bool {
    matches!(error.source.kind(), io::ErrorKind::Unsupported | io::ErrorKind::Interrupted)
}

fn failed(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError { action, path, source }
}

/// What the operating system said, without the path and descriptor that glommio adds: the kind of
/// the error ("the disk is full") must survive.
pub(super) fn plain(error: glommio::GlommioError<()>) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::from(error), io::Error::from_raw_os_error)
}

/// Runs something that blocks on the helper thread of this core.
async fn off_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let _in_flight = InFlight::new();
    glommio::executor().spawn_blocking(work).await
}

//! The system calls that std does not offer, each behind a safe function.
#![expect(unsafe_code, reason = "libc calls; every one is wrapped here and nowhere else")]

use std::ffi::CString;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// Whether a receive may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Sleep in the kernel until bytes arrive or the socket's receive timeout is over.
    Block,
    /// Return `WouldBlock` at once.
    Never,
}

/// Sends as much as the socket takes now. Never blocks, never raises SIGPIPE.
pub fn send_now(socket: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: all-zero bytes are a valid msghdr: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // `IoSlice` is guaranteed to have the layout of `iovec`; sendmsg only reads through it.
    message.msg_iov = slices.as_ptr().cast::<libc::iovec>().cast_mut();
    message.msg_iovlen = slices.len();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the descriptor is open while borrowed, the slices outlive the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives up to `buffer.len()` bytes; 0 means the peer closed.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], waiting: Waiting) -> io::Result<usize> {
    let flags = match waiting {
        Waiting::Block => 0,
        Waiting::Never => libc::MSG_DONTWAIT,
    };
    let (start, length) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the descriptor is open while borrowed; start and length describe `buffer`.
    let got = unsafe { libc::recv(socket.as_raw_fd(), start, length, flags) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// A level-triggered epoll instance.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

/// One readiness event: the token given at registration.
pub type Event = libc::epoll_event;

/// An event to fill buffers with.
pub const NO_EVENT: Event = libc::epoll_event { events: 0, u64: 0 };

impl Epoll {
    /// A new instance without descriptors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and has no other owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Starts to report `socket` as `token` whenever it is readable.
    pub fn add(&self, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket, token, false)
    }

    /// Chooses whether `socket` is also reported when it is writable.
    pub fn set_writable(&self, socket: BorrowedFd<'_>, token: u64, on: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket, token, on)
    }

    fn control(
        &self,
        op: i32,
        socket: BorrowedFd<'_>,
        token: u64,
        writable: bool,
    ) -> io::Result<()> {
        let mut events = libc::EPOLLIN.cast_unsigned();
        if writable {
            events |= libc::EPOLLOUT.cast_unsigned();
        }
        let mut event = libc::epoll_event { events, u64: token };
        let (epoll, socket) = (self.0.as_raw_fd(), socket.as_raw_fd());
        // SAFETY: both descriptors are open; the kernel copies `event`.
        check(unsafe { libc::epoll_ctl(epoll, op, socket, &raw mut event) }).map(drop)
    }

    /// Waits for events; an empty slice means that `limit` is over.
    pub fn wait<'e>(&self, events: &'e mut [Event], limit: Duration) -> io::Result<&'e [Event]> {
        let millis = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes at most `room` events to the front of `events`.
        let got =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, millis) };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        Ok(&events[..got])
    }
}

/// Pins the calling thread to one core.
pub fn pin_thread(core: usize) -> io::Result<()> {
    set_affinity(&[core])
}

fn set_affinity(cores: &[usize]) -> io::Result<()> {
    // SAFETY: all-zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        if core >= usize::try_from(libc::CPU_SETSIZE).unwrap_or(0) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the index was checked against the size of the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: pid 0 is the calling thread; the set is only read.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })
        .map(drop)
}

/// Makes `command` die with this process and run on `cores` only (empty: on all).
pub fn confine_child(command: &mut Command, cores: Vec<usize>) {
    let confine = move || {
        // SAFETY: plain integers; async-signal-safe.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        if cores.is_empty() { Ok(()) } else { set_affinity(&cores) }
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(confine) };
}

/// Makes `command` lead a process group, which dies by [`kill_group`]; itself dies with the thread
/// that starts it.
pub fn lead_group(command: &mut Command) {
    command.process_group(0);
    confine_child(command, Vec::new());
}

/// Kills process `pid` and all others of the group that it leads.
pub fn kill_group(pid: u32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: takes no pointer.
    check(unsafe { libc::kill(-pid, libc::SIGKILL) }).map(drop)
}

/// Asks process `pid` to end.
pub fn terminate(pid: u32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: takes no pointer.
    check(unsafe { libc::kill(pid, libc::SIGTERM) }).map(drop)
}

/// Processor time that the calling thread has used.
pub fn thread_cpu() -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the one timespec it is given.
    check(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) })?;
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    Ok(seconds + Duration::from_nanos(time.tv_nsec.unsigned_abs()))
}

/// Length of one tick of `/proc/PID/stat`.
#[must_use]
pub fn clock_tick() -> Duration {
    // SAFETY: takes no pointer.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_nanos(1_000_000_000 / per_second.unsigned_abs().max(1))
}

/// What the file system below a directory says of itself.
#[derive(Clone, Copy, Debug)]
pub struct FileSystem {
    /// Bytes that an ordinary user may still write.
    pub free_bytes: u64,
    /// Kept in memory: a sync costs nothing there.
    pub in_memory: bool,
}

/// Looks at the file system that holds `path`.
pub fn file_system(path: &Path) -> io::Result<FileSystem> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all-zero bytes are a valid statfs.
    let mut info: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in NUL; the kernel fills the one struct.
    check(unsafe { libc::statfs(path.as_ptr(), &raw mut info) })?;
    let block = info.f_bsize.unsigned_abs();
    Ok(FileSystem {
        free_bytes: info.f_bavail.saturating_mul(block),
        in_memory: info.f_type == libc::TMPFS_MAGIC,
    })
}

/// Tells the kernel that the cached pages of a file are not needed.
pub fn forget_pages(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open while borrowed; no pointer is taken.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

extern "C" fn note_interrupt(_signal: i32) {
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
}

/// From now on SIGINT and SIGTERM are counted, so that scratch files and servers are cleaned up.
pub fn catch_interrupts() -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: all-zero bytes are a valid sigaction: no flags, empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = note_interrupt as *const () as usize;
        // SAFETY: the handler only adds to an atomic.
        check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) })?;
    }
    Ok(())
}

/// Whether the user asked the harness to stop.
#[must_use]
pub fn interrupted() -> bool {
    interrupts() > 0
}

/// How often the user asked the harness to stop.
#[must_use]
pub fn interrupts() -> u32 {
    INTERRUPTS.load(Ordering::Relaxed)
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

//! What the machine must offer before an executor can start, checked up front so that each lack is
//! one clear line instead of a panic deep in a library.

use super::limits::{
    MAX_IO_MEMORY_BYTES, MIN_IO_MEMORY_BYTES, MIN_KERNEL, MIN_MEMLOCK_BYTES, RING_MEMORY_PAUSE,
    RING_MEMORY_TRIES, RINGS_PER_CORE,
};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CpuSet, sched_getaffinity};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Why this machine cannot run the server.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The kernel lacks io_uring operations.
    #[error("Linux {release} is too old: {}.{} or newer is needed", MIN_KERNEL.0, MIN_KERNEL.1)]
    Kernel {
        /// What the kernel calls itself.
        release: String,
    },
    /// io_uring is switched off or filtered.
    #[error(
        "io_uring is not available (see /proc/sys/kernel/io_uring_disabled and the seccomp profile \
         of the container): {0}"
    )]
    IoUring(#[source] io::Error),
    /// Too little memory may be locked.
    #[error(
        "locked memory is limited to {limit} bytes, {MIN_MEMLOCK_BYTES} are needed: raise `ulimit -l`"
    )]
    Memlock {
        /// The soft limit of this process.
        limit: u64,
    },
    /// The locked memory that this user may have is taken.
    #[error(
        "no locked memory is left for io_uring; that of other processes of this user counts, too: \
         raise `ulimit -l`"
    )]
    RingMemory,
    /// The set of allowed CPUs is unknown.
    #[error("read the set of allowed CPUs: {0}")]
    Affinity(#[source] io::Error),
}

/// Checks kernel, io_uring and limits.
///
/// # Errors
/// The first thing that is missing.
pub fn check_machine() -> Result<(), MachineError> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if !recent_enough(&release) {
        return Err(MachineError::Kernel { release });
    }
    match memlock_limit() {
        Some(limit) if limit < MIN_MEMLOCK_BYTES => Err(MachineError::Memlock { limit }),
        _ => check_io_uring(),
    }
}

/// The CPUs that this process may use, ascending; a container's CPU set is in it.
///
/// # Errors
/// When the kernel does not tell.
pub fn allowed_cpus() -> Result<Vec<usize>, MachineError> {
    let set = sched_getaffinity(None).map_err(|errno| MachineError::Affinity(errno.into()))?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// Memory to register per core, such that all rings of all cores take at most half of the limit of
/// locked memory: the other half is for the rings themselves, and for the next server, which starts
/// before the kernel has taken everything back from this one. Beyond the limit glommio would do
/// without registered memory at all.
#[must_use]
pub fn io_memory_bytes(cores: u16) -> usize {
    let each = memlock_limit().map_or(MAX_IO_MEMORY_BYTES, |limit| share(limit, cores));
    usize::try_from(each).expect("bounded by MAX_IO_MEMORY_BYTES")
}

fn share(limit: u64, cores: u16) -> u64 {
    let fair = (limit / 2 / (u64::from(cores.max(1)) * RINGS_PER_CORE)).max(1);
    // A power of two, rounded down.
    (1 << fair.ilog2()).clamp(MIN_IO_MEMORY_BYTES, MAX_IO_MEMORY_BYTES)
}

/// `None` means no limit.
fn memlock_limit() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// Whether a kernel release such as `6.1.0-13-amd64` is new enough; one that cannot be read is
/// given the benefit of the doubt, as the next check asks the kernel itself.
fn recent_enough(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= MIN_KERNEL,
        _ => true,
    }
}

/// Makes a ring and drops it. Locked memory is counted per user and given back late, so a server
/// that follows on another one may have to wait for it a little.
fn check_io_uring() -> Result<(), MachineError> {
    for _ in 0..RING_MEMORY_TRIES {
        match make_ring() {
            Ok(_ring) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                std::thread::park_timeout(RING_MEMORY_PAUSE);
            }
            Err(error) => return Err(MachineError::IoUring(error)),
        }
    }
    Err(MachineError::RingMemory)
}

#[expect(unsafe_code, reason = "the C library has no wrapper for this system call")]
fn make_ring() -> io::Result<OwnedFd> {
    // `struct io_uring_params`: 120 bytes for all time, all zero for a plain ring.
    let mut params = [0_u32; 30];
    // SAFETY: the kernel reads and writes the 120 bytes of `params`, which outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 128, params.as_mut_ptr()) };
    match i32::try_from(fd) {
        // SAFETY: the kernel just made this descriptor, and nobody else knows it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_compared_as_numbers() {
        assert!(recent_enough("6.1.0-13-amd64"));
        assert!(recent_enough("5.10.2"));
        assert!(recent_enough("5.8"));
        assert!(!recent_enough("5.7.19"));
        assert!(!recent_enough("4.19.0"));
        assert!(recent_enough("next"));
    }

    #[test]
    fn registered_memory_of_all_rings_fits_the_limit() {
        for cores in [1, 2, 3, 16, 64] {
            for limit in [1 << 20, 8 << 20, 100 << 20, 1 << 40] {
                let bytes = share(limit, cores);
                assert!(bytes.is_power_of_two());
                let all = bytes * u64::from(cores) * RINGS_PER_CORE;
                assert!(all <= limit / 2 || bytes == MIN_IO_MEMORY_BYTES, "{cores} {limit}");
            }
        }
        assert_eq!(share(8 << 20, 2), 512 << 10);
    }

    #[test]
    fn this_machine_passes_and_has_a_cpu() {
        check_machine().expect("the tests need io_uring");
        assert!(!allowed_cpus().expect("affinity").is_empty());
    }
}

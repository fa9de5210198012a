//! The `krait` command.
#![expect(unsafe_code, reason = "options of the allocator are a symbol with a name of its own")]

use std::process::ExitCode;

/// Buffers of requests are freed on other cores than they were made on, and large ones come and
/// go: glibc's allocator maps and unmaps those each time, and mimalloc 3 keeps more with every
/// volume that is filled and deleted (290 MiB after 20 GiB under a cap of 256 MiB, 150 MiB with
/// this one). Without its cache-oblivious layout, large memory begins at a page: direct writes need
/// no copy.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The options that jemalloc reads as it starts: huge pages, as faults of small ones take a quarter
/// of the time of random writes of 4 KiB into new memory.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_OPTIONS: &[u8; 11] = b"thp:always\0";

fn main() -> ExitCode {
    krait::cli::main()
}

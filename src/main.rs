//! The `krait` command.

use std::process::ExitCode;

/// Buffers of requests are freed on other cores than they were made on, and large ones come and
/// go: glibc's allocator maps and unmaps those each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    krait::cli::main()
}

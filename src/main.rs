//! The thin binary: everything is in the library.

use std::process::ExitCode;

/// Rows are made on one thread and freed on another: what the system's allocator takes a lock for, on every call.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tallyd::cli::run()
}

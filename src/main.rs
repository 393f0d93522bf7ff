//! The `wecom-kf` binary.

mod cli;

/// Messages are made by one thread and dropped by another, which takes the C library's a fifth of all CPU time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}

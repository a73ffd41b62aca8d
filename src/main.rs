//! The `narthex` program.

/// Chosen by measurement: with glibc's a session takes about 15 % more CPU a request, with jemalloc no less. A debug build
/// has the system's, which tools that watch memory know.
#[cfg(not(debug_assertions))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    narthex::app::main()
}

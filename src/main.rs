//! The `narthex` program.

/// Chosen by measurement: glibc's allocator takes about 15 % more CPU per request with a session,
/// jemalloc no less. Debug builds use the system's allocator, which memory checkers support.
#[cfg(not(debug_assertions))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    narthex::app::main()
}

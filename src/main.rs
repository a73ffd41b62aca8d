//! The `narthex` program.

/// The allocator, chosen by measurement: glibc's uses about 15 % more CPU per request with a
/// session, and jemalloc at least as much as mimalloc. Debug builds use the system's allocator,
/// which memory checkers support.
#[cfg(not(debug_assertions))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    narthex::app::main()
}

//! The `narthex` program.

/// Chosen by measurement: instructions a request, beside glibc's and jemalloc. A debug build has the system's, which
/// tools that watch memory know.
#[cfg(not(debug_assertions))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    narthex::app::main()
}

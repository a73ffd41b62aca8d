//! The `narthex` program.

/// Chosen by measurement: instructions a request, beside glibc's and jemalloc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    narthex::app::main()
}

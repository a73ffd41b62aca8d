//! The `narthex` program.

fn main() -> std::process::ExitCode {
    narthex::app::main()
}

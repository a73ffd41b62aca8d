//! Processes that end with the test that started them.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Below what systems give to outgoing connections, which come and go by the thousand here.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port that nobody uses, and that nobody else here is given.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(331);
    loop {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(number % u32::from(PORTS.end - PORTS.start)).unwrap();
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// Where the tests' parties are installed.
pub fn parties() -> PathBuf {
    std::env::var_os("NARTHEX_PARTIES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/parties"), PathBuf::from)
}

/// A process of somebody else's program. It ends when this value does, or when the tests' own
/// process does: its standard input is a pipe that closes then.
pub struct Party(Child);

impl Party {
    /// Starts `command` under a shell that ends it when the pipe closes.
    pub fn start(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Self {
        const WATCH: &str = r#""$@" </dev/null & child=$!; cat >/dev/null; kill $child 2>/dev/null; wait"#;
        let mut command = Command::new("sh");
        command.args(["-c", WATCH, "sh"]).arg(program).args(arguments);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Starts a script of `tests/parties/`, and waits until it says that it is ready.
    pub fn node(script: &str, arguments: &[&str]) -> Self {
        Self::node_with(script, arguments, &[])
    }

    /// The same with more environment.
    pub fn node_with(script: &str, arguments: &[&str], environment: &[(&str, &Path)]) -> Self {
        Self::script("node".as_ref(), script, arguments, environment)
    }

    /// Starts a Python script of `tests/parties/`, and waits until it says that it is ready.
    pub fn python(script: &str, arguments: &[&str]) -> Self {
        Self::script(&parties().join("venv/bin/python"), script, arguments, &[])
    }

    fn script(program: &Path, script: &str, arguments: &[&str], environment: &[(&str, &Path)]) -> Self {
        let mut command = Command::new(program);
        command.current_dir(parties()).arg(script).args(arguments).envs(environment.iter().copied());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program is installed");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first =
            lines.next().unwrap_or_else(|| panic!("{script} ended: run it through `make test`")).unwrap();
        assert_eq!(first, "ready", "{script}");
        // Whatever it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self(child)
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

/// Waits until something listens on `port`.
pub fn wait_for_port(port: u16) {
    wait_until(&format!("port {port}"), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
}

/// Asks again and again until the answer is yes; a minute at most.
pub fn wait_until(what: &str, mut yes: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !yes() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

//! Cost of a request with a cached session or token, authorized by policy and asserted to the app.
//! Compared with proxies without authentication (bare pingora, nginx) and proxies that verify
//! tokens without assertions (HAProxy, Envoy), with the same requests, upstream and core in one
//! run. `make bench` records the results.
//!
//! Instructions per request come from callgrind, as the difference of two runs of different length,
//! and are stable. CPU per request varies, so it is reported as median and range of several
//! interleaved rounds; ratios are within one round.

mod apache;
mod bare;
mod load;
mod measure;
mod proxies;
mod report;
mod scene;
mod tls;
mod tokens;

use scene::{ROUNDS, Scene};
use std::path::Path;
use std::process::Command;

/// A part of the measurement: its name on the command line, its title, its function.
type Part = (&'static str, &'static str, fn(&Scene, &mut String));

const PARTS: [Part; 6] = [
    ("instructions", "Instructions a request", Scene::instructions),
    ("known", "Known tokens and sessions", Scene::known),
    ("unseen", "Tokens never seen", Scene::unseen),
    ("tls", "Over TLS", Scene::tls),
    ("issued", "Tokens issued", Scene::issued),
    ("live", "Many live tokens and sessions", Scene::live),
];

/// `cargo bench --bench token_path -- known` runs one part; `once` limits it to one round, which is
/// not recorded. `beside` is not a part but a quick comparison after a change, optionally limited
/// by `plain`, `http1` or `http2`.
fn main() {
    if let Some(("bare", ports)) =
        std::env::var(bare::ROLE).ok().as_deref().and_then(|role| role.split_once(' '))
    {
        return bare::be_bare(ports);
    }
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let once = words.iter().any(|word| word == "once");
    words.retain(|word| word != "once");
    let scene = Scene::new(if once { 1 } else { ROUNDS });
    if words.iter().any(|word| word == "beside") {
        let mut report = String::new();
        scene.beside(&words, &mut report);
        println!("{report}");
    }
    for (word, heading, measure) in PARTS {
        if !words.is_empty() && !words.iter().any(|wanted| wanted == word) {
            continue;
        }
        eprintln!("{heading}");
        let mut report = format!("{}; `make bench`. {}\n", machine(), scene.description());
        measure(&scene, &mut report);
        println!("# {heading}\n\n{report}");
        if !once {
            write_down(heading, &report);
        }
    }
}

/// Replaces the previous results, in the order of the parts; results of other programs follow.
fn write_down(heading: &str, report: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md");
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    let mut parts: Vec<(&str, &str)> =
        known.split("\n# ").filter_map(|part| part.trim_start_matches("# ").split_once('\n')).collect();
    let place =
        |heading: &str| PARTS.iter().position(|(_, known, _)| *known == heading).unwrap_or(PARTS.len());
    parts.retain(|(known, _)| *known != heading);
    parts.push((heading, report));
    parts.sort_by_key(|(heading, _)| place(heading));
    let all: Vec<String> =
        parts.iter().map(|(heading, report)| format!("# {heading}\n\n{}\n", report.trim())).collect();
    std::fs::write(file, all.join("\n")).unwrap();
}

fn machine() -> String {
    let read = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let cpu = read("sh", &["-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2"]);
    format!("{} · {} · {}", read("date", &["+%Y-%m-%d"]), read("uname", &["-sm"]), cpu.trim())
}

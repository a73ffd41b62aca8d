//! The order of the rooms: a room uses only rooms that stand earlier in this list. Nothing but this
//! keeps one package from knotting.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Bottom to top.
const ROOMS: [&str; 18] = [
    "base",
    "config",
    "jose",
    "policy",
    "model",
    "store",
    "catalogue",
    "token",
    "directory",
    "provider",
    "broker",
    "identity",
    "authn",
    "pages",
    "handlers",
    "gateway",
    "load",
    "fuzzing",
];
/// On top of all of them.
const TOP: &str = "app";

/// The modules of `gateway`, bottom to top.
const GATEWAY: [&str; 14] = [
    "errors",
    "metrics",
    "framing",
    "connection",
    "upstream",
    "request",
    "access_log",
    "state",
    "builtin",
    "authorize",
    "forward",
    "proxy",
    "listener",
    "fuzzing",
];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The rooms that `text` names behind `crate::`, in paths and in braces.
fn named(text: &str) -> BTreeSet<String> {
    let word =
        |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => drop(rooms.insert(word(rest))),
            Some(list) => {
                let (mut depth, mut start) = (0, true);
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && !c.is_whitespace() => {
                            rooms.insert(word(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms
}

fn rank(room: &str) -> Option<usize> {
    ROOMS.iter().chain([&TOP]).position(|known| *known == room)
}

#[test]
fn every_room_uses_only_rooms_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let inside = file.strip_prefix(&src).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let Some(own) = rank(room) else { continue };
        for other in named(&fs::read_to_string(&file).unwrap()) {
            match rank(&other) {
                Some(rank) if rank <= own => {}
                Some(_) => wrong.push(format!("{} uses {other}, which stands above it", inside.display())),
                None => wrong.push(format!("{} uses {other}, which is no room", inside.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The module inside `gateway` that a path names first, as in `crate::gateway::request::path`.
fn named_in_gateway(text: &str) -> BTreeSet<String> {
    let word =
        |rest: &str| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    text.split("crate::gateway::").skip(1).map(word).filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_module_of_the_gateway_uses_only_modules_below_it() {
    let gateway = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway");
    let rank = |name: &str| GATEWAY.iter().position(|known| *known == name);
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for file in rust_files(&gateway) {
        let inside = file.strip_prefix(&gateway).unwrap();
        let own = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if own == "mod" {
            continue;
        }
        let Some(own_rank) = rank(own) else {
            wrong.push(format!("{own} has no place in the order"));
            continue;
        };
        seen.insert(own.to_owned());
        let text = fs::read_to_string(&file).unwrap();
        for other in named_in_gateway(&text) {
            match rank(&other) {
                Some(rank) if rank <= own_rank => {}
                Some(_) => wrong.push(format!("{} uses {other}, which is above it", inside.display())),
                None => wrong.push(format!(
                    "{} uses {other} by the re-exports of the folder above it",
                    inside.display()
                )),
            }
        }
    }
    assert_eq!(seen, GATEWAY.iter().map(ToString::to_string).collect());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A path by `super::super::` would pass the tests above.
#[test]
fn no_path_leaves_its_folder_by_super() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        if code.contains("super::super::") {
            wrong.push(file.strip_prefix(&src).unwrap().display().to_string());
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_folder_is_a_room_and_every_room_is_a_folder() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders: BTreeSet<String> = fs::read_dir(src)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let rooms: BTreeSet<String> = ROOMS.iter().chain([&TOP]).map(ToString::to_string).collect();
    assert_eq!(folders, rooms);
}

#[test]
fn a_knot_would_be_noticed() {
    let rooms = named("use crate::{gateway::{a, b}, base};\nfn f() { crate::oauth::x() }");
    assert_eq!(rooms.into_iter().collect::<Vec<_>>(), ["base", "gateway", "oauth"]);
}

#[test]
fn the_reference_names_every_metric() {
    let reference = include_str!("../docs/src/reference/metrics.md");
    let mut metrics = BTreeSet::new();
    for file in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let quoted = text.split('"').filter(|quoted| quoted.starts_with("narthex_"));
        metrics.extend(quoted.map(str::to_owned));
    }
    assert!(metrics.contains("narthex_requests_total"));
    let unnamed: Vec<_> = metrics.iter().filter(|name| !reference.contains(&format!("`{name}`"))).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}

/// A feature of `serde_json` that any dependency may turn on, for all of them, has it take an object of this name for
/// JSON in a text, and read that anew, as deep as a whole message may be.
#[test]
fn json_in_a_text_stays_a_text() {
    let told = serde_json::json!({"$serde_json::private::RawValue": "{\"alg\":\"none\"}"});
    assert_eq!(serde_json::from_str::<serde_json::Value>(&told.to_string()).unwrap(), told);
}

/// What is tested has the features of what is installed: some crates of tests have an object keep the order of its names.
#[test]
fn an_object_is_in_the_order_of_its_names() {
    assert_eq!(serde_json::json!({"b": 1, "a": 2}).to_string(), r#"{"a":2,"b":1}"#);
}

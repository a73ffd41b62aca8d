//! Checks of the source tree: layers, imports of tests, metrics in the reference, features of
//! `serde_json`.
//!
//! A module uses only modules below it. Within one crate the compiler does not enforce that.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules, bottom to top.
const MODULES: [&str; 21] = [
    "base",
    "config",
    "jose",
    "policy",
    "model",
    "store",
    "catalogue",
    "token",
    "message",
    "trigger",
    "directory",
    "provider",
    "broker",
    "identity",
    "authn",
    "pages",
    "handlers",
    "aws",
    "gateway",
    "load",
    "fuzzing",
];
/// The module above all of them.
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

/// Returns the modules that `text` names after `crate::`, in paths and in braces.
fn used_modules(text: &str) -> BTreeSet<String> {
    let word =
        |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut modules = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => drop(modules.insert(word(rest))),
            Some(list) => {
                let (mut depth, mut start) = (0, true);
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && !c.is_whitespace() => {
                            modules.insert(word(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    modules
}

fn rank(module: &str) -> Option<usize> {
    MODULES.iter().chain([&TOP]).position(|name| *name == module)
}

#[test]
fn every_module_uses_only_modules_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let inside = file.strip_prefix(&src).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let Some(own) = rank(module) else { continue };
        for other in used_modules(&fs::read_to_string(&file).unwrap()) {
            match rank(&other) {
                Some(rank) if rank <= own => {}
                Some(_) => wrong.push(format!("{} uses {other}, which is above it", inside.display())),
                None => wrong.push(format!("{} uses {other}, which is not in the order", inside.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the modules of `gateway` that `text` names first, as in `crate::gateway::request::path`.
fn used_gateway_modules(text: &str) -> BTreeSet<String> {
    let word =
        |rest: &str| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    text.split("crate::gateway::").skip(1).map(word).filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_module_of_the_gateway_uses_only_modules_below_it() {
    let gateway = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway");
    let rank = |name: &str| GATEWAY.iter().position(|module| *module == name);
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for file in rust_files(&gateway) {
        let inside = file.strip_prefix(&gateway).unwrap();
        let own = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if own == "mod" {
            continue;
        }
        let Some(own_rank) = rank(own) else {
            wrong.push(format!("{own} is not in the order"));
            continue;
        };
        seen.insert(own.to_owned());
        let text = fs::read_to_string(&file).unwrap();
        for other in used_gateway_modules(&text) {
            match rank(&other) {
                Some(rank) if rank <= own_rank => {}
                Some(_) => wrong.push(format!("{} uses {other}, which is above it", inside.display())),
                None => wrong
                    .push(format!("{} uses {other} through the re-exports of `gateway`", inside.display())),
            }
        }
    }
    assert_eq!(seen, GATEWAY.iter().map(ToString::to_string).collect());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Paths with `super::super::` would evade the tests above.
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
fn every_folder_is_a_module_of_the_order() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders: BTreeSet<String> = fs::read_dir(src)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let modules: BTreeSet<String> = MODULES.iter().chain([&TOP]).map(ToString::to_string).collect();
    assert_eq!(folders, modules);
}

/// Helpers that several test modules use belong in `support`.
#[test]
fn test_modules_import_only_from_support() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let (support, files): (Vec<_>, Vec<_>) =
        rust_files(&tests).into_iter().partition(|file| file.starts_with(tests.join("support")));
    let name = |file: &Path| file.file_stem().unwrap().to_str().unwrap().to_owned();
    let modules: BTreeSet<String> = files.iter().map(|file| name(file)).collect();
    assert!(modules.contains("sign_in") && !support.is_empty());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap().replace("super::", "crate::");
        wrong.extend(used_modules(&text).intersection(&modules).map(|other| (name(&file), other.clone())));
    }
    for file in support {
        let text = fs::read_to_string(&file).unwrap();
        wrong.extend(used_modules(&text).intersection(&modules).map(|other| (name(&file), other.clone())));
    }
    assert!(wrong.is_empty(), "these modules use test modules: {wrong:?}");
}

#[test]
fn a_use_of_a_module_above_is_detected() {
    let modules = used_modules("use crate::{gateway::{a, b}, base};\nfn f() { crate::oauth::x() }");
    assert_eq!(modules.into_iter().collect::<Vec<_>>(), ["base", "gateway", "oauth"]);
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

/// With the feature `raw_value` of `serde_json`, which any dependency may enable, an object with
/// this key would be replaced by the JSON in its text, parsed without the limit on depth of the
/// whole.
#[test]
fn json_in_a_string_stays_a_string() {
    let object = serde_json::json!({"$serde_json::private::RawValue": "{\"alg\":\"none\"}"});
    assert_eq!(serde_json::from_str::<serde_json::Value>(&object.to_string()).unwrap(), object);
}

/// Tests run with the features of the installed program: some test dependencies would enable
/// `preserve_order`.
#[test]
fn object_keys_are_sorted() {
    assert_eq!(serde_json::json!({"b": 1, "a": 2}).to_string(), r#"{"a":2,"b":1}"#);
}

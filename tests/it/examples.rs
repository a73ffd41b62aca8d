//! The examples beside the configurations, which `docs` reads: manifests and units name what there
//! is, and policies decide as they should. nginx, Caddy and HAProxy are run by `reverse_proxies`.

use crate::support::documentation::{block, blocks, files, is_valid_command, relative_path, repository_root};
use crate::support::process::parties;
use serde_json::Value;
use std::process::Command;

#[test]
fn json_and_yaml_can_be_parsed() {
    for block in blocks().iter().filter(|block| block.language() == "json" && block.info != "json fix") {
        let parsed = serde_json::from_str::<Value>(&block.text);
        assert!(parsed.is_ok(), "{}: {parsed:?}", block.place);
    }
    for block in blocks().iter().filter(|block| block.language() == "yaml") {
        assert!(!yaml(&block.text, &block.place).is_empty(), "{}", block.place);
    }
    let examples = files(&repository_root().join("examples"), "yaml");
    assert!(examples.len() >= 3);
    for file in examples {
        let documents = yaml(&std::fs::read_to_string(&file).unwrap(), &relative_path(&file));
        assert!(!documents.is_empty() && documents.iter().all(Value::is_object), "{}", relative_path(&file));
    }
}

/// Parses YAML by another program.
fn yaml(text: &str, place: &str) -> Vec<Value> {
    const SCRIPT: &str = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.argv[1]))))";
    let python = parties().join("venv/bin/python");
    let output = Command::new(python).args(["-c", SCRIPT, text]).output().unwrap();
    assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_examples_of_deployments_start_what_there_is() {
    let read = |file: &str| std::fs::read_to_string(repository_root().join("examples").join(file)).unwrap();
    let unit = read("narthex.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/narthex ")).unwrap();
    assert!(is_valid_command(&start.split(' ').collect::<Vec<_>>()), "{start}");
    for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert!(line.starts_with('[') || line.contains('='), "{line}");
    }
    let image = read("Dockerfile");
    let words = image.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let words: Vec<&str> = serde_json::from_str(words).unwrap();
    assert!(is_valid_command(&words), "{words:?}");
    let manifests = yaml(&read("kubernetes/narthex.yaml"), "narthex.yaml");
    let container = &manifests[0]["spec"]["template"]["spec"]["containers"][0];
    let words: Vec<&str> =
        container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert!(is_valid_command(&words), "{words:?}");
    let compose = &yaml(&read("compose.yaml"), "compose.yaml")[0]["services"]["narthex"]["build"];
    assert!(repository_root().join(compose["dockerfile"].as_str().unwrap()).exists());
    let forward = &yaml(&read("traefik.yaml"), "traefik.yaml")[0]["http"]["middlewares"]["narthex"];
    assert!(forward["forwardAuth"]["address"].as_str().unwrap().ends_with("/.narthex/forward-auth"));
}

#[test]
fn the_example_of_policies_decides_its_cases() {
    let folder = tempfile::tempdir().unwrap();
    let example = repository_root().join("examples/policies");
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    for file in files(&example, "json").iter().chain(&files(&example, "toml")) {
        std::fs::copy(file, folder.path().join(file.strip_prefix(&example).unwrap())).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["cases", "cases.json"])
        .current_dir(folder.path())
        .env("IDP_CLIENT_SECRET", "secret")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.matches("ok ").count() >= 4, "{said}");
    // The guide has the same files, before the statement is corrected.
    let shown = block("docs/src/guides/policies.md", "toml");
    assert_eq!(std::fs::read_to_string(example.join("narthex.toml")).unwrap(), shown);
}

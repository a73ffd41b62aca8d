//! The documentation: every configuration is read, every command is accepted, every link leads
//! somewhere, and the reference names what the program has.

use crate::support::documentation::{
    Block, block, blocks, files, is_valid_command, pages, relative_path, repository_root, split_page,
};
use crate::support::stand_in::ec_key;
use narthex::config::Config;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What is added to a block without `public_url`: the tables that a configuration needs and the
/// block lacks.
const URL: &str = "public_url = \"https://auth.example.com\"\n";
const PROVIDER: &str = "[[provider]]\nname = \"base\"\ntype = \"oidc\"\nissuer = \"https://base.example.com\"\n\
                        client_id = \"narthex\"\nclient_secret = \"secret\"\nallow = { domains = [\"example.com\"] }\n";
const ROUTE: &str = "[[route]]\nhost = \"base.example.com\"\nupstream = \"http://127.0.0.1:3000\"\n";

/// Completes a block to a configuration.
fn complete(text: &str) -> String {
    if text.contains("public_url") {
        return text.to_owned();
    }
    let lacks = |head: &str| !text.contains(head);
    let provider = if lacks("[[provider]]") { PROVIDER } else { "" };
    let route = if lacks("[[route]]") { ROUTE } else { "" };
    format!("{URL}{text}\n{provider}{route}")
}

/// Reads a configuration in a folder that has the files that it names.
fn read(text: &str, folder: &Path) -> Result<(), String> {
    let secrets = folder.join("secrets");
    let private_key = ec_key().0;
    for quoted in text.split('"').filter(|quoted| !quoted.contains(['\n', ' '])) {
        let (path, content) = match quoted.strip_prefix("/run/secrets/") {
            Some(secret) if secret.ends_with(".p8") => (secrets.join(secret), &*private_key),
            Some(secret) if secret.ends_with("master-key") => (secrets.join(secret), KEY),
            Some(secret) => (secrets.join(secret), "a secret of some length"),
            None if quoted.starts_with("policies/") => (folder.join(quoted), POLICY),
            None if quoted.starts_with("certs/") => (folder.join(quoted), "PEM"),
            None if quoted.starts_with("brand/") && quoted.ends_with(".css") => (folder.join(quoted), ""),
            None if quoted.starts_with("brand/") => (folder.join(quoted), "<svg/>"),
            None => continue,
        };
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let environment = |name: &str| match name {
        "NARTHEX_MASTER_KEY" => Some(KEY.to_owned()),
        "DATABASE_URL" => Some("postgres://narthex@127.0.0.1/narthex".to_owned()),
        _ => Some("a secret of some length".to_owned()),
    };
    let text = text.replace("/run/secrets", &secrets.display().to_string());
    let config = Config::parse(&text, "narthex.toml", folder, &environment);
    config.map(drop).map_err(|mistakes| mistakes.to_string())
}

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": {
    "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}}"#;

#[test]
fn every_documented_configuration_is_accepted() {
    let (mut count, mut wrong) = (0, Vec::new());
    let shown = blocks().into_iter().filter(|block| block.language() == "toml" && block.info != "toml wrong");
    let shown = shown.map(|Block { text, place, .. }| (complete(&text), place));
    let examples = files(&repository_root().join("examples"), "toml").into_iter();
    let examples = examples.map(|file| (std::fs::read_to_string(&file).unwrap(), relative_path(&file)));
    for (text, place) in shown.chain(examples) {
        let folder = tempfile::tempdir().unwrap();
        count += 1;
        wrong.extend(read(&text, folder.path()).err().map(|why| format!("{place}\n{why}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 50, "{count} configurations");
}

#[test]
fn a_wrong_configuration_would_be_noticed() {
    let folder = tempfile::tempdir().unwrap();
    assert!(read(&complete("[session]\nidle = \"8h\"\n"), folder.path()).is_ok());
    assert!(
        read(&complete("[session]\nidel = \"8h\"\n"), folder.path()).unwrap_err().contains("unknown key")
    );
}

/// Returns the code spans of some prose.
fn spans(prose: &str) -> Vec<String> {
    // A span may be wrapped.
    let joined = |span: &str| span.split_whitespace().collect::<Vec<_>>().join(" ");
    prose.split('`').skip(1).step_by(2).map(joined).collect()
}

/// Blocks of commands for a shell that another test runs.
const RUN_ELSEWHERE: [&str; 3] = ["sh programs", "sh load", "sh emulator"];

/// Returns the documented commands that begin with `program`, each with its place.
fn commands(program: &str) -> BTreeSet<(String, String)> {
    let mut commands = BTreeSet::new();
    for page in pages() {
        let (blocks, prose) = split_page(&page);
        let spans = spans(&prose).into_iter().map(|span| (span, relative_path(&page)));
        let lines = blocks.iter().filter(|block| block.language() == "sh").flat_map(|block| {
            let lines = block.text.lines().map(|line| line.split(" # ").next().unwrap().trim());
            // Variables of the environment may precede a command.
            let bare = |line: &str| {
                let mut words = line.split(' ').skip_while(|word| word.contains("=\""));
                words.by_ref().collect::<Vec<_>>().join(" ")
            };
            lines.map(bare).map(|line| (line, block.place.clone())).collect::<Vec<_>>()
        });
        let of_program = |text: &str| text == program || text.starts_with(&format!("{program} "));
        commands.extend(spans.chain(lines).filter(|(text, _)| of_program(text)));
    }
    commands
}

#[test]
fn every_line_of_a_shell_block_is_a_command_that_a_test_knows() {
    for block in blocks().iter().filter(|block| block.language() == "sh") {
        let known = |line: &str| {
            ["narthex", "make"].contains(&line.split(' ').find(|word| !word.contains("=\"")).unwrap_or(line))
        };
        let elsewhere = RUN_ELSEWHERE.contains(&&*block.info);
        let unknown: Vec<_> = block.text.lines().filter(|line| !elsewhere && !known(line)).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", block.place);
    }
}

#[test]
fn every_documented_command_is_accepted() {
    let commands = commands("narthex");
    for (command, place) in &commands {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        assert!(is_valid_command(&words), "{place}: {command}");
    }
    assert!(commands.len() > 30, "{} commands", commands.len());
    assert!(!is_valid_command(&["check", "--strickt"]), "a wrong option would be noticed");
}

#[test]
fn every_documented_target_exists_and_has_a_sentence_of_help() {
    let makefile = std::fs::read_to_string(repository_root().join("Makefile")).unwrap();
    let help = Command::new("make").arg("help").current_dir(repository_root()).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let targets: Vec<_> =
        help.lines().filter_map(|line| line.strip_prefix("make ")?.split(' ').next()).collect();
    assert!(targets.len() >= 10, "{help}");
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    for target in phony.split(' ').filter(|target| !target.ends_with("-tools")) {
        assert!(targets.contains(&target), "`make help` lacks {target}");
    }
    for (command, place) in commands("make") {
        let target = command.split(' ').nth(1).unwrap_or_default();
        assert!(targets.contains(&target), "{place}: {command}");
    }
}

/// Returns the anchor of a heading, as mdBook and hosts of repositories make it.
fn anchor(heading: &str) -> String {
    let heading = heading.to_lowercase();
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c),
        _ => None,
    });
    kept.collect()
}

/// Returns the anchors of a page; a repeated one is numbered.
fn anchors(page: &Path) -> BTreeSet<String> {
    let (_, prose) = split_page(page);
    let mut anchors = BTreeSet::new();
    for line in prose.lines().filter(|line| line.starts_with('#')) {
        let first = anchor(line.trim_start_matches('#').trim());
        let numbered = (1..).map(|number| format!("{first}-{number}"));
        let free = std::iter::once(first.clone()).chain(numbered).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

/// Returns the targets of the links of some prose.
fn links(prose: &str) -> Vec<&str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let (mut count, mut broken) = (0, Vec::new());
    for page in pages() {
        let (_, prose) = split_page(&page);
        for link in links(&prose).into_iter().filter(|link| !link.contains("://")) {
            let (file, fragment) = link.split_once('#').map_or((link, None), |(file, id)| (file, Some(id)));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let leads = target.exists() && fragment.is_none_or(|id| anchors(&target).contains(id));
            count += 1;
            if !leads {
                broken.push(format!("{}: {link}", relative_path(&page)));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(count > 100, "{count} links");
}

#[test]
fn the_book_lists_every_page_once() {
    let summary = std::fs::read_to_string(repository_root().join("docs/src/SUMMARY.md")).unwrap();
    let listed: Vec<String> = links(&summary).into_iter().map(|link| format!("docs/src/{link}")).collect();
    let pages: BTreeSet<String> =
        files(&repository_root().join("docs/src"), "md").iter().map(|page| relative_path(page)).collect();
    let pages: Vec<_> = pages.into_iter().filter(|page| !page.ends_with("SUMMARY.md")).collect();
    let mut sorted = listed;
    sorted.sort();
    assert_eq!(sorted, pages);
}

#[test]
fn every_named_file_of_the_repository_exists() {
    const FOLDERS: [&str; 8] =
        ["src/", "tests/", "docs/", "examples/", "policies/", "benches/", "fuzz/", ".ci/"];
    let mut count = 0;
    for page in pages() {
        let (_, prose) = split_page(&page);
        for span in spans(&prose).into_iter().filter(|span| FOLDERS.iter().any(|f| span.starts_with(f))) {
            // A place for a name, or a file of the operator's.
            let is_example =
                ["{", " ", "…", "NAME", "000N", "/artifacts"].iter().any(|part| span.contains(part));
            let is_operators = span.starts_with("policies/") && !repository_root().join(&span).exists();
            if !is_example && !is_operators {
                assert!(repository_root().join(&span).exists(), "{}: {span}", relative_path(&page));
                count += 1;
            }
        }
    }
    assert!(count > 60, "{count} files");
}

/// Returns the Rust files below `folder` as one text.
fn source(folder: &str) -> String {
    let files = files(&repository_root().join(folder), "rs");
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect::<Vec<_>>().join("\n")
}

/// Returns the words in quotes that follow `before` in `text`, with white space between.
fn quoted_after<'t>(text: &'t str, before: &str) -> Vec<(&'t str, &'t str)> {
    let rests = text.split(before).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
    rests.filter_map(|rest| rest.split_once('"')).collect()
}

#[test]
fn the_reference_names_every_audit_event() {
    let source = source("src");
    let mut events: BTreeSet<&str> =
        quoted_after(&source, "event = ").into_iter().map(|(event, _)| event).collect();
    // Their names are values.
    events.extend(["user_created", "user_updated"]);
    assert!(events.len() > 15, "{events:?}");
    let page = std::fs::read_to_string(repository_root().join("docs/src/reference/audit.md")).unwrap();
    let unnamed: Vec<_> = events.iter().filter(|event| !page.contains(&format!("`{event}`"))).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    for event in rows.flat_map(|cell| cell.split(", ")).map(|event| event.trim_matches('`')) {
        assert!(source.contains(&format!("\"{event}\"")), "there is no event {event}");
    }
}

#[test]
fn troubleshooting_names_every_reason_of_a_failed_sign_in() {
    let mut reasons = BTreeSet::new();
    for folder in ["src/provider", "src/broker"] {
        let source = source(folder);
        let source = source.split("mod tests {").next().unwrap().to_owned() + &source;
        // A failed check is named by the first of two arguments, or by a field.
        for before in ["invalid(", "wrong(", "refuse("] {
            let named = quoted_after(&source, before).into_iter();
            let named = named.filter(|(reason, rest)| rest.starts_with(',') && !reason.contains(' '));
            reasons.extend(named.map(|(reason, _)| reason.to_owned()));
        }
        reasons.extend(quoted_after(&source, "check: ").into_iter().map(|(reason, _)| reason.to_owned()));
        let arms = source.split("fn reason(&self)").nth(1).and_then(|rest| rest.split("\n    }\n").next());
        let arms = quoted_after(arms.unwrap_or_default(), "=> ").into_iter();
        reasons.extend(arms.map(|(reason, _)| reason.to_owned()));
    }
    assert!(reasons.len() > 60, "{} reasons: {reasons:?}", reasons.len());
    let page = std::fs::read_to_string(repository_root().join("docs/src/guides/troubleshooting.md")).unwrap();
    let unnamed: Vec<_> = reasons.iter().filter(|reason| !page.contains(&format!("`{reason}`"))).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}

#[test]
fn troubleshooting_names_pages_by_their_titles() {
    let pages = std::fs::read_to_string(repository_root().join("src/pages/failure.rs")).unwrap();
    let page = std::fs::read_to_string(repository_root().join("docs/src/guides/troubleshooting.md")).unwrap();
    let table = page.split("## What users see").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Page"));
    let titles: Vec<_> = rows.filter_map(|line| line.split(" | ").next()?.strip_prefix("| ")).collect();
    assert!(titles.len() > 8, "{titles:?}");
    let unknown: Vec<_> = titles.iter().filter(|title| !pages.contains(&format!("\"{title}\""))).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_readme_is_short_and_its_example_is_that_of_the_book() {
    let readme = std::fs::read_to_string(repository_root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 150, "{} lines", readme.lines().count());
    let (blocks, _) = split_page(&repository_root().join("README.md"));
    let example = blocks.iter().find(|block| block.info == "toml").unwrap();
    assert_eq!(example.text, block("docs/src/getting-started.md", "toml"));
}

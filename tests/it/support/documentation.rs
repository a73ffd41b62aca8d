//! The pages of the documentation, and the blocks of code in them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A fenced block of code.
pub struct Block {
    /// What follows the fence, such as `toml` or `json reader`.
    pub info: String,
    /// Its text. A line that includes a file is replaced by the file.
    pub text: String,
    /// Page and line, for messages.
    pub place: String,
}

impl Block {
    /// Returns the language of the block.
    pub fn language(&self) -> &str {
        self.info.split(' ').next().unwrap_or_default()
    }
}

/// Returns the folder of the repository.
pub fn repository_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every page: those of the book, and those beside the code.
pub fn pages() -> Vec<PathBuf> {
    let mut pages = files(&repository_root().join("docs/src"), "md");
    for folder in ["", "examples", "policies", "certs"] {
        let entries =
            std::fs::read_dir(repository_root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages.sort();
    pages
}

/// Returns the files below `folder` with this extension.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all = entries.flat_map(|path| if path.is_dir() { files(&path, extension) } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|known| known == extension)).collect()
}

/// Returns the path of `page` below the repository.
pub fn relative_path(page: &Path) -> String {
    page.strip_prefix(repository_root()).unwrap().display().to_string()
}

/// Splits a page into its blocks and the prose around them.
pub fn split_page(page: &Path) -> (Vec<Block>, String) {
    let text = std::fs::read_to_string(page).unwrap();
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            prose.push_str(line);
            prose.push('\n');
            continue;
        };
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let text: String = inside.map(|line| expand_include(page, line) + "\n").collect();
        blocks.push(Block {
            info: info.to_owned(),
            text,
            place: format!("{}:{}", relative_path(page), number + 1),
        });
    }
    (blocks, prose)
}

/// Replaces mdBook's directive `{{#include file}}` by the file.
fn expand_include(page: &Path, line: &str) -> String {
    let file = line.strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}"));
    match file {
        Some(file) => {
            std::fs::read_to_string(page.parent().unwrap().join(file)).unwrap().trim_end().to_owned()
        }
        None => line.to_owned(),
    }
}

/// Returns the blocks of every page.
pub fn blocks() -> Vec<Block> {
    pages().iter().flat_map(|page| split_page(page).0).collect()
}

/// Returns the text of the first block of a page with this info string.
pub fn block(page: &str, info: &str) -> String {
    let (blocks, _) = split_page(&repository_root().join(page));
    let found = blocks.into_iter().find(|block| block.info == info);
    found.unwrap_or_else(|| panic!("{page} has no block `{info}`")).text
}

/// Returns whether the command line accepts these words. With `--help` after them, nothing is done.
pub fn is_valid_command(words: &[&str]) -> bool {
    Command::new(env!("CARGO_BIN_EXE_narthex")).args(words).arg("--help").output().unwrap().status.success()
}

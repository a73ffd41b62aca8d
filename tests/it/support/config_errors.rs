//! Errors of configuration files.

use std::path::Path;

/// What is said of the file `text`, if anything is wrong about it.
pub fn told_of(text: &str) -> Option<String> {
    let read = narthex::config::Config::parse(text, "narthex.toml", Path::new("/tmp"), &|_| None);
    read.err().map(|mistakes| mistakes.to_string())
}

/// Asserts that each replacement in a good file is reported: from what, to what, and what is
/// said.
pub fn each_is_told(good: &str, mistakes: &[(&str, &str, &str)]) {
    assert_eq!(told_of(good), None);
    for (from, to, message) in mistakes {
        assert!(good.contains(from), "{from}");
        let told = told_of(&good.replacen(from, to, 1)).unwrap_or_else(|| panic!("{to} is taken"));
        assert!(told.contains(message), "{message}:\n{told}");
    }
}

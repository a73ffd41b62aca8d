//! Our canonical form of a document, beside that of a canonicalizer of other hands.
#![no_main]

use bergshamra_c14n::{C14nMode, canonicalize};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // The first line holds the prefixes of an `InclusiveNamespaces`.
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some((prefixes, text)) = text.split_once('\n') else { return };
    let prefixes: Vec<String> = prefixes.split_whitespace().map(str::to_owned).collect();
    let Some(ours) = narthex::fuzzing::canonical(text, &prefixes) else { return };
    // XML 1.0, section 2.11: a parser translates line ends to LF. Theirs leaves that to its caller.
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let Ok(theirs) = canonicalize(&lines, C14nMode::Exclusive, None, &prefixes) else { return };
    assert_eq!(spaced(&ours), spaced(&String::from_utf8_lossy(&theirs)));
});

/// XML 1.0, section 3.3.3: white space in an attribute's value is read as a space. Theirs keeps it.
fn spaced(text: &str) -> String {
    text.replace("&#xA;", " ").replace("&#x9;", " ")
}

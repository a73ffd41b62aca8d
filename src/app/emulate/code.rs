//! The emulator's fixed code.

use crate::base::Secret;
use crate::directory::CodeSource;

/// The digits of a code.
const DIGITS: usize = 6;

/// One code for all messages.
#[derive(Clone, Debug)]
pub struct FixedCode(Secret);

impl FixedCode {
    /// Parses a code.
    ///
    /// # Errors
    /// Returns a message if it has not six digits.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_digit()) {
            true => Ok(Self(Secret::new(text))),
            false => Err(format!("a code has {DIGITS} digits")),
        }
    }
}

impl CodeSource for FixedCode {
    fn new_code(&self, _digits: usize) -> Secret {
        self.0.clone()
    }
}

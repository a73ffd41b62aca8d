//! The content of a message, which is stored encrypted.

use crate::base::Secret;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Recipient and text of a message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    /// The e-mail address or the telephone number.
    pub to: String,
    /// The subject of an e-mail; empty for a text message.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The HTML of an e-mail.
    pub html: Option<String>,
}

impl Content {
    /// Returns the stored form.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec(self).expect("invariant: strings are valid JSON"))
    }

    /// Parses the stored form. Returns `None` if it is invalid.
    pub fn of_json(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// Prints the message in the log. This is for deployments on a developer's machine.
    pub fn log(&self) {
        let Self { to, subject, text, .. } = self;
        tracing::info!(to, subject, text, "an e-mail, which `smtp = \"log\"` does not send");
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.text.zeroize();
        self.subject.zeroize();
        self.html.zeroize();
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Content").field(&Secret::new("")).finish()
    }
}

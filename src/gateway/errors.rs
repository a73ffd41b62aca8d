//! What the log says of an error. The text of pingora's errors holds the bytes that it could not
//! parse: a whole head of an upstream's response, cookies included. So of a text that was made at
//! run time nothing is logged.

use pingora_error::{Error, ImmutStr};
use std::fmt;

/// The source and kind of an error, and what is constant of its explanation.
pub struct Kind<'e>(pub &'e Error);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        write!(f, "{} {}", error.esource().as_str(), error.etype().as_str())?;
        let mut next = Some(*error);
        while let Some(error) = next {
            if let Some(ImmutStr::Static(text)) = &error.context {
                write!(f, ": {text}")?;
            }
            let cause = error.cause.as_deref();
            if let Some(io) = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>()) {
                write!(f, ": {}", io.kind())?;
            }
            next = cause.and_then(|cause| cause.downcast_ref::<Box<Error>>()).map(|error| &**error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora_error::ErrorType;

    #[test]
    fn bytes_of_a_message_are_not_shown() {
        let inner = Error::explain(ErrorType::InvalidHTTPHeader, format!("buf: {}", "Set-Cookie: a=secret"));
        let error = Error::because(ErrorType::ReadError, "while reading", inner).into_up();
        let error = error.more_context(format!("Peer: {}", "addr"));
        assert_eq!(Kind(&error).to_string(), "Upstream ReadError: while reading");
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "secret");
        let error = Error::because(ErrorType::WriteError, String::from("secret"), io).into_down();
        assert_eq!(Kind(&error).to_string(), "Downstream WriteError: connection reset");
    }
}

//! Formatting of errors for the log. The text of pingora's errors may contain the bytes that
//! pingora could not parse, such as a response head with cookies. Text that was built at run time
//! is therefore not logged.

use pingora_error::{Error, ImmutStr};
use std::fmt;

/// The source and type of an error, the constant explanations of the error and its causes, and the
/// kind of an I/O error.
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

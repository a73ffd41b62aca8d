//! The accept loop, and the check of each HTTP/1.1 message in front of the parser.

pub mod accept;
pub mod malformed;
pub mod strict_stream;

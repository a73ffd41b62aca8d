//! HTTP/1.1 message framing (RFC 9112): heads, chunked bodies, the messages of a connection.

pub mod chunks;
mod head;
pub mod message;

pub use head::*;

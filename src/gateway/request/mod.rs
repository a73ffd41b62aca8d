//! The parsed request: path, headers, CORS, and the local response.

pub mod bad_path;
pub mod cors;
pub mod headers;
mod info;
pub mod lenient_path;
pub mod local_response;
pub mod names;
pub mod path;

pub use info::*;

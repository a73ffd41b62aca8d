//! The parsed request: path, headers, CORS, and the local response.

mod authorization;
pub mod bad_path;
pub mod cors;
pub mod headers;
mod info;
pub mod lenient_path;
pub mod local_response;
pub mod names;
pub mod path;
mod sender;

pub use authorization::*;
pub use info::*;

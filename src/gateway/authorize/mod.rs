//! Matches a request to a route, authenticates it and evaluates its policies: the result is a
//! permit or a local response.

pub mod allow_list;
pub mod forward_auth;
pub mod policy_rule;
mod route_request;
mod second_factor;

pub use route_request::*;

//! Counters of requests and connections, and histograms by route.

mod counters;
pub mod routes;

pub use counters::*;

//! Forwarding of authorized requests to upstreams: with and without a body, deadlines, and
//! revalidation of long-lived requests.

pub mod bodyless;
pub mod request;
pub mod response_addresses;
pub mod revalidate;
pub mod timeouts;

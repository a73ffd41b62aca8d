//! Sends an authorized request to its upstream: with and without a body, deadlines, revalidation of
//! long requests.

pub mod bodyless;
pub mod request;
pub mod response_addresses;
pub mod revalidate;
pub mod timeouts;

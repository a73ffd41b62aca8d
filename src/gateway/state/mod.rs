//! What every request works with: the gateway, its routes, and long-lived requests.

pub mod gateway;
pub mod long_lived;
pub mod request_state;
pub mod routes;

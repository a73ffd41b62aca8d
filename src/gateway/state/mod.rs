//! The state that requests share: the gateway, its routes, credentials, and long-lived requests.

pub mod credentials;
pub mod gateway;
pub mod long_lived;
pub mod request_context;
pub mod request_state;
pub mod routes;
mod user_pools;

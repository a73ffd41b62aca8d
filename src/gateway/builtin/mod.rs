//! What the gateway answers itself on app hosts, and the user pool's endpoints in process.

pub mod app_host;
pub mod redirect_loops;
pub mod user_pool;
pub mod userinfo;

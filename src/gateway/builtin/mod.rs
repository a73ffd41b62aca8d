//! The gateway's own endpoints on app hosts, and the user pool's endpoints in the same process.

pub mod app_host;
mod callback;
mod redirect_loops;
pub mod sign_in;
mod sign_out;
pub mod user_pool;
mod userinfo;

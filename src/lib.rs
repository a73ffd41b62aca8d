//! Narthex.
pub mod base;
pub mod config;
pub mod jose;
pub mod policy;
pub mod model;
pub mod store;
pub mod catalogue;
pub mod token;
pub mod directory;
pub mod provider;
pub mod broker;
pub mod access;
pub mod hosted;
pub mod oauth;
pub mod gateway;
pub mod app;

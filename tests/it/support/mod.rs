//! Clients, providers and apps of the tests.

pub mod accounts;
pub mod aws;
pub mod browser;
pub mod certificates;
pub mod documented;
pub mod engine;
pub mod exceptions;
pub mod json;
pub mod lemonldap;
pub mod load;
pub mod mail;
pub mod model_cases;
pub mod narthex;
pub mod odd_provider;
pub mod orders;
pub mod pages;
pub mod parties;
pub mod process;
pub mod raw;
pub mod saml_provider;
pub mod simplesamlphp;
pub mod stand_in;
pub mod tunnel;
pub mod upstream;
pub mod visitor;
pub mod wire;

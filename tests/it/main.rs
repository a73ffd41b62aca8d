//! The real binary against real parties. Tests act as somebody: a person with a browser, a visitor
//! with a cookie jar, a program, an attacker with a socket; always through public addresses.

// Tests with many cases, and the servers they start, may be longer than the program's functions.
#![allow(clippy::too_many_lines)]

/// Runs each test on each engine.
macro_rules! on_both_engines {
    ($($name:ident)*) => {
        mod sqlite {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(crate::support::engine::Engine::sqlite()).await; }
        )*}
        mod postgres {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(crate::support::engine::Engine::postgres()).await; }
        )*}
    };
}

mod support;
mod upgrade;

mod account_life;
mod account_page;
mod accounts;
mod apps;
mod bearer;
mod bearer_claims;
mod branding;
mod breached_passwords;
mod browser;
mod check;
mod check_values;
mod check_warnings;
mod client_assertions;
mod client_credentials;
mod client_logout;
mod clock;
mod cognito_admin;
mod cognito_admin_exceptions;
mod cognito_api;
mod cognito_auth_flows;
mod cognito_clients;
mod cognito_crash;
mod cognito_exceptions;
mod cognito_libraries;
mod cognito_linking;
mod cognito_mfa;
mod cognito_pools;
mod cognito_search;
mod cognito_shapes;
mod cognito_sign_in;
mod cognito_typed_errors;
mod cognito_user_names;
mod cognito_validation;
mod cognito_wire;
mod confirmation_links;
mod consent;
mod crash;
mod custom_challenges;
mod dead_ends;
mod desync;
mod devices;
mod direct;
mod docs;
mod dpop;
mod emulate;
mod examples;
mod explain;
mod file_pools;
mod first_factors;
mod framing;
mod full_disk;
mod gateway;
mod hosted;
mod hosted_browser;
mod hosted_codes;
mod hosted_mfa;
mod hostile;
mod hostile_saml;
mod hosts;
mod http2;
mod implicit;
mod import;
mod introspection;
mod launcher;
mod lemonldap;
mod linking;
mod load;
mod logout_tokens;
mod malicious_provider;
mod messages;
mod nodes;
mod oauth_attacks;
mod oauth_clients;
mod oauth_provider;
mod operations;
mod people;
mod people_differential;
mod people_lists;
mod people_storage;
mod policies;
mod policies_beside;
mod policy_grammar;
mod pools;
mod provider_answers;
mod pushed_requests;
mod registration;
mod reload;
mod remembered_devices;
mod replay;
mod reverse_proxies;
mod role_policies;
mod roles;
mod routes;
mod saml;
mod saml_browser;
mod saml_identity;
mod saml_logout;
mod saml_metadata;
mod saml_requests;
mod saml_rotation;
mod session_lifecycle;
mod sessions;
mod sign_in;
mod social;
mod spellings;
mod srp;
mod step_up;
mod store;
mod stored_programs;
mod streams;
mod timing;
mod trigger_sign_in;
mod trigger_tokens;
mod triggers;
mod user_tokens;
mod way_back;

//! The real binary against real parties. Tests act as somebody: a person with a browser, a visitor
//! with a cookie jar, a program, an attacker with a socket; always through public addresses.

mod support;
mod upgrade;

mod apps;
mod bearer;
mod beside;
mod browser;
mod check;
mod clock;
mod crash;
mod desync;
mod direct;
mod explain;
mod framing;
mod full_disk;
mod gateway;
mod hostile;
mod hostile_saml;
mod http2;
mod introspection;
mod lemonldap;
mod linking;
mod load;
mod lying_provider;
mod nodes;
mod over_time;
mod policies;
mod policies_beside;
mod policy_grammar;
mod programs;
mod provider_answers;
mod reload;
mod replay;
mod roles;
mod saml;
mod saml_browser;
mod saml_identity;
mod saml_requests;
mod sessions;
mod sign_in;
mod social;
mod spellings;
mod store;
mod streams;

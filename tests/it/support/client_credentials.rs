//! A user pool with API clients that get access tokens by their own credentials.

use super::narthex::Narthex;
use super::visitor::{Visitor, assert_status};
use reqwest::RequestBuilder;
use serde_json::Value;

/// As chance makes them: with signs that mean something else in a form.
pub const SECRET: &str = "k3+/wQ9z%41Zb0pYxTn7fRm2==";
pub const NEXT_SECRET: &str = "the-one-that-follows-0123456789";

/// Returns a pool with three API clients: one with the scopes read and write, one with read, and
/// one that only introspects tokens.
pub fn pool_toml(algorithm: &str) -> String {
    format!(
        "[[user_pool]]\nname = \"people\"\nsigning_algorithm = \"{algorithm}\"\n\
         [[user_pool.resource_server]]\nidentifier = \"photos\"\nscopes = [\"read\", \"write\"]\n\
         [[user_pool.client]]\nname = \"reporter\"\nid = \"reporter\"\nsecret = [\"{SECRET}\", \"{NEXT_SECRET}\"]\n\
         allowed_oauth_flows = [\"client_credentials\"]\nallowed_oauth_scopes = [\"photos/read\", \"photos/write\"]\n\
         access_token_validity = \"30m\"\n\
         [[user_pool.client]]\nname = \"reader\"\nsecret = \"{NEXT_SECRET}\"\nallowed_oauth_flows = [\"client_credentials\"]\n\
         allowed_oauth_scopes = [\"photos/read\"]\n\
         [[user_pool.client]]\nname = \"api\"\nid = \"api\"\nsecret = \"{NEXT_SECRET}\"\n"
    )
}

/// Returns a POST request to an OAuth 2.0 endpoint.
pub fn oauth2_request(narthex: &Narthex, endpoint: &str) -> RequestBuilder {
    Visitor::new(narthex).client.post(format!("{}/oauth2/{endpoint}", narthex.origin("auth")))
}

/// Returns a request to the token endpoint with this form.
pub fn token_request(narthex: &Narthex, form: &[(&str, &str)]) -> RequestBuilder {
    oauth2_request(narthex, "token").form(form)
}

pub const GRANT: (&str, &str) = ("grant_type", "client_credentials");

/// Requests an access token of the client with the scopes read and write.
pub async fn access_token(narthex: &Narthex) -> String {
    let answer =
        token_request(narthex, &[GRANT]).basic_auth("reporter", Some(NEXT_SECRET)).send().await.unwrap();
    assert_status(&answer, 200);
    answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
}

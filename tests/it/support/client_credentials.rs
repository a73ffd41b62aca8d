//! A user pool with API clients that get access tokens by their own credentials.

use super::narthex::Narthex;
use super::visitor::{Visitor, is};
use reqwest::RequestBuilder;
use serde_json::Value;

/// As chance makes them: with signs that mean something else in a form.
pub const SECRET: &str = "k3+/wQ9z%41Zb0pYxTn7fRm2==";
pub const NEXT: &str = "the-one-that-follows-0123456789";

/// A pool with three programs: one that may read and write, one that may read, and one that only
/// asks about tokens.
pub fn pool(algorithm: &str) -> String {
    format!(
        "[[user_pool]]\nname = \"people\"\nsigning_algorithm = \"{algorithm}\"\n\
         [[user_pool.resource_server]]\nidentifier = \"photos\"\nscopes = [\"read\", \"write\"]\n\
         [[user_pool.client]]\nname = \"reporter\"\nid = \"reporter\"\nsecret = [\"{SECRET}\", \"{NEXT}\"]\n\
         allowed_oauth_flows = [\"client_credentials\"]\nallowed_oauth_scopes = [\"photos/read\", \"photos/write\"]\n\
         access_token_validity = \"30m\"\n\
         [[user_pool.client]]\nname = \"reader\"\nsecret = \"{NEXT}\"\nallowed_oauth_flows = [\"client_credentials\"]\n\
         allowed_oauth_scopes = [\"photos/read\"]\n\
         [[user_pool.client]]\nname = \"api\"\nid = \"api\"\nsecret = \"{NEXT}\"\n"
    )
}

pub fn post(narthex: &Narthex, endpoint: &str) -> RequestBuilder {
    Visitor::new(narthex).client.post(format!("{}/oauth2/{endpoint}", narthex.origin("auth")))
}

pub fn ask(narthex: &Narthex, form: &[(&str, &str)]) -> RequestBuilder {
    post(narthex, "token").form(form)
}

pub const GRANT: (&str, &str) = ("grant_type", "client_credentials");

/// A token of the program that may read and write.
pub async fn token(narthex: &Narthex) -> String {
    let answer = ask(narthex, &[GRANT]).basic_auth("reporter", Some(NEXT)).send().await.unwrap();
    is(&answer, 200);
    answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
}

//! Libraries for Cognito, driven by orders.

use super::aws::Api;
use super::orders::Orders;
use serde_json::json;

/// A library that uses this app client: `identityJs`, `sdk`, `amplify` or `pycognito`.
pub fn client(api: &Api, library: &str, client_id: &str, client_secret: Option<&str>) -> Orders {
    let authority = api.narthex.folder().join("certs/local-authority.pem");
    let config = json!({
        "endpoint": format!("{}/", api.narthex.origin("auth")),
        "poolId": api.pool_id(),
        "clientId": client_id,
        "clientSecret": client_secret,
        "region": "us-east-1",
        "ca": authority,
    });
    if library == "pycognito" {
        return Orders::python("pycognito-client.py", &[&config.to_string()]);
    }
    Orders::node("cognito-client.mjs", &[library, &config.to_string()], &authority)
}

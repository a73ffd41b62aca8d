//! The public keys, as a key set (RFC 7517, section 5) and as PEM.

use super::{Reply, Shared};
use crate::hosted::{Answer, Failure, body};
use crate::token::KEY_SET_CACHE;
use axum::extract::{Path, State};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use jsonwebtoken::jwk::JwkSet;

pub(super) async fn jwks(State(pool): Shared) -> Reply {
    let set = JwkSet { keys: pool.keys.current().published.iter().map(|key| key.jwk().clone()).collect() };
    let text = serde_json::to_string(&set).map_err(|_| Failure::internal());
    Reply(text.map(|text| cached(body(StatusCode::OK, "application/json", text))))
}

pub(super) async fn pem(State(pool): Shared, Path(kid): Path<String>) -> Reply {
    let keys = pool.keys.current();
    let key = keys.published.iter().find(|key| key.kid() == kid).ok_or_else(Failure::not_found);
    Reply(key.map(|key| cached(body(StatusCode::OK, "application/x-pem-file", key.pem().to_owned()))))
}

fn cached(mut answer: Answer) -> Answer {
    let text = format!("public, max-age={}", KEY_SET_CACHE.as_secs());
    if let Ok(value) = HeaderValue::from_str(&text) {
        answer.headers_mut().insert(CACHE_CONTROL, value);
    }
    answer
}

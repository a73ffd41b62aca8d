//! `/oauth2/userInfo` (OpenID Connect Core 1.0, section 5.3).

use super::error::EndpointError;
use super::{AppState, Reply, RequestData, Shared, dpop};
use crate::directory::TokenUser;
use crate::jose::Algorithm;
use crate::pages::{ErrorResponse, HttpResponse, with_body};
use crate::token::{Proof, attribute_claim, client_of_access_token, is_released};
use axum::extract::State;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

pub(super) async fn user_info(State(app): Shared, method: Method, info: RequestData) -> Reply {
    let mut response = match claims(&app, &info, &method).await {
        Ok(claims) => with_body(StatusCode::OK, "application/json", Value::Object(claims).to_string()),
        Err(Refused::Token(error)) => refused(&info, error),
        Err(Refused::Failure(failure)) => return Reply(Err(failure)),
    };
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Reply(Ok(response))
}

/// Why there are no claims.
enum Refused {
    /// The token is refused, with an error code of RFC 6750, section 3.1, or RFC 9449, section 7.1.
    Token(&'static str),
    Failure(ErrorResponse),
}

impl From<EndpointError> for Refused {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::Error(error) => Self::Token(error.code),
            EndpointError::Failure(failure) => Self::Failure(failure),
        }
    }
}

/// Returns the access token of the request, and the proof of the key to which it is bound.
fn presented<'i>(
    app: &AppState,
    info: &'i RequestData,
    method: &Method,
) -> Result<(&'i str, Option<Proof>), Refused> {
    let invalid = || Refused::Token("invalid_token");
    if info.count(&AUTHORIZATION) != 1 {
        return Err(Refused::Token(""));
    }
    let header = info.header(AUTHORIZATION.as_str()).ok_or_else(invalid)?;
    let (scheme, token) = header.split_once(' ').ok_or_else(invalid)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok((token, None));
    }
    if !scheme.eq_ignore_ascii_case("dpop") {
        return Err(Refused::Token(""));
    }
    let proof = dpop::proof(app, info, method, "/oauth2/userInfo", Some(token));
    let proof = proof.map_err(|error| Refused::Token(error.code))?;
    Ok((token, Some(proof.ok_or(Refused::Token("invalid_dpop_proof"))?)))
}

async fn claims(app: &AppState, info: &RequestData, method: &Method) -> Result<Map<String, Value>, Refused> {
    let invalid = || Refused::Token("invalid_token");
    let (token, proof) = presented(app, info, method)?;
    let key = proof.as_ref().map(|proof| &*proof.thumbprint);
    let failed = |error: crate::directory::DirectoryError| match error.kind() {
        crate::directory::ErrorKind::Internal => {
            tracing::error!(request_id = info.request_id, %error, "cannot verify an access token");
            Refused::Failure(ErrorResponse::unavailable())
        }
        _ => Refused::Token("invalid_token"),
    };
    let client_id = client_of_access_token(token).ok_or_else(invalid)?;
    let of = app.directory.pools.client(&client_id).await.map_err(failed)?.ok_or_else(invalid)?;
    let issuer = app.catalogue.load().issuer_of(&of.pool.id);
    let found =
        app.directory.tokens.user_of_access_token(&of.pool, &issuer, token, key).await.map_err(failed)?;
    if let Some(proof) = &proof {
        dpop::use_once(app, info, proof).await?;
    }
    let TokenUser { user, claims: of_token } = found;
    if !of_token.scope.split(' ').any(|scope| scope == "openid") {
        return Err(Refused::Token("insufficient_scope"));
    }
    let settings = &of.client.settings;
    let mut claims = Map::new();
    claims.insert("sub".into(), json!(user.id));
    for (name, value) in user.attributes.iter() {
        if settings.may_read(name) && is_released(&of_token.scope, name) && name != "sub" {
            claims.insert(name.to_owned(), attribute_claim(name, value));
        }
    }
    claims.insert("username".into(), json!(user.username));
    Ok(claims)
}

/// RFC 6750, section 3.1: without a token "the resource server SHOULD NOT include an error code".
fn refused(info: &RequestData, error: &'static str) -> HttpResponse {
    let status = if error == "insufficient_scope" { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
    let has_proof = info.count(&dpop::HEADER) > 0;
    let (challenge, body) = match error {
        "" => ("Bearer".to_owned(), json!({ "error": "invalid_token" })),
        error if error == "invalid_dpop_proof" || has_proof => {
            (format!("DPoP error=\"{error}\", algs=\"{}\"", Algorithm::names()), json!({ "error": error }))
        }
        error => (format!("Bearer error=\"{error}\""), json!({ "error": error })),
    };
    let mut response = with_body(status, "application/json", body.to_string());
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Answers the preflight of an app in a browser (Fetch Standard, section 3.2.2).
pub(super) async fn preflight() -> Reply {
    let mut response = HttpResponse::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, POST"),
        // aws-amplify names itself in the last one.
        ("access-control-allow-headers", "authorization, content-type, dpop, x-amz-user-agent"),
        ("access-control-max-age", "3600"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Reply(Ok(response))
}

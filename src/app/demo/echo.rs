//! The demo's app. It verifies the assertion as an app should: key set, issuer and audience.

use crate::catalogue::Route;
use crate::handlers::AppState;
use crate::pages::{STYLE, STYLE_PATH};
use askama::Template;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE};
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Map, Value};
use std::sync::{Arc, OnceLock};

type Shown = Arc<OnceLock<Arc<AppState>>>;

#[derive(Template)]
#[template(path = "echo.html")]
struct EchoPage {
    style: &'static str,
    request: String,
    name: Option<String>,
    facts: Vec<(&'static str, String)>,
    claims: String,
    links: Vec<Link>,
    headers: Vec<(String, String)>,
}

/// A page of the demo to look at.
struct Link {
    href: String,
    label: &'static str,
    about: &'static str,
}

/// Returns the links of the page for a user, a guest or a stranger.
fn links(pool: &AppState, user: Option<&str>) -> Vec<Link> {
    let public_url = pool.catalogue.load().config.public_url.clone();
    let link = |href: String, label, about| Link { href, label, about };
    let mut links = Vec::new();
    if let Some(user) = user {
        links.push(link(
            format!("/folders/{user}/"),
            "Your folder",
            "A policy with your subject as a variable allows it.",
        ));
        links.push(link(
            "/folders/somebody/".to_owned(),
            "Another folder",
            "The policy allows it to its owner alone.",
        ));
    }
    links.push(link("/folders/".to_owned(), "The lobby", "Guests may see it, too: sign out and try again."));
    links.push(link("/open".to_owned(), "A public page", "Everybody may see it."));
    if user.is_some() {
        links.push(link(
            public_url.join("/account"),
            "Your account",
            "Address, password, stored data, deletion.",
        ));
        links.push(link(public_url.join("/sessions"), "Your sessions", "Sign out one browser, or all."));
    }
    links
}

/// Returns the app's routes.
pub fn router(pool: Shown) -> Router {
    Router::new()
        .route("/style.css", get(|| async { ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) }))
        .fallback(echo)
        .with_state(pool)
}

async fn echo(State(pool): State<Shown>, request: Request) -> Response {
    let headers: Vec<(String, String)> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let claims = match text("x-amzn-oidc-data") {
        Some(token) => match pool.get().and_then(|pool| verify(pool, token)) {
            Some(claims) => Some(claims),
            None => return (StatusCode::FORBIDDEN, "the assertion does not verify\n").into_response(),
        },
        None => None,
    };
    if !text(ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/html")) {
        let json = serde_json::json!({
            "method": request.method().as_str(),
            "target": target,
            "identity": claims,
            "headers": headers,
        });
        return ([(CONTENT_TYPE, "application/json")], json.to_string()).into_response();
    }
    let Some(pool) = pool.get() else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    page(pool, &format!("{} {target}", request.method()), claims, headers)
}

fn page(
    pool: &AppState,
    request: &str,
    claims: Option<Map<String, Value>>,
    headers: Vec<(String, String)>,
) -> Response {
    let get = |name: &str| claims.as_ref()?.get(name)?.as_str().map(str::to_owned);
    let user = get("cognito:username");
    let facts =
        [("E-mail", "email"), ("User name", "cognito:username"), ("Subject", "sub"), ("Session", "sid")];
    let page = EchoPage {
        style: STYLE_PATH,
        request: request.to_owned(),
        // A guest has an identity, and no user name.
        name: user.as_ref().map(|user| get("name").or(get("email")).unwrap_or_else(|| user.clone())),
        links: links(pool, user.as_ref().and(get("sub")).as_deref()),
        facts: facts.into_iter().filter_map(|(label, claim)| Some((label, get(claim)?))).collect(),
        claims: claims
            .map_or_else(String::new, |claims| serde_json::to_string_pretty(&claims).unwrap_or_default()),
        headers: headers.into_iter().filter(|(name, _)| name.starts_with("x-")).collect(),
    };
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Verifies an assertion for this app and returns its claims.
fn verify(pool: &AppState, token: &str) -> Option<Map<String, Value>> {
    let catalogue = pool.catalogue.load();
    let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
    let keys = pool.keys.current();
    let key = keys.published.iter().find(|key| key.kid() == kid)?;
    let mut validation = Validation::new(key.jose_algorithm());
    validation.set_issuer(&[catalogue.config.public_url.to_string()]);
    let audiences: Vec<&str> = catalogue.routes().map(|route: &Arc<Route>| route.audience.as_str()).collect();
    validation.set_audience(&audiences);
    let key = DecodingKey::from_jwk(key.jwk()).ok()?;
    jsonwebtoken::decode(token, &key, &validation).ok().map(|token| token.claims)
}

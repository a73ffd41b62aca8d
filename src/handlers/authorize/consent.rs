//! `/consent`: the page that asks a user whether an app client may have its scopes.

use super::request::SignInRequest;
use super::response::{asks_consent, failed, grant, response_url};
use super::{page_url, usable_session};
use crate::authn::SessionPrincipal;
use crate::catalogue::Catalogue;
use crate::handlers::logout::own_origin;
use crate::handlers::{AppState, Handled, Reply, RequestData, Shared, form};
use crate::model::AuthorizationRequest;
use crate::pages::{ConsentPage, ErrorResponse, Texts, browser_action, see_other};
use crate::provider::BrowserAction;
use axum::extract::State;
use http::Method;
use std::sync::Arc;
use url::Url;

/// A request of a client whose user is signed in.
struct ConsentContext {
    catalogue: Arc<Catalogue>,
    request: SignInRequest,
    of: AuthorizationRequest,
    principal: SessionPrincipal,
}

/// Shows the page.
pub async fn consent(State(app): Shared, info: RequestData) -> Reply {
    Reply(show(&app, &info).await)
}

/// Answers the page's form.
pub async fn consent_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(decide(&app, &info, &body).await)
}

/// Reads the request of the page; the inner error is what the browser gets in its place.
async fn read(app: &AppState, info: &RequestData) -> Result<Result<ConsentContext, Handled>, ErrorResponse> {
    let catalogue = app.catalogue.load();
    let request = match SignInRequest::read(app, &catalogue, info, true).await {
        Ok(request) => request,
        Err(refusal) => return Ok(Err(refusal.into_response(info))),
    };
    let of = request.request.clone().filter(|of| !request.client.is_gateway && of.user_code.is_empty());
    let of = of.ok_or_else(ErrorResponse::not_found)?;
    if request.prompt.none {
        return Ok(Err(request.error("consent_required", "the user must be asked").into_response(info)));
    }
    if let Some(principal) = usable_session(app, info, &request).await?
        && asks_consent(app, info, &request.client, &of, principal.session()).await?
    {
        return Ok(Ok(ConsentContext { catalogue, request, of, principal }));
    }
    Ok(Err(see_other(&page_url(&catalogue, "/oauth2/authorize", Some(&of), &[]))))
}

async fn show(app: &AppState, info: &RequestData) -> Handled {
    let ConsentContext { catalogue, request, of, principal } = match read(app, info).await? {
        Ok(context) => context,
        Err(answer) => return answer,
    };
    let t = request.texts(info);
    let other = [("prompt", super::OTHER_ACCOUNT)];
    ConsentPage {
        t,
        brand: request.client.brand(&catalogue),
        title: t.app_asks.replace("{}", &request.client.of.client.settings.name),
        account: principal.user().display_name().to_owned(),
        code: String::new(),
        scopes: scope_descriptions(t, &of.scope),
        site: site_of(&of.redirect_uri),
        action: page_url(&catalogue, "/consent", Some(&of), &[]),
        hidden: vec![("user", principal.user().id.clone())],
        other_account: page_url(&catalogue, "/oauth2/authorize", Some(&of), &other),
    }
    .answer()
}

async fn decide(app: &AppState, info: &RequestData, body: &str) -> Handled {
    info.same_origin(&own_origin(app))?;
    let ConsentContext { catalogue, request, of, principal } = match read(app, info).await? {
        Ok(context) => context,
        Err(answer) => return answer,
    };
    let fields = form(body).ok_or_else(ErrorResponse::bad_request)?;
    let (client, user) = (&request.client, principal.user());
    // Somebody else may have signed in since the page was shown.
    if fields.get("user") != Some(&user.id) {
        return show(app, info).await;
    }
    let is_allowed = fields.get("decision").is_some_and(|decision| decision == "allow");
    tracing::info!(
        target: "audit",
        event = "consent_decided",
        request_id = info.request_id,
        client = info.client(),
        client_id = of.client_id,
        sub = user.id,
        scope = of.scope,
        is_allowed,
    );
    let to = match is_allowed {
        true => {
            let granted = app.directory.deps.grant_consent(&user.id, &of.client_id, &of.scope).await;
            granted.map_err(|error| failed(info, &error))?;
            let of = AuthorizationRequest { asks_consent: false, ..of };
            grant(app, &catalogue, info, client, &of, principal.session()).await?
        }
        // RFC 6749, section 4.1.2.1: "The resource owner or authorization server denied the
        // request."
        false => {
            let mut pairs = vec![("error", "access_denied"), ("error_description", "the user denied it")];
            if !of.state.is_empty() {
                pairs.push(("state", &of.state));
            }
            response_url((of.response_type, &of.redirect_uri), &client.issuer, &pairs)?
        }
    };
    let to = Url::parse(&to).map_err(|_| ErrorResponse::internal())?;
    browser_action(&BrowserAction::Redirect(to), &Method::POST, request.texts(info))
}

/// Returns the host of a redirect URI, or the scheme of an app.
fn site_of(redirect_uri: &str) -> String {
    let Ok(url) = Url::parse(redirect_uri) else { return String::new() };
    match url.scheme() {
        "http" | "https" => url.host_str().unwrap_or_default().to_owned(),
        scheme => format!("{scheme}:"),
    }
}

/// Returns what each scope means; a resource server's is shown as it is.
pub fn scope_descriptions(t: &Texts, scope: &str) -> Vec<String> {
    let known = [
        ("openid", &t.scope_openid),
        ("email", &t.scope_email),
        ("phone", &t.scope_phone),
        ("profile", &t.scope_profile),
        ("aws.cognito.signin.user.admin", &t.scope_account),
    ];
    let describe = |scope: &str| {
        known.iter().find(|(name, _)| *name == scope).map_or(scope, |(_, words)| words).to_owned()
    };
    scope.split(' ').filter(|scope| !scope.is_empty()).map(describe).collect()
}

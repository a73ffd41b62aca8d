//! HTTP endpoints of the user pool: authorization, provider callbacks, logout, tokens, keys, home
//! page. Handlers return failures as values; [`answer`] renders them as pages or JSON.

mod account;
mod authorize;
mod backchannel;
mod branding;
mod callback;
mod client;
mod client_assertion;
mod dpop;
mod error;
mod grants;
mod home;
mod hosted;
mod keys;
mod limits;
mod logout;
mod metrics;
mod registration;
mod request;
mod saml;
mod sessions;
mod token;
mod user_info;

pub use authorize::{AuthorizationUrl, authorization_url, expired_attempts, surplus_attempts};
pub use branding::branding_url;
pub use callback::audit_replaced_session;
pub use limits::Limits;
pub use logout::{ClientsError, after_sign_out, end_session, notify_clients};
pub use request::{Form, RequestData, RequestOrigin, form};

use crate::authn::{ClientKeys, POOL_COOKIE, SessionAuthenticator, SessionPrincipal, cookie_value};
use crate::base::{Clock, Entropy};
use crate::broker::Broker;
use crate::catalogue::CatalogueCell;
use crate::directory::Directory;
use crate::identity::IdentityDirectory;
use crate::model::CookieScope;
use crate::pages::{self, ErrorResponse, HttpResponse, ResponseContext};
use crate::provider::ProviderHttpClient;
use crate::store::{Store, StoreError};
use crate::token::{AccessTokens, KeyChain};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use http_body_util::BodyExt as _;
use std::sync::Arc;
use tower_service::Service as _;

/// Shared state of the handlers.
pub struct AppState {
    /// The current catalogue.
    pub catalogue: Arc<CatalogueCell>,
    /// Logins at providers.
    pub broker: Arc<Broker>,
    /// Sessions and their cookies.
    pub sessions: Arc<SessionAuthenticator>,
    /// The database.
    pub store: Store,
    /// The user pools.
    pub directory: Arc<Directory>,
    /// The identities of users, which select their roles.
    pub identities: Arc<IdentityDirectory>,
    /// The keys of assertions.
    pub keys: Arc<KeyChain>,
    /// Issued access tokens.
    pub access_tokens: Arc<AccessTokens>,
    /// The public keys of app clients.
    pub client_keys: ClientKeys,
    /// The HTTP client for calls to app clients.
    pub outbound: ProviderHttpClient,
    /// What addresses and app clients may do at most.
    pub limits: Limits,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random number generator.
    pub entropy: Arc<dyn Entropy>,
}

type Shared = State<Arc<AppState>>;

/// A failure that [`answer`] renders.
#[derive(Clone)]
struct FailedResponse(ErrorResponse);

/// A handler's result.
type Handled = Result<HttpResponse, ErrorResponse>;

/// Returns the user pool's routes, below the path of `public_url`.
pub fn router(app: Arc<AppState>) -> Router {
    Router::new()
        .route("/", get(home::get))
        .route("/app-icons/{file}", get(home::icon))
        .route("/login", get(authorize::login).post(hosted::login_form))
        .route("/loginCode", post(hosted::first_code_form))
        .route("/newPassword", post(hosted::new_password_form))
        .route("/mfa", post(hosted::factor_form))
        .route("/mfaSetup", post(hosted::set_up_form))
        .route("/signup", get(hosted::sign_up).post(hosted::sign_up_form))
        .route("/confirmUser", get(hosted::confirm_user).post(hosted::confirm_user_form))
        .route("/resendCode", post(hosted::resend_code_form))
        .route("/forgotPassword", get(hosted::forgot_password).post(hosted::forgot_password_form))
        .route(
            "/confirmForgotPassword",
            get(hosted::confirm_forgot_password).post(hosted::confirm_forgot_password_form),
        )
        .route("/logout", get(logout::get).post(logout::post))
        .route("/oauth2/authorize", get(authorize::authorize).post(authorize::authorize_form))
        .route(
            "/oauth2/device_authorization",
            post(authorize::device_authorization).options(user_info::preflight),
        )
        .route("/device", get(authorize::device).post(authorize::device_form))
        .route("/device/decision", post(authorize::device_decision))
        .route("/consent", get(authorize::consent).post(authorize::consent_form))
        .route("/oauth2/par", post(authorize::push).options(user_info::preflight))
        .route("/oauth2/idpresponse/{provider}", get(callback::idpresponse).post(callback::idpresponse_form))
        .route("/oauth2/backchannel-logout/{provider}", post(backchannel::post))
        .route("/saml2/metadata/{provider}", get(saml::metadata))
        .route("/saml2/idpresponse/{provider}", get(saml::resume).post(saml::post))
        .route("/saml2/logout/{provider}", get(saml::logout_query).post(saml::logout_form))
        .route("/branding/{pool_id}/{client_id}/{file}", get(branding::file))
        .merge(account_routes())
        .route("/sessions", get(sessions::get).post(sessions::post))
        .route("/.well-known/jwks.json", get(keys::jwks))
        .route("/public-keys/{kid}", get(keys::pem))
        .route("/oauth2/token", post(token::token).options(user_info::preflight))
        .route("/oauth2/revoke", post(token::revoke).options(user_info::preflight))
        .route(
            "/oauth2/userInfo",
            get(user_info::user_info).post(user_info::user_info).options(user_info::preflight),
        )
        .route("/oauth2/introspect", post(token::introspect))
        .route("/{pool_id}/register", post(registration::register))
        .route("/{pool_id}/.well-known/jwks.json", get(keys::pool_jwks))
        // For an issuer with a path, OpenID Connect Discovery 1.0, section 4, appends the
        // well-known path, and RFC 8414, section 3.1, inserts it.
        .route("/{pool_id}/.well-known/openid-configuration", get(keys::metadata))
        .route("/.well-known/oauth-authorization-server/{pool_id}", get(keys::metadata))
        .fallback(|| async { Reply(Err(ErrorResponse::not_found())) })
        .method_not_allowed_fallback(|| async { Reply(Err(ErrorResponse::not_found())) })
        .with_state(app)
}

/// Returns the routes of a user's own account.
fn account_routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/account", get(account::get).post(account::profile_form))
        .route("/account/email", post(account::email_form))
        .route("/account/phone", post(account::phone_form))
        .route("/account/verify", post(account::verify_form))
        .route("/account/password", post(account::password_form))
        .route("/account/mfa", post(account::new_token_form))
        .route("/account/mfa/verify", post(account::confirm_token_form))
        .route("/account/mfa/remove", post(account::remove_token_form))
        .route("/account/mfa/codes", post(account::recovery_codes_form))
        .route("/account/mfa/message", post(account::message_factor_form))
        .route("/account/data", get(account::data))
        .route("/account/delete", post(account::delete_form))
}

/// Returns the response of `router` to a request; renders failures.
pub async fn answer(router: &Router, request: Request, visitor: &ResponseContext) -> HttpResponse {
    let Ok(response) = router.clone().call(request).await;
    let (parts, body) = response.into_parts();
    if let Some(FailedResponse(failure)) = parts.extensions.get() {
        return failure.into_response(visitor);
    }
    // Handlers return complete bodies: collecting them neither waits nor copies.
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return ErrorResponse::internal().into_response(visitor),
    };
    pages::add_common_headers(HttpResponse::from_parts(parts, body), visitor)
}

/// A handler's result as an axum response.
struct Reply(Handled);

impl axum::response::IntoResponse for Reply {
    fn into_response(self) -> axum::response::Response {
        match self.0 {
            Ok(response) => response.map(Body::from),
            Err(failure) => {
                let mut response = axum::response::Response::new(Body::empty());
                *response.status_mut() = failure.status;
                response.extensions_mut().insert(FailedResponse(failure));
                response
            }
        }
    }
}

/// Returns the principal of the request's pool cookie.
async fn session_principal(
    app: &AppState,
    info: &RequestData,
) -> Result<Option<SessionPrincipal>, ErrorResponse> {
    principal(app, info).await.map_err(|error| unavailable(info, &error))
}

async fn principal(app: &AppState, info: &RequestData) -> Result<Option<SessionPrincipal>, StoreError> {
    let Some(cookie) = cookie_value(info.cookies(), POOL_COOKIE) else { return Ok(None) };
    app.sessions.authenticate(cookie, CookieScope::Pool, app.clock.moment()).await
}

/// Returns the error for a failed sign-out: the session stays active, and the user must be
/// informed.
fn sign_out_unavailable(app: &AppState, info: &RequestData, error: &StoreError) -> ErrorResponse {
    tracing::error!(request_id = info.request_id, %error, "cannot end a session: database error");
    let again = app.catalogue.load().config.public_url.join("/logout");
    ErrorResponse::sign_out_unavailable().with_action("Try again", again)
}

fn unavailable(info: &RequestData, error: &StoreError) -> ErrorResponse {
    tracing::error!(request_id = info.request_id, %error, "database error");
    ErrorResponse::unavailable()
}

/// Maximum length of a form that becomes a query, in bytes: browsers and Narthex limit addresses.
const MAX_QUERY_LENGTH: usize = 8192;

/// Redirects the browser to `path` with the parameters of a form as its query. The form of another
/// site comes without the session, because `SameSite=Lax` withholds the cookie; the request that
/// follows the redirect is a GET, and has it.
fn form_as_query(app: &AppState, path: &str, text: &str) -> Handled {
    if text.len() > MAX_QUERY_LENGTH {
        return Err(ErrorResponse::bad_request());
    }
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let query = query.extend_pairs(url::form_urlencoded::parse(text.as_bytes())).finish();
    pages::see_other(&app.catalogue.load().config.public_url.join(&format!("{path}?{query}")))
}

//! Authorization requests: the client, and what it asks for (RFC 6749, section 4.1.1; OpenID
//! Connect Core 1.0, section 3.1.2.1).

use super::FACTOR_AGE;
use super::client::{self, SignInClient};
use super::pushed;
use super::response::response_url;
use crate::base::Timestamp;
use crate::catalogue::Catalogue;
use crate::directory::{DirectoryError, ErrorKind};
use crate::handlers::{AppState, Form, RequestData};
use crate::model::{AcrLevel, AppClientSettings, AuthorizationRequest, ResponseType};
use crate::pages::{ErrorResponse, HttpResponse, Texts, see_other};
use crate::token::is_thumbprint;

/// Maximum length of a login hint in bytes: an e-mail address has at most 254 characters (RFC 5321,
/// errata 1690).
const MAX_LOGIN_HINT_LENGTH: usize = 254;
/// Maximum length of `state` and `nonce`, which a cookie holds during a sign-in at a provider.
const MAX_STATE_LENGTH: usize = 1024;
const MAX_NONCE_LENGTH: usize = 512;
/// Maximum length of a user code, which people may type with spaces or hyphens.
const MAX_USER_CODE_LENGTH: usize = 64;
/// Length of an S256 challenge (RFC 7636, section 4.2).
const CHALLENGE_LENGTH: usize = 43;
/// Parameters that are not supported, with the error of OpenID Connect Core 1.0, section 3.1.2.6.
const UNSUPPORTED: [(&str, &str); 3] = [
    ("request", "request_not_supported"),
    ("request_uri", "request_uri_not_supported"),
    ("registration", "registration_not_supported"),
];

/// A request to sign in, with its client.
pub struct SignInRequest {
    /// The client.
    pub client: SignInClient,
    /// The authorization request; `None` for a sign-in to the sign-in host's own pages.
    pub request: Option<AuthorizationRequest>,
    /// The provider that the browser is to be sent to.
    pub provider: Option<String>,
    /// A hint about the user's identity.
    pub login_hint: Option<String>,
    /// What the client wants the user to be asked.
    pub prompt: Prompt,
    /// The greatest age of the authentication, in seconds.
    pub max_age: Option<u64>,
    /// The value of `lang` or `ui_locales`.
    pub language: Option<String>,
    /// When the client pushed the request.
    pub pushed_at: Option<Timestamp>,
}

/// The values of `prompt` that have an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// `none`: no page may be shown.
    pub none: bool,
    /// `login`: the user signs in again.
    pub login: bool,
    /// `select_account`: the provider asks for an account.
    pub select_account: bool,
    /// `consent`: the user is asked for consent again.
    pub consent: bool,
}

/// The reason for which an authorization request was refused.
pub enum AuthorizeError {
    /// RFC 6749, section 4.1.2.1: with a wrong client or redirect URI the server "MUST NOT
    /// automatically redirect the user-agent to the invalid redirection URI".
    Page(&'static str),
    /// Any other error is returned to the client.
    Client(ClientError),
    /// The database failed.
    Failure(ErrorResponse),
}

/// An error that is returned to the client as a code.
#[derive(Clone, Debug)]
pub struct ClientError {
    /// The `iss` of the response.
    pub issuer: String,
    /// What the client asked for.
    pub response_type: ResponseType,
    /// The redirect URI, which is the client's.
    pub redirect_uri: String,
    /// The client's `state`; empty if it sent none.
    pub state: String,
    /// The code.
    pub error: &'static str,
    /// The description for developers.
    pub description: &'static str,
}

impl SignInRequest {
    /// Reads the request of a browser. `needs_client` is false for pages that also work without an
    /// authorization request.
    ///
    /// # Errors
    /// Returns the reason for which it is refused.
    pub async fn read(
        app: &AppState,
        catalogue: &Catalogue,
        info: &RequestData,
        needs_client: bool,
    ) -> Result<Self, AuthorizeError> {
        let mut form = info.parameters().ok_or(AuthorizeError::Page("a parameter comes twice"))?;
        let client_id = form.remove("client_id");
        let app_client = match client_id.as_deref().filter(|id| *id != catalogue.gateway_client) {
            Some(id) => {
                let found =
                    client::app_client(app, catalogue, id).await.map_err(|error| failed(info, &error))?;
                Some(found.ok_or(AuthorizeError::Page("client_id is of no client"))?)
            }
            None => None,
        };
        if let Some(client) = app_client {
            if let Some(user_code) = form.remove("user_code") {
                return Self::of_device(client, form, user_code);
            }
            let (form, pushed_at) = pushed::resolve(app, info, &client, form).await?;
            let read = Self { pushed_at, ..Self::of_client(catalogue, client, form)? };
            let is_pushed = pushed_at.is_some();
            // RFC 9126, section 5: "indicating whether the authorization server accepts
            // authorization request data only via PAR".
            return match read.client.of.client.settings.extensions.require_pushed_requests && !is_pushed {
                true => Err(read.error("invalid_request", "the client must push its requests")),
                false => Ok(read),
            };
        }
        let client = client::gateway(app, catalogue).await.map_err(|error| failed(info, &error))?;
        let mut read = Self::of_form(client, &mut form);
        if !needs_client && client_id.is_none() && !form.contains_key("redirect_uri") {
            return Ok(read);
        }
        let client_id = client_id.ok_or(AuthorizeError::Page("client_id is missing"))?;
        read.request = Some(gateway_request(catalogue, form, client_id)?);
        Ok(read)
    }

    /// Reads the request of an app client.
    ///
    /// # Errors
    /// Returns the reason for which it is refused.
    pub fn of_client(
        catalogue: &Catalogue,
        client: SignInClient,
        mut form: Form,
    ) -> Result<Self, AuthorizeError> {
        let mut read = Self::of_form(client, &mut form);
        let by_identifier = form
            .remove("idp_identifier")
            .and_then(|domain| read.client.provider_of(catalogue, &format!("@{domain}")));
        read.provider = read.provider.or(by_identifier);
        read.request = Some(client_request(&read, form)?);
        Ok(read)
    }

    /// Reads the request of a device, whose user code the user has entered.
    fn of_device(client: SignInClient, mut form: Form, user_code: String) -> Result<Self, AuthorizeError> {
        let mut read = Self::of_form(client, &mut form);
        let of = &read.client.of.client;
        if !of.settings.extensions.device_authorization || user_code.len() > MAX_USER_CODE_LENGTH {
            return Err(AuthorizeError::Page("the client is not for devices"));
        }
        let client_id = of.id.clone();
        read.request = Some(AuthorizationRequest { client_id, user_code, ..AuthorizationRequest::default() });
        Ok(read)
    }

    /// Reads what the requests of all clients have.
    fn of_form(client: SignInClient, form: &mut Form) -> Self {
        let plain =
            |hint: &String| hint.len() <= MAX_LOGIN_HINT_LENGTH && !hint.chars().any(char::is_control);
        Self {
            client,
            request: None,
            provider: form.remove("identity_provider"),
            login_hint: form.remove("login_hint").map(|hint| hint.trim().to_owned()).filter(plain),
            prompt: Prompt::read(form.get("prompt").map_or("", String::as_str)),
            max_age: form.get("max_age").and_then(|age| age.parse().ok()),
            language: form.remove("lang").or_else(|| form.remove("ui_locales")),
            pushed_at: None,
        }
    }

    /// Returns the texts of the pages: in the language that the client asks for, or the browser's.
    pub fn texts(&self, info: &RequestData) -> &'static Texts {
        info.texts_of(self.language.as_deref().unwrap_or_default())
    }

    /// Returns an error that the request is answered with.
    pub fn error(&self, error: &'static str, description: &'static str) -> AuthorizeError {
        match self.request.as_ref().filter(|request| request.user_code.is_empty()) {
            None => AuthorizeError::Page(description),
            Some(request) => refuse(&self.client.issuer, request, error, description),
        }
    }
}

impl Prompt {
    fn read(text: &str) -> Self {
        let has = |name: &str| text.split(' ').any(|value| value == name);
        Self {
            none: has("none"),
            login: has("login"),
            select_account: has("select_account"),
            consent: has("consent"),
        }
    }
}

impl AuthorizeError {
    /// Redirects with the error to the client, or returns an error page if the redirect URI is not
    /// trusted.
    ///
    /// # Errors
    /// The error page.
    pub fn into_response(self, info: &RequestData) -> Result<HttpResponse, ErrorResponse> {
        let refused =
            |why| tracing::warn!(request_id = info.request_id, why, "an authorization request was refused");
        match self {
            Self::Failure(failure) => Err(failure),
            Self::Page(why) => {
                refused(why);
                Err(ErrorResponse::bad_request())
            }
            Self::Client(ClientError { issuer, response_type, redirect_uri, state, error, description }) => {
                refused(description);
                let mut pairs = vec![("error", error), ("error_description", description)];
                if !state.is_empty() {
                    pairs.push(("state", &state));
                }
                see_other(&response_url((response_type, &redirect_uri), &issuer, &pairs)?)
            }
        }
    }
}

fn failed(info: &RequestData, error: &DirectoryError) -> AuthorizeError {
    if error.kind() == ErrorKind::PoolNotFound {
        return AuthorizeError::Failure(ErrorResponse::no_provider());
    }
    tracing::error!(request_id = info.request_id, %error, "cannot read an app client");
    AuthorizeError::Failure(ErrorResponse::unavailable())
}

/// Reads a request of the gateway for one of its app hosts.
fn gateway_request(
    catalogue: &Catalogue,
    mut form: Form,
    client_id: String,
) -> Result<AuthorizationRequest, AuthorizeError> {
    let redirect_uri = form.remove("redirect_uri").ok_or(AuthorizeError::Page("redirect_uri is missing"))?;
    // RFC 9700, section 2.1: "authorization servers MUST utilize exact string matching".
    if catalogue.host_of_callback(&redirect_uri).is_none() {
        return Err(AuthorizeError::Page("redirect_uri is not one of the client's"));
    }
    let issuer = catalogue.config.public_url.to_string();
    let levels = AcrLevel::parse_list(form.get("acr_values").map_or("", String::as_str));
    let factor_age = form.get(FACTOR_AGE).and_then(|age| age.parse().ok());
    let request = AuthorizationRequest {
        client_id,
        redirect_uri,
        levels,
        factor_age,
        ..AuthorizationRequest::default()
    };
    let request = read_response_type(&issuer, request, &mut form, &[ResponseType::Code])?;
    let request = read_challenge(&issuer, request, &mut form, true)?;
    match request.state.is_empty() {
        true => Err(refuse(&issuer, &request, "invalid_request", "state is missing or too long")),
        false => Ok(request),
    }
}

/// Reads a request of an app client.
fn client_request(read: &SignInRequest, mut form: Form) -> Result<AuthorizationRequest, AuthorizeError> {
    let (of, issuer) = (&read.client.of, &read.client.issuer);
    let settings = &of.client.settings;
    let redirect_uri = form.remove("redirect_uri").or_else(|| settings.default_redirect_uri.clone());
    let redirect_uri = redirect_uri.ok_or(AuthorizeError::Page("redirect_uri is missing"))?;
    if !settings.callback_urls.contains(&redirect_uri) {
        return Err(AuthorizeError::Page("redirect_uri is not one of the client's"));
    }
    let client_id = of.client.id.clone();
    let request_uri = match form.get("request_uri").is_some_and(|uri| pushed::is_pushed(uri)) {
        true => form.remove("request_uri").unwrap_or_default(),
        false => String::new(),
    };
    let levels = AcrLevel::parse_list(form.get("acr_values").map_or("", String::as_str));
    let request = AuthorizationRequest {
        client_id,
        redirect_uri,
        request_uri,
        levels,
        ..AuthorizationRequest::default()
    };
    // Only a client that is set to it can ask for tokens: RFC 9700, section 2.1.2, clients "SHOULD
    // NOT use the implicit grant".
    let has_tokens = settings.allows_oauth_flow(ResponseType::Token.flow());
    let types = [ResponseType::Code, ResponseType::Token];
    let request =
        read_response_type(issuer, request, &mut form, if has_tokens { &types } else { &types[..1] })?;
    let invalid = |description| refuse(issuer, &request, "invalid_request", description);
    if !settings.allows_oauth_flow(request.response_type.flow()) {
        let why = "the client may not use the authorization code grant";
        return Err(refuse(issuer, &request, "unauthorized_client", why));
    }
    if form.get("response_mode").is_some_and(|mode| mode != request.response_type.mode()) {
        return Err(invalid("response_mode must be query for a code, and fragment for tokens"));
    }
    if let Some((error, description)) = unsupported(read, &request, &form) {
        return Err(refuse(issuer, &request, error, description));
    }
    if read.provider.as_ref().is_some_and(|name| !read.client.offers(name)) {
        return Err(invalid("identity_provider is none of the client's"));
    }
    let nonce = form.remove("nonce").unwrap_or_default();
    if nonce.len() > MAX_NONCE_LENGTH {
        return Err(invalid("nonce is too long"));
    }
    // RFC 9449, section 10.
    let dpop_jkt = form.remove("dpop_jkt").unwrap_or_default();
    if !dpop_jkt.is_empty() && !is_thumbprint(&dpop_jkt) {
        return Err(invalid("dpop_jkt is not the thumbprint of a key"));
    }
    let is_token = request.response_type == ResponseType::Token;
    if is_token && (!dpop_jkt.is_empty() || settings.extensions.dpop_bound_access_tokens) {
        return Err(invalid("tokens that are bound to a key need a code"));
    }
    let scope = granted_scope(settings, form.get("scope").map(String::as_str)).ok_or_else(|| {
        refuse(issuer, &request, "invalid_scope", "the client may not have a scope that it asks for")
    })?;
    // RFC 9700, section 2.1.1: "Public clients MUST use PKCE". Without a code there is nothing to
    // prove.
    let request = match is_token {
        true => request,
        false => read_challenge(issuer, request, &mut form, of.secrets.is_empty())?,
    };
    Ok(AuthorizationRequest { nonce, scope, dpop_jkt, asks_consent: read.prompt.consent, ..request })
}

/// Returns the error of a request that asks how the user is authenticated in a way that the server
/// does not have.
fn unsupported(
    read: &SignInRequest,
    request: &AuthorizationRequest,
    form: &Form,
) -> Option<(&'static str, &'static str)> {
    if let Some((_, error)) = UNSUPPORTED.iter().find(|(name, _)| form.contains_key(*name)) {
        return Some((error, "the parameter is not supported"));
    }
    if read.prompt.none && (read.prompt.login || read.prompt.select_account || read.prompt.consent) {
        return Some(("invalid_request", "prompt has none and another value"));
    }
    if form.contains_key("max_age") && read.max_age.is_none() {
        return Some(("invalid_request", "max_age is not a number"));
    }
    let asks_level = form.get("acr_values").is_some_and(|values| !values.trim().is_empty());
    let why = "acr_values has no level of the server";
    (asks_level && request.levels.is_empty()).then_some(("unmet_authentication_requirements", why))
}

/// Reads `state` and `response_type`.
fn read_response_type(
    issuer: &str,
    mut request: AuthorizationRequest,
    form: &mut Form,
    allowed: &[ResponseType],
) -> Result<AuthorizationRequest, AuthorizeError> {
    let named = |of: &&ResponseType| form.get("response_type").is_some_and(|name| name == of.name());
    let response_type = allowed.iter().find(named).copied();
    request.response_type = response_type.unwrap_or_default();
    let state = form.remove("state").unwrap_or_default();
    let is_short = state.len() <= MAX_STATE_LENGTH;
    request.state = if is_short { state } else { String::new() };
    if !is_short {
        return Err(refuse(issuer, &request, "invalid_request", "state is missing or too long"));
    }
    match response_type {
        Some(_) => Ok(request),
        None => {
            let why = "response_type must be code, or token for a client that may use the implicit grant";
            Err(refuse(issuer, &request, "unsupported_response_type", why))
        }
    }
}

/// Reads the PKCE challenge.
fn read_challenge(
    issuer: &str,
    request: AuthorizationRequest,
    form: &mut Form,
    is_required: bool,
) -> Result<AuthorizationRequest, AuthorizeError> {
    let (challenge, method) = (form.remove("code_challenge"), form.remove("code_challenge_method"));
    if challenge.is_none() && method.is_none() && !is_required {
        return Ok(request);
    }
    // RFC 9700, section 2.1.1: PKCE protects every client; `plain` protects none.
    if method.as_deref() != Some("S256") {
        return Err(refuse(issuer, &request, "invalid_request", "code_challenge_method must be S256"));
    }
    match challenge.filter(|challenge| challenge.len() == CHALLENGE_LENGTH) {
        Some(code_challenge) => Ok(AuthorizationRequest { code_challenge, ..request }),
        None => Err(refuse(issuer, &request, "invalid_request", "code_challenge must be 43 characters")),
    }
}

/// Returns the granted scopes: the requested ones, or all of the client's. `None` if the client may
/// not have one of them.
pub fn granted_scope(settings: &AppClientSettings, requested: Option<&str>) -> Option<String> {
    let mut granted: Vec<&str> = Vec::new();
    let all = settings.allowed_oauth_scopes.iter().map(String::as_str);
    match requested.map(str::trim).filter(|text| !text.is_empty()) {
        None => granted.extend(all),
        Some(text) => {
            for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
                if !all.clone().any(|allowed| allowed == scope) {
                    return None;
                }
                if !granted.contains(&scope) {
                    granted.push(scope);
                }
            }
            // Cognito grants these scopes beside `openid` alone.
            let has = |name: &str| granted.contains(&name);
            if !has("openid") && ["email", "phone", "profile"].into_iter().any(has) {
                return None;
            }
        }
    }
    Some(granted.join(" "))
}

fn refuse(
    issuer: &str,
    request: &AuthorizationRequest,
    error: &'static str,
    description: &'static str,
) -> AuthorizeError {
    AuthorizeError::Client(ClientError {
        issuer: issuer.to_owned(),
        response_type: request.response_type,
        redirect_uri: request.redirect_uri.clone(),
        state: request.state.clone(),
        error,
        description,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_those_of_the_client_and_all_by_default() {
        let allowed = ["openid", "email", "photos/read"].map(str::to_owned).to_vec();
        let settings = AppClientSettings { allowed_oauth_scopes: allowed, ..AppClientSettings::default() };
        for (requested, granted) in [
            (None, Some("openid email photos/read")),
            (Some(""), Some("openid email photos/read")),
            (Some("openid"), Some("openid")),
            (Some("openid  email openid"), Some("openid email")),
            (Some("photos/read"), Some("photos/read")),
            (Some("email"), None),
            (Some("openid profile"), None),
            (Some("OPENID"), None),
        ] {
            assert_eq!(granted_scope(&settings, requested).as_deref(), granted, "{requested:?}");
        }
    }

    #[test]
    fn prompt_is_a_list() {
        assert_eq!(Prompt::read(""), Prompt::default());
        let both = Prompt::read("login select_account consent");
        assert!(both.login && both.select_account && both.consent && !both.none);
        assert_eq!(Prompt::read("LOGIN nonesuch"), Prompt::default());
    }
}

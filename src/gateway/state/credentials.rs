//! Authentication of a request: by a bearer token, by the cookie of a session, or as a guest.

use crate::authn::{APP_COOKIE, BearerPrincipal, GUEST_COOKIE, Principal, SessionPrincipal, cookie_value};
use crate::catalogue::{Catalogue, IdentityPool, Route};
use crate::config::KeySource;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::request::{self, PresentedToken, RequestInfo};
use crate::gateway::state::request_context::RequestContext;
use crate::jose::Algorithm;
use crate::model::CookieScope;
use crate::pages::ErrorResponse;
use crate::token::{ProofRequest, TokenError};

/// The challenge for an invalid token. RFC 6750, section 3.1: "The access token provided is
/// expired, revoked, malformed, or invalid".
pub const INVALID_TOKEN: &str = "Bearer realm=\"narthex\", error=\"invalid_token\"";
/// The parameters of that challenge, without the realm.
const INVALID_TOKEN_PARAMETERS: &str = ", error=\"invalid_token\"";

impl RequestContext<'_> {
    /// Authenticates the request, whose path and query are `target`, by an access token, if the
    /// route accepts them, or by a session's cookie.
    ///
    /// # Errors
    /// 401 if the token is invalid, 403 if it lacks a scope, 503 if it cannot be verified now. 400
    /// if the request also has a session's cookie. RFC 6750, section 2: "Clients MUST NOT use more
    /// than one method to transmit the token in each request."
    pub async fn authenticate(
        &self,
        route: &Route,
        target: &str,
    ) -> Result<Option<Principal>, LocalResponse> {
        let (session, incoming) = (self.session, self.incoming);
        let presented = match route.config.bearer {
            true => request::bearer(session, route.config.basic_password)
                .map_err(|why| self.refusal(ErrorResponse::bad_request(), why))?,
            false => None,
        };
        let Some(PresentedToken { token, needs_proof }) = presented else {
            return Ok(self.session_principal().await?.map(Principal::SignedIn));
        };
        if cookie_value(request::cookies(session), APP_COOKIE).is_some() {
            let reason = "a bearer token and a session's cookie come together";
            return Err(self.refusal(ErrorResponse::bad_request(), reason));
        }
        // RFC 9449, section 4.3: the URL without query and fragment. Clients see the external one.
        let origin = || self.catalogue().config.public_url.origin_of(&incoming.host);
        let url = if needs_proof { origin() + request::path_part(target) } else { String::new() };
        let proven = ProofRequest { method: incoming.method.as_str(), url: &url, access_token: Some(&token) };
        let proof = needs_proof.then(|| (request::proof(session).unwrap_or_default(), proven));
        let bearers = &self.gateway.bearers;
        let bearer = bearers.authenticate(&token, proof, incoming.client, incoming.received).await;
        let bearer = bearer.map_err(|error| self.token_refusal(route, &error))?;
        if !accepts_pool(&bearer, route, self.catalogue()) {
            return Err(self.token_refusal(route, &TokenError::Issuer));
        }
        if let Some(scope) = missing_scope(&bearer, route) {
            let failure =
                ErrorResponse::insufficient_scope().with_challenge(&scope_challenge(&route.config.scopes));
            let error = TokenError::Scope(scope.to_owned());
            return Err(self.refusal(failure, &format!("the bearer token: {error}")));
        }
        Ok(Some(Principal::Bearer(bearer)))
    }

    fn token_refusal(&self, route: &Route, error: &TokenError) -> LocalResponse {
        let failure = match error {
            // RFC 6750, section 3.1: it "requires higher privileges than provided".
            TokenError::Scope(scope) => ErrorResponse::insufficient_scope()
                .with_challenge(&scope_challenge(std::slice::from_ref(scope))),
            TokenError::NoKeys | TokenError::IntrospectionUnavailable(_) | TokenError::RevocationUnknown => {
                ErrorResponse::unavailable()
            }
            TokenError::Bound => {
                ErrorResponse::invalid_token().with_challenge(&proof_challenge("invalid_token"))
            }
            TokenError::Proof(_) => {
                ErrorResponse::invalid_token().with_challenge(&proof_challenge("invalid_dpop_proof"))
            }
            _ => {
                let (basic, parameters) = (route.config.basic_password, INVALID_TOKEN_PARAMETERS);
                let challenge = request::challenge(self.session, basic, parameters);
                ErrorResponse::invalid_token().with_challenge(&challenge)
            }
        };
        self.refusal(failure, &format!("the bearer token: {error}"))
    }

    /// Returns the principal of the request's session cookie.
    ///
    /// # Errors
    /// A 503 response, if the database is needed and unavailable.
    pub async fn session_principal(&self) -> Result<Option<SessionPrincipal>, LocalResponse> {
        let Some(cookie) = cookie_value(request::cookies(self.session), APP_COOKIE) else { return Ok(None) };
        let sessions = &self.gateway.pool.sessions;
        let principal = sessions.authenticate(cookie, scope_of(self.incoming), self.incoming.received).await;
        principal.map_err(|error| self.unavailable(&error))
    }

    /// Returns the guest of the request, and the cookie of a new guest.
    ///
    /// # Errors
    /// A 503 response, if the database is needed and unavailable.
    pub async fn guest(&self, pool: &IdentityPool) -> Result<(Principal, Option<String>), LocalResponse> {
        let (host, catalogue, guests) = (&self.incoming.host, self.catalogue(), &self.gateway.guests);
        let region = &catalogue.config.region;
        if let Some(cookie) = cookie_value(request::cookies(self.session), GUEST_COOKIE) {
            let guest = guests.authenticate(cookie, host, pool, region).await;
            if let Some(guest) = guest.map_err(|error| self.unavailable(&error))? {
                return Ok((Principal::Guest(guest), None));
            }
        }
        let (guest, cookie) = guests.create(host, catalogue.same_site(host), pool, region);
        Ok((Principal::Guest(guest), Some(cookie)))
    }
}

/// Returns the challenge for a request without a valid proof (RFC 9449, section 7.1).
pub fn proof_challenge(error: &str) -> String {
    format!("DPoP realm=\"narthex\", error=\"{error}\", algs=\"{}\"", Algorithm::names())
}

fn scope_challenge(scopes: &[String]) -> String {
    format!("Bearer realm=\"narthex\", error=\"insufficient_scope\", scope=\"{}\"", scopes.join(" "))
}

/// Returns whether the route accepts tokens of the issuer: of a user pool only if it names it.
pub fn accepts_pool(bearer: &BearerPrincipal, route: &Route, catalogue: &Catalogue) -> bool {
    let issuer = bearer.issuer();
    if !matches!(issuer.keys, KeySource::Own(_)) {
        return true;
    }
    match catalogue.pools().find(|pool| pool.issuer == issuer.url) {
        Some(pool) => route.config.accepts_user_pool(&[&pool.name, &pool.id], pool.id == catalogue.pool.id),
        None => route.config.accepts_user_pool(&[&issuer.name], false),
    }
}

/// Returns a scope that the route requires and the token lacks.
pub fn missing_scope<'r>(bearer: &BearerPrincipal, route: &'r Route) -> Option<&'r str> {
    let scopes = bearer.scopes();
    route.config.scopes.iter().find(|scope| !scopes.contains(scope)).map(String::as_str)
}

/// Returns the scope of the session cookies of the request's host.
pub fn scope_of(incoming: &RequestInfo) -> CookieScope<&str> {
    CookieScope::App(incoming.host.as_str())
}

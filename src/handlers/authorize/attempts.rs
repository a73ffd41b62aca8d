//! The cookies of a browser's sign-in attempts at providers.

use crate::authn::{LOGIN_COOKIE, clear_cookie_value, login_cookies};
use crate::base::Timestamp;
use crate::broker::{ATTEMPT_LIFETIME, LoginAttempts};
use crate::handlers::RequestData;
use crate::pages::{ErrorResponse, HttpResponse, set_cookie};

/// Maximum number of attempts per browser: enough for several tabs, within 8 KB of headers.
const MAX_ATTEMPTS: usize = 6;

/// Removes the oldest attempts, whose cookies would otherwise exceed header limits.
pub(super) fn drop_oldest_attempts(
    info: &RequestData,
    response: &mut HttpResponse,
) -> Result<(), ErrorResponse> {
    for name in surplus_attempts(info.cookies()) {
        set_cookie(response, &clear_cookie_value(&name))?;
    }
    Ok(())
}

/// Returns the names of the oldest attempt cookies beyond the maximum.
pub fn surplus_attempts<'h>(cookies: impl IntoIterator<Item = &'h [u8]>) -> Vec<String> {
    let mut attempts: Vec<_> =
        login_cookies(cookies).into_iter().map(|(id, _)| (LoginAttempts::started_at(id), id)).collect();
    attempts.sort_unstable();
    let surplus = (attempts.len() + 1).saturating_sub(MAX_ATTEMPTS);
    attempts.into_iter().take(surplus).map(|(_, id)| format!("{LOGIN_COOKIE}{id}")).collect()
}

/// Returns the names of cookies of attempts that have expired at `now`.
pub fn expired_attempts<'h>(cookies: impl IntoIterator<Item = &'h [u8]>, now: Timestamp) -> Vec<String> {
    let expired =
        |id: &str| LoginAttempts::started_at(id).is_some_and(|at| now.since(at) >= ATTEMPT_LIFETIME);
    let attempts = login_cookies(cookies).into_iter().filter(|(id, _)| expired(id));
    attempts.map(|(id, _)| format!("{LOGIN_COOKIE}{id}")).collect()
}

//! Narthex's own addresses on app hosts.

use crate::gateway::builtin::{callback, sign_in, sign_out, userinfo};
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::state::request_context::RequestContext;
use crate::gateway::state::routes::Builtin;
use crate::pages::{self, ErrorResponse, see_other};
use http::Method;

/// Returns the response of an address below `/.narthex/`.
pub async fn answer(ctx: &RequestContext<'_>, address: Builtin) -> LocalResponse {
    let method = &ctx.session.req_header().method;
    let answer = match (address, method) {
        (Builtin::Style, &Method::GET | &Method::HEAD) => Ok(pages::style()),
        (Builtin::Icon, &Method::GET | &Method::HEAD) => Ok(pages::icon()),
        // The page is on the user pool's origin, so that no app's script can read or operate it.
        (Builtin::Sessions, &Method::GET) => {
            let page = ctx.catalogue().config.public_url.join("/sessions");
            see_other(&page).map_err(|failure| ctx.failure(failure))
        }
        (Builtin::UserInfo, &Method::GET | &Method::HEAD) => return userinfo::answer(ctx).await,
        (Builtin::SignIn, _) => sign_in::sign_in_link(ctx).await,
        (Builtin::Callback, &Method::GET) => callback::answer(ctx).await,
        (Builtin::SignOut, &Method::GET | &Method::POST) => sign_out::answer(ctx).await,
        _ => Err(ctx.failure(ErrorResponse::not_found())),
    };
    match answer {
        Ok(answer) => pages::add_common_headers(answer, &ctx.response_context()).into(),
        Err(stop) => stop,
    }
}

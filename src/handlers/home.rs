//! `/`: the home page, with the apps that the user may open.

use super::{
    AppState, Handled, Reply, RequestData, Shared, authorize, branding, session_principal, unavailable,
};
use crate::authn::{Principal, SessionPrincipal};
use crate::catalogue::{Catalogue, INVOKE_ACTION, PolicyRule, Route, Rule};
use crate::config::{self, Image, LOCAL_PROVIDER};
use crate::identity::RequestContext;
use crate::pages::{App, AppIcon, ErrorResponse, HomePage};
use crate::policy::{self, EvalRequest, Question};
use crate::store::StoreError;
use axum::extract::{Path, State};
use std::collections::HashSet;
use std::sync::Arc;

pub(super) async fn get(State(app): Shared, info: RequestData) -> Reply {
    Reply(page(&app, &info).await)
}

async fn page(app: &AppState, info: &RequestData) -> Handled {
    let catalogue = app.catalogue.load();
    let Some(principal) = session_principal(app, info).await? else {
        if catalogue.config.providers.is_empty() && !catalogue.config.user_pool.rules.password_sign_in {
            return Err(ErrorResponse::no_provider());
        }
        return authorize::own_sign_in_page(app, &catalogue, info).await;
    };
    let is_local = principal.session().provider == LOCAL_PROVIDER;
    HomePage {
        t: info.texts(),
        brand: branding::brand_of_pool(app, &catalogue, &principal.session().pool_id).await,
        name: principal.user().display_name().to_owned(),
        // Routes are for users of the first pool.
        apps: match principal.session().pool_id == catalogue.pool.id {
            true => apps(app, info, &catalogue, &principal).await?,
            false => Vec::new(),
        },
        sign_out: catalogue.config.public_url.join("/logout"),
        sessions: catalogue.config.public_url.join("/sessions"),
        account: is_local.then(|| catalogue.config.public_url.join("/account")),
    }
    .answer()
}

/// Returns the apps that the user may open, in the order of their names. A host whose routes have
/// no title has one entry, that with the shortest path.
async fn apps(
    app: &AppState,
    info: &RequestData,
    catalogue: &Arc<Catalogue>,
    principal: &SessionPrincipal,
) -> Result<Vec<App>, ErrorResponse> {
    let principal = Principal::SignedIn(principal.clone());
    let mut routes = Vec::new();
    // A wildcard is not an address.
    for route in catalogue.routes().filter(|route| !route.pattern.wildcard) {
        let may_open = may_open(app, info, catalogue, &principal, route).await;
        if may_open.map_err(|error| unavailable(info, &error))? {
            routes.push(route);
        }
    }
    routes.sort_by_key(|route| route.path.len());
    let titled: HashSet<&str> =
        routes.iter().filter(|route| route.config.title.is_some()).map(|route| &*route.host).collect();
    let mut hosts = HashSet::new();
    routes.retain(|route| match &route.config.title {
        Some(_) => true,
        None => !titled.contains(&*route.host) && hosts.insert(route.host.clone()),
    });
    let mut apps: Vec<App> = routes.into_iter().map(|route| entry(catalogue, route)).collect();
    apps.sort_by_key(|app| app.name.to_lowercase());
    Ok(apps)
}

fn entry(catalogue: &Catalogue, route: &Route) -> App {
    App {
        name: route.config.title.clone().unwrap_or_else(|| route.host.to_string()),
        href: format!("{}{}", route.origin, route.start_page()),
        icon: match &route.config.icon {
            config::AppIcon::BuiltIn(name) => AppIcon::BuiltIn(name),
            config::AppIcon::Image(image) => AppIcon::Image(icon_url(catalogue, image)),
        },
    }
}

fn icon_url(catalogue: &Catalogue, image: &Image) -> String {
    catalogue.config.public_url.join(&format!("/app-icons/{}", image.file_name))
}

/// Returns whether the user may open the start page of a route, as the gateway would decide now.
async fn may_open(
    app: &AppState,
    info: &RequestData,
    catalogue: &Catalogue,
    principal: &Principal,
    route: &Route,
) -> Result<bool, StoreError> {
    match &*route.rule {
        Rule::Public | Rule::SignedIn => Ok(true),
        Rule::Listed(allow) => Ok(principal.is_named_by(allow, &catalogue.config)),
        Rule::Policy(rule) => allows(app, info, (catalogue, principal), (route, rule)).await,
    }
}

/// Returns whether the policies of the user's role allow a GET of the route's start page.
async fn allows(
    app: &AppState,
    info: &RequestData,
    (catalogue, principal): (&Catalogue, &Principal),
    (route, rule): (&Route, &PolicyRule),
) -> Result<bool, StoreError> {
    let Ok(assumed) = principal.assume(&app.identities, catalogue, &rule.identity_pool).await? else {
        return Ok(false);
    };
    // The gateway reads a start page as the segments of its path and an empty one.
    let segments: Vec<&str> = route.config.path.iter().map(String::as_str).chain([""]).collect();
    let resource = rule.resource_of("GET", &segments);
    let context = RequestContext {
        assumed: &assumed,
        now: app.clock.now(),
        source_ip: info.client,
        secure: true,
        headers: info.headers(),
    };
    let is_trusted =
        rule.trust_by_request(&assumed.role).is_none_or(|trust| assumed.trusted(trust, &context).is_ok());
    let Some(grants) = rule.grants(&assumed.role).filter(|_| is_trusted) else { return Ok(false) };
    let request = EvalRequest {
        action: INVOKE_ACTION,
        resource: &resource,
        loose: None,
        principal: None,
        context: &context,
    };
    Ok(policy::evaluate(Question::Policy(grants, &request)).is_ok())
}

/// `/app-icons/{file}`: the icon of an app, in a file of the operator.
pub(super) async fn icon(State(app): Shared, Path(name): Path<String>) -> Reply {
    let catalogue = app.catalogue.load();
    let image = |route: &Arc<Route>| match &route.config.icon {
        config::AppIcon::Image(image) if image.file_name == name => Some(image.clone()),
        _ => None,
    };
    let image = catalogue.routes().find_map(image).ok_or_else(ErrorResponse::not_found);
    Reply(image.map(|image| branding::image(image.format, image.bytes.to_vec())))
}

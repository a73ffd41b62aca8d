//! `/branding/{pool}/{client}/{file}`: stylesheets and images of pages in their own look.

use super::{AppState, Handled, Reply, RequestData, Shared, unavailable};
use crate::catalogue::Catalogue;
use crate::config::{ImageFormat, read_css};
use crate::model::{UiCustomization, UiCustomizationKey};
use crate::pages::{Brand, ErrorResponse, HttpResponse, STYLE, with_body};
use axum::extract::{Path, State};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use http::{HeaderValue, StatusCode};
use std::sync::Arc;

/// The addresses have digests of what they lead to.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// The policy of an SVG that is opened as a page: it runs no script and loads nothing.
const SVG_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

/// Returns the address of a file in the look of a client's or a pool's pages.
pub fn branding_url(catalogue: &Catalogue, (pool_id, client_id): (&str, &str), file: &str) -> String {
    // Pool ids, client ids and digests have no characters that a path must escape.
    catalogue.config.public_url.join(&format!("/branding/{pool_id}/{client_id}/{file}"))
}

/// Returns the look of the pages of an app client: the configuration's, or that of the API for the
/// client or else for the pool.
pub(super) fn brand_of(
    catalogue: &Catalogue,
    (pool_id, client_id): (&str, &str),
    customizations: &[UiCustomizationKey],
) -> Arc<Brand> {
    let standard = Brand::standard();
    if let Some(branding) = catalogue.branding(pool_id, client_id) {
        let url = |file: &str| branding_url(catalogue, (pool_id, client_id), file);
        let image = |image: &Option<crate::config::Image>| image.as_ref().map(|image| url(&image.file_name));
        return Arc::new(Brand {
            name: branding.config.name.clone(),
            style: url(&Brand::style_name(&branding.digest)),
            icon: image(&branding.config.favicon).unwrap_or_else(|| standard.icon.clone()),
            logo: image(&branding.config.logo),
            support: branding.config.support_url.clone(),
            terms: branding.config.terms_url.clone(),
        });
    }
    let find = |id: &str| customizations.iter().find(|key| key.client_id == id);
    let Some(key) = find(client_id).or_else(|| find(UiCustomization::OF_POOL)) else { return standard };
    let url = |file: &str| branding_url(catalogue, (pool_id, &key.client_id), file);
    let logo = (!key.image_format.is_empty()).then(|| url(&format!("{}.{}", key.digest, key.image_format)));
    Arc::new(Brand { style: url(&Brand::style_name(&key.digest)), logo, ..(*standard).clone() })
}

/// Returns the look of the pages about a user's own account in a pool. Without the database, they
/// have the standard look.
pub(super) async fn brand_of_pool(app: &AppState, catalogue: &Catalogue, pool_id: &str) -> Arc<Brand> {
    match app.directory.pools.pool_with_parts(pool_id).await {
        Ok(Some(found)) => brand_of(catalogue, (pool_id, &catalogue.gateway_client), &found.customizations),
        _ => Brand::standard(),
    }
}

pub(super) async fn file(
    State(app): Shared,
    info: RequestData,
    Path((pool_id, client_id, name)): Path<(String, String, String)>,
) -> Reply {
    Reply(find_file(&app, &info, (&pool_id, &client_id), &name).await)
}

/// Returns the file with this name. During a change, a node may not know the newest stylesheet: the
/// page then has the standard one.
async fn find_file(app: &AppState, info: &RequestData, of: (&str, &str), name: &str) -> Handled {
    let found = match app.catalogue.load().branding(of.0, of.1) {
        Some(branding) if name == Brand::style_name(&branding.digest) => Some(style(&branding.stylesheet)),
        Some(branding) => {
            let image = branding.config.images().find(|image| image.file_name == name);
            image.map(|image| self::image(image.format, image.bytes.to_vec()))
        }
        None => customized(app, info, of, name).await?,
    };
    match found {
        Some(found) => Ok(found),
        None if name.ends_with(".css") => Ok(with_body(StatusCode::OK, "text/css; charset=utf-8", STYLE)),
        None => Err(ErrorResponse::not_found()),
    }
}

/// Returns a file that the API set.
async fn customized(
    app: &AppState,
    info: &RequestData,
    (pool_id, client_id): (&str, &str),
    name: &str,
) -> Result<Option<HttpResponse>, ErrorResponse> {
    let found = app.directory.pools.pool_with_parts(pool_id).await.map_err(|error| {
        tracing::error!(request_id = info.request_id, %error, "cannot read a user pool");
        ErrorResponse::unavailable()
    })?;
    // The keys are in memory: a wrong address costs no read of the database.
    let is_known = |key: &UiCustomizationKey| key.client_id == client_id && name.starts_with(&key.digest);
    let Some(found) = found.filter(|found| found.customizations.iter().any(is_known)) else {
        return Ok(None);
    };
    let stored = app.store.ui_customization(found.pool.no, client_id).await;
    let Some(stored) = stored.map_err(|error| unavailable(info, &error))? else { return Ok(None) };
    if name == Brand::style_name(&stored.digest) {
        // What was stored by an earlier version is checked by this one.
        return Ok(Some(style(&read_css(&stored.css).unwrap_or_default())));
    }
    let format = ImageFormat::of_extension(&stored.image_format);
    let format = format.filter(|_| name == format!("{}.{}", stored.digest, stored.image_format));
    Ok(format.map(|format| image(format, stored.image)))
}

/// Returns the pages' stylesheet with further rules: one request in the place of two.
fn style(rules: &str) -> HttpResponse {
    let mut response = with_body(StatusCode::OK, "text/css; charset=utf-8", format!("{STYLE}\n{rules}"));
    response.headers_mut().insert(CACHE_CONTROL, CACHED);
    response
}

/// Returns the response with an image.
pub(super) fn image(format: ImageFormat, bytes: Vec<u8>) -> HttpResponse {
    let mut response = with_body(StatusCode::OK, format.media_type(), bytes);
    response.headers_mut().insert(CACHE_CONTROL, CACHED);
    if format == ImageFormat::Svg {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, SVG_POLICY);
    }
    response
}

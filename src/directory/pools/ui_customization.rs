//! The look of sign-in pages that the API sets: CSS and a logo, for a pool or an app client.

use super::client::not_found;
use super::{live_pool, publish};
use crate::base::{Entropy, Timestamp};
use crate::config::{ImageFormat, MAX_IMAGE_BYTES, digest, read_css};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::model::{Pool, UiCustomization};
use crate::store::{Store, Tx};

/// Formats of logos that come through the API. An SVG can have scripts.
const FORMATS: [ImageFormat; 2] = [ImageFormat::Png, ImageFormat::Jpeg];

/// A customization to store. Without CSS and image, there is none afterwards.
#[derive(Clone, Debug, Default)]
pub struct NewUiCustomization {
    /// The CSS.
    pub css: Option<String>,
    /// The logo.
    pub image: Option<Vec<u8>>,
}

/// Sets the look of a client's pages, or of a pool's.
///
/// # Errors
/// Returns `InvalidParameterException` for other CSS than that of Cognito's classes and for an
/// image that is not PNG or JPEG or is too large; `ResourceNotFoundException` if the pool has no
/// such client.
pub async fn set_ui_customization(
    tx: &mut Tx<'_>,
    (pool_id, client_id): (&str, &str),
    new: &NewUiCustomization,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Option<UiCustomization>> {
    let pool = live_pool(tx, pool_id).await?;
    if client_id != UiCustomization::OF_POOL {
        let client = tx.app_client(client_id).await?.filter(|client| client.pool == pool.no);
        client.ok_or_else(|| not_found(client_id))?;
    }
    let css = new.css.as_deref().unwrap_or_default();
    read_css(css).map_err(|why| DirectoryError::invalid(format!("The CSS is not valid: {why}.")))?;
    let image = new.image.as_deref().unwrap_or_default();
    let image_format = format_of(image)?;
    if css.is_empty() && image.is_empty() {
        tx.remove_ui_customization(pool.no, client_id).await?;
        publish(tx, &pool, entropy).await?;
        return Ok(None);
    }
    let earlier = tx.ui_customization(pool.no, client_id).await?;
    let customization = UiCustomization {
        pool: pool.no,
        client_id: client_id.to_owned(),
        digest: digest(&[css.as_bytes(), b"\0", image].concat()),
        css: css.to_owned(),
        image_format: image_format.to_owned(),
        image: image.to_vec(),
        created_at: earlier.map_or(now, |earlier| earlier.created_at),
        updated_at: now,
    };
    tx.put_ui_customization(&customization).await?;
    publish(tx, &pool, entropy).await?;
    Ok(Some(customization))
}

/// Returns the extension of an image's format; empty for no image.
fn format_of(image: &[u8]) -> Outcome<&'static str> {
    if image.is_empty() {
        return Ok("");
    }
    if image.len() > MAX_IMAGE_BYTES {
        return Err(DirectoryError::invalid("The image is larger than 100 KB."));
    }
    let format = ImageFormat::of_content(image).filter(|format| FORMATS.contains(format));
    let format = format.ok_or_else(|| DirectoryError::invalid("The image is not a PNG or JPEG file."))?;
    Ok(format.extension())
}

/// Returns the look of a client's pages: its own, or else that of the pool.
///
/// # Errors
/// Returns `ResourceNotFoundException` if the pool has no such client.
pub async fn find_ui_customization(
    store: &Store,
    pool: &Pool,
    client_id: &str,
) -> Outcome<Option<UiCustomization>> {
    if client_id != UiCustomization::OF_POOL {
        let client = store.app_client(client_id).await?.filter(|(client, _)| client.pool == pool.no);
        client.ok_or_else(|| not_found(client_id))?;
        let own = store.ui_customization(pool.no, client_id).await?;
        if own.is_some() {
            return Ok(own);
        }
    }
    Ok(store.ui_customization(pool.no, UiCustomization::OF_POOL).await?)
}

/// Refuses a change of what the configuration file has a look for.
///
/// # Errors
/// Returns `ErrorKind::ReadOnly`.
pub fn refuse_declared_branding(is_declared: bool) -> Outcome<()> {
    match is_declared {
        false => Ok(()),
        true => Err(DirectoryError::new(
            ErrorKind::ReadOnly,
            "the look of these pages is declared in the configuration file; help: change [user_pool.branding]",
        )),
    }
}

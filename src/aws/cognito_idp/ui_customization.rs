//! The look of the sign-in pages.

use super::shapes::Time;
use crate::aws::call::AdminCall;
use crate::aws::error::ApiError;
use crate::aws::operation::{Answer, Operation, operations};
use crate::directory::pools::{self, NewUiCustomization};
use crate::handlers::branding_url;
use crate::model::UiCustomization;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

pub const OPERATIONS: &[Operation] = operations! {
    Admin "SetUICustomization" => set_ui_customization;
    Admin "GetUICustomization" => get_ui_customization;
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CustomizationRequest {
    user_pool_id: String,
    client_id: Option<String>,
    #[serde(rename = "CSS")]
    css: Option<String>,
    image_file: Option<String>,
}

impl CustomizationRequest {
    /// Returns the client id. "If you don't specify a client ID", the look is that of the pool.
    fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or(UiCustomization::OF_POOL)
    }
}

#[derive(Serialize)]
struct CustomizationResponse {
    #[serde(rename = "UICustomization")]
    customization: Customization,
}

/// `UICustomizationType`; empty if there is none.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Customization {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_pool_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
    #[serde(rename = "CSS", skip_serializing_if = "Option::is_none")]
    css: Option<String>,
    #[serde(rename = "CSSVersion", skip_serializing_if = "Option::is_none")]
    css_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_date: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_date: Option<Time>,
}

async fn set_ui_customization(
    call: &AdminCall,
    request: CustomizationRequest,
) -> Answer<CustomizationResponse> {
    let (id, client_id) = (&*request.user_pool_id, request.client_id());
    pools::refuse_declared_branding(call.catalogue.branding(id, client_id).is_some())?;
    let decode = |text: &String| STANDARD.decode(text);
    let image = request.image_file.as_ref().map(decode).transpose();
    let image = image.map_err(|_| ApiError::serialization("ImageFile is not valid Base64."))?;
    let new = &NewUiCustomization { css: request.css.clone(), image };
    let (now, entropy) = (call.now(), call.entropy());
    let set =
        call.change(id, |tx| Box::pin(pools::set_ui_customization(tx, (id, client_id), new, now, entropy)));
    let customization = match set.await? {
        Some(customization) => shape(call, id, customization),
        None => Customization {
            user_pool_id: Some(id.to_owned()),
            client_id: Some(client_id.to_owned()),
            ..Customization::default()
        },
    };
    Ok(CustomizationResponse { customization })
}

/// "If nothing is present, then an empty shape is returned."
async fn get_ui_customization(
    call: &AdminCall,
    request: CustomizationRequest,
) -> Answer<CustomizationResponse> {
    let pool = call.stored_pool(&request.user_pool_id).await?;
    let found = pools::find_ui_customization(call.store(), &pool, request.client_id()).await?;
    let customization = found.map(|found| shape(call, &pool.id, found)).unwrap_or_default();
    Ok(CustomizationResponse { customization })
}

fn shape(call: &AdminCall, pool_id: &str, of: UiCustomization) -> Customization {
    let file = format!("{}.{}", of.digest, of.image_format);
    let image_url =
        (!of.image.is_empty()).then(|| branding_url(&call.catalogue, (pool_id, &of.client_id), &file));
    Customization {
        user_pool_id: Some(pool_id.to_owned()),
        image_url,
        css_version: (!of.css.is_empty()).then(|| of.updated_at.millis().to_string()),
        css: Some(of.css).filter(|css| !css.is_empty()),
        client_id: Some(of.client_id),
        last_modified_date: Some(Time(of.updated_at)),
        creation_date: Some(Time(of.created_at)),
    }
}

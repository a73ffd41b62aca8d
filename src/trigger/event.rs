//! What all events have in common.

use crate::config::TriggerEvent;
use crate::model::{Pool, User};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The values that an app sends along with a request: `ClientMetadata`, `ValidationData`.
pub type Metadata = BTreeMap<String, String>;

/// What an app sends along with a request, for the functions of the pool.
#[derive(Clone, Copy, Default)]
pub struct ClientData<'a> {
    /// `ClientMetadata`.
    pub client_metadata: Option<&'a Metadata>,
    /// `ValidationData`, or the `ClientMetadata` of `InitiateAuth`.
    pub validation_data: Option<&'a Metadata>,
}

impl std::fmt::Debug for ClientData<'_> {
    /// Leaves out the values, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientData").finish_non_exhaustive()
    }
}

/// The name of the SDK in events: Cognito's for a request without one.
const SDK_VERSION: &str = "aws-sdk-unknown-unknown";
/// The client id in events of administrators.
const NO_CLIENT: &str = "CLIENT_ID_NOT_APPLICABLE";

/// The `request` of an event, with the member names of AWS.
pub trait Event: Serialize + Sync {
    /// The event.
    const EVENT: TriggerEvent;
    /// The `response`. Its default is what the function gets.
    type Response: Default + Serialize + DeserializeOwned;

    /// Returns the version of the event.
    fn version(&self) -> &'static str {
        "1"
    }

    /// Returns the `response` that the function gets.
    fn response(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(Self::Response::default())
    }
}

/// The `response` of an event that the function can only refuse.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct NoResponse {}

/// What an event is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// The app client; `None` for an administrator's request.
    pub client_id: Option<&'a str>,
    /// The user name.
    pub username: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a, E> {
    version: &'static str,
    region: &'a str,
    user_pool_id: &'a str,
    trigger_source: &'static str,
    user_name: &'a str,
    caller_context: CallerContext<'a>,
    request: &'a E,
    response: serde_json::Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallerContext<'a> {
    aws_sdk_version: &'static str,
    client_id: &'a str,
}

/// Returns an event as JSON.
pub(super) fn write<E: Event>(
    subject: Subject<'_>,
    source: &'static str,
    event: &E,
) -> serde_json::Result<Vec<u8>> {
    let Subject { pool, client_id, username } = subject;
    serde_json::to_vec(&Envelope {
        version: event.version(),
        region: pool.id.split_once('_').map_or("", |(region, _)| region),
        user_pool_id: &pool.id,
        trigger_source: source,
        user_name: username,
        caller_context: CallerContext {
            aws_sdk_version: SDK_VERSION,
            client_id: client_id.unwrap_or(NO_CLIENT),
        },
        request: event,
        response: event.response()?,
    })
}

/// Returns the `userAttributes` of a stored user: all attributes, and the status.
pub fn user_attributes(user: &User) -> BTreeMap<String, String> {
    let all = user.all_attributes().into_iter();
    let mut all: BTreeMap<_, _> = all.map(|(name, value)| (name.to_owned(), value.into_owned())).collect();
    all.insert("cognito:user_status".to_owned(), user.status.name().to_owned());
    all
}

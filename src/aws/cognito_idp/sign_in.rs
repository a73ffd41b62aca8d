//! Sign-in: `InitiateAuth` and the answers to challenges, by apps and by administrators.

use super::shapes::{Parameters, attribute_object};
use crate::aws::call::{AdminCall, Call, no_client};
use crate::aws::error::ApiError;
use crate::aws::operation::{Answer, Operation, operations};
use crate::base::Secret;
use crate::config::Channel;
use crate::directory::sign_in::{
    Answer as ChallengeAnswer, AuthenticatedUser, Challenge, ChallengeId, ChallengeReply, Flow, Reply,
    SignInDevice, SignInError,
};
use crate::directory::{
    IssuedTokens, PoolOfClient, RefreshFlow, Sender, SignedIn, TokenSource, authentication_methods,
};
use crate::model::{Factor, FirstFactor};
use crate::trigger::ClientData;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

pub const OPERATIONS: &[Operation] = operations! {
    Public "InitiateAuth" => initiate_auth;
    Public "RespondToAuthChallenge" => respond_to_auth_challenge;
    Admin "AdminInitiateAuth" => admin_initiate_auth;
    Admin "AdminRespondToAuthChallenge" => admin_respond_to_auth_challenge;
};

/// The scope of tokens that the API issues.
const SCOPE: &str = crate::directory::API_SCOPE;
/// The prefix of attributes in `NEW_PASSWORD_REQUIRED`.
const ATTRIBUTE_PREFIX: &str = "userAttributes.";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AuthRequest {
    user_pool_id: Option<String>,
    client_id: String,
    auth_flow: String,
    #[serde(default)]
    auth_parameters: Parameters,
    client_metadata: Option<Parameters>,
    session: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChallengeRequest {
    user_pool_id: Option<String>,
    client_id: String,
    challenge_name: String,
    session: Option<String>,
    #[serde(default)]
    challenge_responses: Parameters,
    client_metadata: Option<Parameters>,
}

/// The response to a sign-in: tokens, or a challenge.
#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
pub struct AuthResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge_parameters: Option<Parameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication_result: Option<AuthenticationResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available_challenges: Option<Vec<&'static str>>,
}

/// `AuthenticationResultType`
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AuthenticationResult {
    access_token: String,
    expires_in: u64,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    id_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_device_metadata: Option<NewDeviceMetadata>,
}

/// `NewDeviceMetadataType`
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NewDeviceMetadata {
    device_key: String,
    device_group_key: String,
}

impl From<IssuedTokens> for AuthenticationResult {
    fn from(issued: IssuedTokens) -> Self {
        Self {
            access_token: issued.tokens.access_token,
            expires_in: issued.tokens.expires_in.as_secs(),
            token_type: "Bearer",
            refresh_token: issued.refresh_token,
            id_token: issued.tokens.id_token,
            new_device_metadata: None,
        }
    }
}

impl AuthResponse {
    /// The response with tokens.
    pub fn tokens(issued: IssuedTokens) -> Self {
        Self { authentication_result: Some(issued.into()), ..Self::default() }
    }
}

async fn initiate_auth(call: &Call, request: AuthRequest) -> Answer<AuthResponse> {
    let of = call.client(&request.client_id).await?;
    match &*request.auth_flow {
        "ADMIN_USER_PASSWORD_AUTH" | "ADMIN_NO_SRP_AUTH" => Err(not_supported()),
        _ => begin(call, &of, &request).await,
    }
}

async fn admin_initiate_auth(call: &AdminCall, request: AuthRequest) -> Answer<AuthResponse> {
    let of = client_of_pool(call, request.user_pool_id.as_deref(), &request.client_id).await?;
    match &*request.auth_flow {
        "USER_PASSWORD_AUTH" => Err(not_supported()),
        _ => begin(call, &of, &request).await,
    }
}

async fn respond_to_auth_challenge(call: &Call, request: ChallengeRequest) -> Answer<AuthResponse> {
    let of = call.client(&request.client_id).await?;
    respond(call, &of, &request).await
}

async fn admin_respond_to_auth_challenge(
    call: &AdminCall,
    request: ChallengeRequest,
) -> Answer<AuthResponse> {
    let of = client_of_pool(call, request.user_pool_id.as_deref(), &request.client_id).await?;
    respond(call, &of, &request).await
}

/// Returns a client of the pool that the request names.
async fn client_of_pool(
    call: &AdminCall,
    pool_id: Option<&str>,
    client_id: &str,
) -> Answer<std::sync::Arc<PoolOfClient>> {
    call.pool(pool_id.unwrap_or_default()).await?;
    let of = call.client(client_id).await?;
    if Some(of.pool.id.as_str()) == pool_id { Ok(of) } else { Err(no_client(client_id)) }
}

async fn begin(call: &Call, of: &PoolOfClient, request: &AuthRequest) -> Answer<AuthResponse> {
    let parameters = &request.auth_parameters;
    let flow = match &*request.auth_flow {
        "REFRESH_TOKEN_AUTH" | "REFRESH_TOKEN" => return refresh(call, of, parameters).await,
        "ADMIN_NO_SRP_AUTH" => Flow::AdminUserPassword,
        name => Flow::parse(name)
            .ok_or_else(|| ApiError::invalid_parameter(format!("{name} is not enabled for the client.")))?,
    };
    let name = required(parameters, "USERNAME")?;
    call.check_hash(of, &[name], parameters.get("SECRET_HASH").map(String::as_str))?;
    let answer = match (flow, parameters.get("PREFERRED_CHALLENGE").map(String::as_str)) {
        (Flow::UserSrp, _) | (Flow::UserAuth, Some("PASSWORD_SRP")) => {
            ChallengeAnswer::SrpA(required(parameters, "SRP_A")?.to_owned())
        }
        (Flow::Custom, _) => custom_start(parameters)?,
        (Flow::UserAuth, None) => ChallengeAnswer::Nothing,
        (Flow::UserAuth, Some("PASSWORD")) | (Flow::UserPassword | Flow::AdminUserPassword, _) => {
            ChallengeAnswer::Password(Secret::new(required(parameters, "PASSWORD")?))
        }
        // For a challenge that the pool does not have, Cognito lets the user choose.
        (Flow::UserAuth, Some(name)) => first_code(name).unwrap_or(ChallengeAnswer::Nothing),
        (Flow::Page | Flow::StepUp, _) => return Err(not_supported()),
    };
    let sign_in = &call.directory().sign_in;
    // The session of `ConfirmSignUp`.
    if let Some(session) = request.session.as_deref().filter(|_| flow == Flow::UserAuth) {
        let id = ChallengeId::Session(session);
        let sender = with_device(call.sender_with(of, request.client_metadata.as_ref()), parameters);
        check_names(call, (of, sender), id, (name, parameters)).await?;
        let reply = sign_in.respond(sender, session, &ChallengeAnswer::Nothing).await;
        return reply_of(call, (of, sender), TokenSource::Authentication, reply).await;
    }
    // It reaches no function that runs after the password was compared (InitiateAuth,
    // `ClientMetadata`).
    let data = ClientData { validation_data: request.client_metadata.as_ref(), client_metadata: None };
    let sender = with_device(Sender { data, ..call.sender(of) }, parameters);
    let reply = sign_in.begin(sender, flow, name, &answer).await;
    reply_of(call, (of, call.sender(of)), TokenSource::Authentication, reply).await
}

async fn respond(call: &Call, of: &PoolOfClient, request: &ChallengeRequest) -> Answer<AuthResponse> {
    let responses = &request.challenge_responses;
    let answer = challenge_answer(&request.challenge_name, responses)?;
    let username = required(responses, "USERNAME")?;
    let sender = with_device(call.sender_with(of, request.client_metadata.as_ref()), responses);
    let (secret_block, session_of_device);
    let id = match request.challenge_name.as_str() {
        "PASSWORD_VERIFIER" | "DEVICE_PASSWORD_VERIFIER" => {
            let text = required(responses, "PASSWORD_CLAIM_SECRET_BLOCK")?;
            secret_block = STANDARD.decode(text).unwrap_or_default();
            ChallengeId::SecretBlock(&secret_block)
        }
        // Some clients send no session.
        "DEVICE_SRP_AUTH" if request.session.is_none() => {
            let found = call.directory().sign_in.session_of_device(sender, username).await.map_err(failed)?;
            session_of_device = found.ok_or_else(|| missing("Session"))?;
            ChallengeId::Session(&session_of_device)
        }
        _ => ChallengeId::Session(request.session.as_deref().ok_or_else(|| missing("Session"))?),
    };
    let sign_in = &call.directory().sign_in;
    check_names(call, (of, sender), id, (username, responses)).await?;
    let reply = match id {
        ChallengeId::Session(session) => sign_in.respond(sender, session, &answer).await,
        ChallengeId::SecretBlock(block) => sign_in.respond_to_exchange(sender, block, &answer).await,
    };
    let source = match request.challenge_name.as_str() {
        "NEW_PASSWORD_REQUIRED" => TokenSource::NewPasswordChallenge,
        "DEVICE_PASSWORD_VERIFIER" => TokenSource::AuthenticateDevice,
        _ => TokenSource::Authentication,
    };
    reply_of(call, (of, sender), source, reply).await
}

/// Checks that the answer to a challenge is of its user and client. From the first challenge on the
/// hash is over the user name, whatever the user typed.
async fn check_names(
    call: &Call,
    (of, sender): (&PoolOfClient, Sender<'_>),
    id: ChallengeId<'_>,
    (username, parameters): (&str, &Parameters),
) -> Answer<()> {
    let secret_hash = parameters.get("SECRET_HASH").map(String::as_str);
    match call.directory().sign_in.names(sender, id).await.map_err(failed)? {
        Some(names) => {
            call.check_hash(of, &[&names.username], secret_hash)?;
            match username == names.username || username == names.typed {
                true => Ok(()),
                false => Err(ApiError::not_authorized("Incorrect username or password.")),
            }
        }
        None => call.check_hash(of, &[username], secret_hash),
    }
}

/// Returns the sender with the device that it names. A client sends an empty key before it has one.
fn with_device<'a>(sender: Sender<'a>, parameters: &'a Parameters) -> Sender<'a> {
    let device_key = parameters.get("DEVICE_KEY").map(String::as_str).filter(|key| !key.is_empty());
    Sender { device_key, ..sender }
}

/// Returns the first message of a sign-in with custom challenges: the public value of a password's
/// exchange, if the client begins with that (`CHALLENGE_NAME=SRP_A`).
fn custom_start(parameters: &Parameters) -> Answer<ChallengeAnswer> {
    match parameters.get("CHALLENGE_NAME").map(String::as_str) {
        Some("SRP_A") => Ok(ChallengeAnswer::SrpA(required(parameters, "SRP_A")?.to_owned())),
        _ => Ok(ChallengeAnswer::Nothing),
    }
}

/// Returns the choice of a code that replaces a password.
fn first_code(name: &str) -> Option<ChallengeAnswer> {
    FirstFactor::parse(name).and_then(FirstFactor::code).map(ChallengeAnswer::FirstFactor)
}

/// Reads the answer to a challenge.
fn challenge_answer(challenge: &str, responses: &Parameters) -> Answer<ChallengeAnswer> {
    let text = |name: &str| required(responses, name);
    Ok(match challenge {
        "PASSWORD_VERIFIER" | "DEVICE_PASSWORD_VERIFIER" => ChallengeAnswer::SrpProof {
            timestamp: text("TIMESTAMP")?.to_owned(),
            signature: text("PASSWORD_CLAIM_SIGNATURE")?.to_owned(),
        },
        "SOFTWARE_TOKEN_MFA" => ChallengeAnswer::Code(Secret::new(text("SOFTWARE_TOKEN_MFA_CODE")?)),
        "EMAIL_OTP" => ChallengeAnswer::Code(Secret::new(text("EMAIL_OTP_CODE")?)),
        "SMS_MFA" => ChallengeAnswer::Code(Secret::new(text("SMS_MFA_CODE")?)),
        "SMS_OTP" => ChallengeAnswer::Code(Secret::new(text("SMS_OTP_CODE")?)),
        "SELECT_MFA_TYPE" => {
            ChallengeAnswer::Factor(Factor::parse(text("ANSWER")?).ok_or_else(not_available)?)
        }
        "CUSTOM_CHALLENGE" => ChallengeAnswer::Custom(Secret::new(text("ANSWER")?)),
        "DEVICE_SRP_AUTH" => ChallengeAnswer::SrpA(text("SRP_A")?.to_owned()),
        "MFA_SETUP" => ChallengeAnswer::FactorSetUp,
        "NEW_PASSWORD_REQUIRED" => ChallengeAnswer::NewPassword {
            password: Secret::new(text("NEW_PASSWORD")?),
            attributes: responses
                .iter()
                .filter_map(|(name, value)| {
                    Some((name.strip_prefix(ATTRIBUTE_PREFIX)?.to_owned(), value.clone()))
                })
                .collect(),
        },
        "SELECT_CHALLENGE" => match text("ANSWER")? {
            "PASSWORD" => ChallengeAnswer::Password(Secret::new(text("PASSWORD")?)),
            "PASSWORD_SRP" => ChallengeAnswer::SrpA(text("SRP_A")?.to_owned()),
            name => first_code(name).ok_or_else(not_available)?,
        },
        // The short form of a choice, which some clients send.
        "PASSWORD" => ChallengeAnswer::Password(Secret::new(text("PASSWORD")?)),
        "PASSWORD_SRP" => ChallengeAnswer::SrpA(text("SRP_A")?.to_owned()),
        _ => return Err(not_available()),
    })
}

async fn refresh(call: &Call, of: &PoolOfClient, parameters: &Parameters) -> Answer<AuthResponse> {
    let token = required(parameters, "REFRESH_TOKEN")?;
    let (tokens, sender) = (&call.directory().tokens, with_device(call.sender(of), parameters));
    let secret_hash = parameters.get("SECRET_HASH").map(String::as_str);
    if !of.secrets.is_empty() || secret_hash.is_some() {
        let user = tokens.user_of_refresh_token(sender, token).await?;
        let names = user.as_ref().map(|user| [user.username.as_str(), user.id.as_str()]);
        call.check_hash(of, names.as_ref().map_or(&[], |names| &names[..]), secret_hash)?;
    }
    let issuer = call.issuer(&of.pool);
    Ok(AuthResponse::tokens(tokens.refresh(sender, &issuer, token, RefreshFlow::InitiateAuth).await?))
}

/// Returns the response to a step: tokens for a completed sign-in.
async fn reply_of(
    call: &Call,
    (of, sender): (&PoolOfClient, Sender<'_>),
    source: TokenSource,
    reply: Result<Reply, SignInError>,
) -> Answer<AuthResponse> {
    match reply.map_err(failed)? {
        Reply::SignedIn(AuthenticatedUser {
            user,
            password_set_at,
            device,
            first_code,
            by_functions,
            factor,
            ..
        }) => {
            let devices = &call.directory().devices;
            let (device_key, is_new) = match device {
                SignInDevice::Proved(key) => (key, false),
                SignInDevice::New => (devices.new_key(&of.pool), true),
                SignInDevice::Untracked | SignInDevice::Named => (String::new(), false),
            };
            let signed_in = SignedIn {
                user: &user,
                password_set_at,
                scope: SCOPE,
                nonce: None,
                device_key: &device_key,
                auth_time: None,
                amr: &authentication_methods((first_code, by_functions), factor),
                source,
            };
            let (tokens, issuer) = (&call.directory().tokens, call.issuer(&of.pool));
            let mut result: AuthenticationResult = tokens.issue(sender, &issuer, signed_in).await?.into();
            result.new_device_metadata = is_new.then(|| {
                let device_group_key = devices.group_key(&of.pool);
                NewDeviceMetadata { device_key: device_key.clone(), device_group_key }
            });
            Ok(AuthResponse { authentication_result: Some(result), ..AuthResponse::default() })
        }
        Reply::Challenge(reply) => {
            if reply.follows_wrong_answer {
                call.record_guess();
            }
            Ok(challenge_response(*reply))
        }
        // Of the page alone.
        Reply::Confirmed => Err(ApiError::internal()),
        Reply::Refused(refusal) => Err(ApiError::new(refusal.exception(), refusal.to_string())),
    }
}

fn challenge_response(reply: ChallengeReply) -> AuthResponse {
    let mut parameters = Parameters::new();
    let mut set = |name: &str, value: String| drop(parameters.insert(name.to_owned(), value));
    if let Some(exchange) = reply.exchange {
        set("SALT", exchange.salt);
        set("SRP_B", exchange.server_public);
        set("SECRET_BLOCK", STANDARD.encode(&exchange.secret_block));
        set("USERNAME", exchange.user_id.clone());
        match reply.challenge.device_key() {
            Some(key) => set("DEVICE_KEY", key.to_owned()),
            None => set("USER_ID_FOR_SRP", exchange.user_id),
        }
    }
    if let Some(new) = reply.new_password {
        let missing: Vec<_> = new.missing.iter().map(|name| format!("{ATTRIBUTE_PREFIX}{name}")).collect();
        set("USER_ID_FOR_SRP", new.username);
        set("userAttributes", attribute_object(&new.attributes));
        set("requiredAttributes", serde_json::json!(missing).to_string());
    }
    if let Some(public) = reply.public {
        public.values.into_iter().for_each(|(name, value)| set(&name, value));
        set("USERNAME", public.username);
    }
    let factors =
        |of: &[Factor]| serde_json::json!(of.iter().map(|of| of.name()).collect::<Vec<_>>()).to_string();
    match &reply.challenge {
        Challenge::SelectFactor => set("MFAS_CAN_CHOOSE", factors(&reply.factors.choices)),
        Challenge::SetUpFactor { .. } => set("MFAS_CAN_SETUP", factors(&[Factor::SoftwareToken])),
        _ => {}
    }
    if let Some(sent) = &reply.factors.sent {
        let medium = if sent.channel == Channel::Sms { "SMS" } else { "EMAIL" };
        set("CODE_DELIVERY_DELIVERY_MEDIUM", medium.to_owned());
        set("CODE_DELIVERY_DESTINATION", sent.destination.clone());
    }
    let choices = matches!(reply.challenge, Challenge::SelectChallenge)
        .then(|| reply.factors.first_choices.iter().flat_map(|of| challenges(*of)).copied().collect());
    AuthResponse {
        challenge_name: Some(reply.challenge.name()),
        session: Some(reply.session).filter(|session| !session.is_empty()),
        challenge_parameters: Some(parameters),
        available_challenges: choices,
        ..AuthResponse::default()
    }
}

/// Returns the challenges of a first factor.
fn challenges(of: FirstFactor) -> &'static [&'static str] {
    match of {
        FirstFactor::Password => &["PASSWORD_SRP", "PASSWORD"],
        FirstFactor::Email => &["EMAIL_OTP"],
        FirstFactor::Sms => &["SMS_OTP"],
    }
}

/// Returns the exception of a step that failed.
pub fn failed(error: SignInError) -> ApiError {
    match error {
        SignInError::Busy { retry_after } => ApiError::too_many_requests(retry_after),
        SignInError::Refused(refusal) => ApiError::new(refusal.exception(), refusal.to_string()),
        SignInError::Directory(error) => error.into(),
        SignInError::Hash(error) => {
            tracing::error!(%error, "a password was not hashed");
            ApiError::internal()
        }
    }
}

fn required<'p>(parameters: &'p Parameters, name: &str) -> Answer<&'p str> {
    parameters.get(name).map(String::as_str).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> ApiError {
    ApiError::invalid_parameter(format!("Missing required parameter {name}"))
}

fn not_available() -> ApiError {
    ApiError::invalid_parameter("The challenge is not available.")
}

fn not_supported() -> ApiError {
    ApiError::invalid_parameter("Initiate Auth method not supported.")
}

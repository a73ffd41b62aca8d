//! Signs users up and in with AWS's SDK for Rust, order by order: a line of JSON each, on standard
//! input. Answers `{ ok }` or `{ error, message }`. An error without a type of its own is
//! `untyped`.
//!
//! usage: rust-sdk CONFIG

use aws_sdk_cognitoidentityprovider::Client;
use aws_sdk_cognitoidentityprovider::config::retry::RetryConfig;
use aws_sdk_cognitoidentityprovider::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_cognitoidentityprovider::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_cognitoidentityprovider::types::{
    AttributeType, AuthFlowType, AuthenticationResultType, ChallengeNameType,
};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use std::fmt::Debug;
use std::io::BufRead as _;
use std::net::{IpAddr, Ipv4Addr};

/// *.localhost is this machine, whatever the C library knows.
#[derive(Clone, Debug)]
struct Localhost;

impl ResolveDns for Localhost {
    fn resolve_dns<'a>(&'a self, _: &'a str) -> DnsFuture<'a> {
        DnsFuture::ready(Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]))
    }
}

struct Session {
    client: Client,
    config: Value,
    access: String,
    refresh: String,
    /// The open challenge, and the name that was typed.
    challenge: Option<String>,
    name: String,
}

type Answer = Result<Value, Value>;

fn failure<E: ProvideErrorMetadata + Debug, R: Debug>(error: SdkError<E, R>) -> Value
where
    SdkError<E, R>: std::error::Error,
{
    let SdkError::ServiceError(context) = &error else {
        return json!({ "error": "transport", "message": DisplayErrorContext(&error).to_string() });
    };
    let code = context.err().code().unwrap_or("none");
    let is_typed = !format!("{:?}", context.err()).starts_with("Unhandled");
    let name = if is_typed { code.to_owned() } else { format!("untyped {code}") };
    json!({ "error": name, "message": context.err().message() })
}

fn text<'v>(of: &'v Value, name: &str) -> &'v str {
    of[name].as_str().unwrap_or_default()
}

impl Session {
    fn client_id(&self) -> &str {
        text(&self.config, "clientId")
    }

    /// `SECRET_HASH` over a user name, where the client has a secret.
    fn hash(&self, name: &str) -> Option<String> {
        let secret = self.config["clientSecret"].as_str()?;
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{name}{}", self.client_id()).as_bytes());
        Some(STANDARD.encode(mac.finalize().into_bytes()))
    }

    fn signed_in(&mut self, result: Option<&AuthenticationResultType>) -> Value {
        let Some(result) = result else { return Value::Null };
        self.access = result.access_token().unwrap_or_default().to_owned();
        if let Some(token) = result.refresh_token() {
            self.refresh = token.to_owned();
        }
        json!({ "access": self.access, "id": result.id_token(), "refresh": result.refresh_token() })
    }

    async fn run(&mut self, order: &Value) -> Answer {
        match text(order, "do") {
            "signUp" | "confirm" | "forgot" | "confirmForgot" => self.account(order).await,
            "signIn" | "newPassword" => self.sign_in(order).await,
            "refresh" | "refreshAuth" => self.refresh(order).await,
            "createGroup" | "addToGroup" | "groupsOf" => self.administer(order).await,
            "verify" => {
                let payload = text(order, "token").split('.').nth(1).unwrap_or_default();
                Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap())
            }
            _ => self.own(order).await,
        }
    }

    async fn account(&self, order: &Value) -> Answer {
        let (name, code, password) = (text(order, "name"), text(order, "code"), text(order, "password"));
        let (client, id, hash) = (&self.client, self.client_id(), self.hash(name));
        match text(order, "do") {
            "signUp" => {
                let given = order["attributes"].as_object().into_iter().flatten();
                let attributes = given.map(|(name, value)| {
                    AttributeType::builder().name(name).value(value.as_str().unwrap()).build().unwrap()
                });
                let call = client.sign_up().client_id(id).username(name).password(password);
                let call = call.set_secret_hash(hash).set_user_attributes(Some(attributes.collect()));
                call.send().await.map_err(failure)?;
            }
            "confirm" => {
                let call = client.confirm_sign_up().client_id(id).username(name).confirmation_code(code);
                call.set_secret_hash(hash).send().await.map_err(failure)?;
            }
            "forgot" => {
                let call = client.forgot_password().client_id(id).username(name);
                call.set_secret_hash(hash).send().await.map_err(failure)?;
            }
            _ => {
                let call = client.confirm_forgot_password().client_id(id).username(name);
                let call = call.confirmation_code(code).password(password).set_secret_hash(hash);
                call.send().await.map_err(failure)?;
            }
        }
        Ok(Value::Null)
    }

    async fn sign_in(&mut self, order: &Value) -> Answer {
        let (client, id, password) =
            (self.client.clone(), self.client_id().to_owned(), text(order, "password"));
        if text(order, "do") == "newPassword" {
            let call = client.respond_to_auth_challenge().client_id(id);
            let call = call.challenge_name(ChallengeNameType::NewPasswordRequired);
            let call = call.set_session(self.challenge.take()).challenge_responses("USERNAME", &self.name);
            let mut call = call.challenge_responses("NEW_PASSWORD", password);
            if let Some(hash) = self.hash(&self.name) {
                call = call.challenge_responses("SECRET_HASH", hash);
            }
            let answer = call.send().await.map_err(failure)?;
            return Ok(self.signed_in(answer.authentication_result()));
        }
        self.name = text(order, "name").to_owned();
        let call = client.initiate_auth().client_id(id).auth_flow(AuthFlowType::UserPasswordAuth);
        let mut call = call.auth_parameters("USERNAME", &self.name).auth_parameters("PASSWORD", password);
        if let Some(hash) = self.hash(&self.name) {
            call = call.auth_parameters("SECRET_HASH", hash);
        }
        let answer = call.send().await.map_err(failure)?;
        match answer.challenge_name() {
            Some(challenge) => {
                self.challenge = answer.session().map(str::to_owned);
                Ok(json!({ "challenge": challenge.as_str() }))
            }
            None => Ok(self.signed_in(answer.authentication_result())),
        }
    }

    /// Refreshes with the token of the order, or with the newest one.
    async fn refresh(&mut self, order: &Value) -> Answer {
        let token = order["token"].as_str().unwrap_or(&self.refresh).to_owned();
        let (client, id) = (self.client.clone(), self.client_id().to_owned());
        let secret = self.config["clientSecret"].as_str().map(str::to_owned);
        if text(order, "do") == "refresh" {
            let call = client.get_tokens_from_refresh_token().client_id(id).refresh_token(token);
            let answer = call.set_client_secret(secret).send().await.map_err(failure)?;
            return Ok(self.signed_in(answer.authentication_result()));
        }
        let call = client.initiate_auth().client_id(id).auth_flow(AuthFlowType::RefreshTokenAuth);
        let mut call = call.auth_parameters("REFRESH_TOKEN", token);
        if let Some(hash) = self.hash(&self.name) {
            call = call.auth_parameters("SECRET_HASH", hash);
        }
        let answer = call.send().await.map_err(failure)?;
        Ok(self.signed_in(answer.authentication_result()))
    }

    async fn own(&self, order: &Value) -> Answer {
        let (client, access) = (&self.client, &self.access);
        match text(order, "do") {
            "attributes" => {
                let user = client.get_user().access_token(access).send().await.map_err(failure)?;
                let pairs = user.user_attributes().iter();
                return Ok(pairs.map(|of| (of.name().to_owned(), json!(of.value()))).collect());
            }
            "changePassword" => {
                let call = client.change_password().access_token(access);
                let call = call.previous_password(text(order, "before"));
                call.proposed_password(text(order, "after")).send().await.map_err(failure)?;
            }
            "signOutEverywhere" => {
                client.global_sign_out().access_token(access).send().await.map_err(failure)?;
            }
            "delete" => {
                client.delete_user().access_token(access).send().await.map_err(failure)?;
            }
            other => return Err(json!({ "error": "order", "message": other })),
        }
        Ok(Value::Null)
    }

    /// Signed calls.
    async fn administer(&self, order: &Value) -> Answer {
        let (client, pool, group) = (&self.client, text(&self.config, "poolId"), text(order, "group"));
        match text(order, "do") {
            "createGroup" => {
                client.create_group().user_pool_id(pool).group_name(group).send().await.map_err(failure)?;
            }
            "addToGroup" => {
                let call = client.admin_add_user_to_group().user_pool_id(pool).group_name(group);
                call.username(text(order, "name")).send().await.map_err(failure)?;
            }
            _ => {
                let call = client.admin_list_groups_for_user().user_pool_id(pool);
                let answer = call.username(text(order, "name")).send().await.map_err(failure)?;
                return Ok(answer.groups().iter().filter_map(|group| group.group_name()).collect());
            }
        }
        Ok(Value::Null)
    }
}

fn connect(config: &Value) -> Client {
    let authority = std::fs::read(text(config, "ca")).expect("the authority");
    let trust = TrustStore::empty().with_pem_certificate(authority);
    let tls = TlsContext::builder().with_trust_store(trust).build().expect("the trust store");
    let http = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_with_resolver(Localhost);
    let key = config["key"].as_array().map(|key| [0, 1].map(|at| key[at].as_str().unwrap().to_owned()));
    let [id, secret] = key.unwrap_or_default();
    let settings = aws_sdk_cognitoidentityprovider::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(text(config, "region").to_owned()))
        .endpoint_url(text(config, "endpoint"))
        .credentials_provider(Credentials::new(id, secret, None, None, "tests"))
        .retry_config(RetryConfig::disabled())
        .http_client(http)
        .build();
    Client::from_conf(settings)
}

fn main() {
    let config: Value = serde_json::from_str(&std::env::args().nth(1).expect("CONFIG")).expect("JSON");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (access, refresh, name) = (String::new(), String::new(), String::new());
    let client = connect(&config);
    let mut session = Session { client, config, access, refresh, challenge: None, name };
    for line in std::io::stdin().lock().lines() {
        let order: Value = serde_json::from_str(&line.expect("a line")).expect("an order");
        let answer = match runtime.block_on(session.run(&order)) {
            Ok(ok) => json!({ "ok": ok }),
            Err(error) => error,
        };
        println!("{answer}");
    }
}

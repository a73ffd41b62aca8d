//! The tokens of users, on both engines: their claims, rotation, revocation, and what ends them. A
//! number in a comment is that of a complaint about other directories.

use crate::support::accounts::{AccountScene, ISSUER, OTHER, PASSWORD, refusal};
use crate::support::engine::Engine;
use narthex::base::{Clock as _, Duration, Secret, SystemEntropy};
use narthex::directory::sign_in::{Answer, AuthenticatedUser, Flow, Reply};
use narthex::directory::{
    self, Authentication, Browser, CREDENTIAL_EVENTS, CredentialEvent, Current, DirectoryError, Extent,
    IssuedTokens, RefreshFlow, Sender, SignedIn, TokenUser,
};
use narthex::model::{
    AppClient, AppClientSettings, PoolSettings, RefreshRotation, SignInAttribute, User, UserStatus,
};
use narthex::store::CheckedWork;
use narthex::token::{PoolKeys, TokenUse};
use serde_json::Value;
use std::sync::Arc;

on_both_engines! {
    both_tokens_are_verified_by_the_published_keys
    a_refresh_without_rotation_returns_no_refresh_token
    pain_9_a_rotated_token_works_in_its_grace_period_and_ends_the_family_after_it
    a_refresh_token_is_of_its_pool_and_client
    pain_36_each_event_ends_what_the_table_says
    tokens_are_for_the_password_of_the_sign_in
    all_tokens_of_a_user_end_however_many_there_are
    two_nodes_rotate_a_token_once
}

async fn scene(engine: Engine) -> AccountScene {
    let verified = vec![SignInAttribute::Email];
    AccountScene::new(engine, PoolSettings { auto_verified: verified, ..Default::default() }).await
}

/// The scene's client, with another rotation.
fn rotating(scene: &AccountScene, grace: u64) -> AppClient {
    let rotation = Some(RefreshRotation { grace });
    let settings = AppClientSettings { rotation, ..scene.client.settings.clone() };
    AppClient { settings, ..scene.client.clone() }
}

async fn refresh(
    scene: &AccountScene,
    client: &AppClient,
    token: &str,
) -> Result<IssuedTokens, DirectoryError> {
    let sender = Sender { client, ..scene.sender() };
    scene.tokens.refresh(sender, ISSUER, token, RefreshFlow::Tokens).await
}

fn refresh_token(tokens: &IssuedTokens) -> &str {
    tokens.refresh_token.as_deref().unwrap()
}

async fn verified(scene: &AccountScene, tokens: &IssuedTokens) -> TokenUser {
    let token = &tokens.tokens.access_token;
    scene.tokens.user_of_access_token(&scene.pool, ISSUER, token, None).await.unwrap()
}

async fn both_tokens_are_verified_by_the_published_keys(engine: Engine) {
    let scene = scene(engine).await;
    let ada = scene.create_user("ada", "ada@example.com").await;
    let tokens = scene.sign_in_with_password("ada", PASSWORD).await.unwrap();
    let keys = PoolKeys::new(scene.store.clone(), scene.clock.clone(), Arc::new(SystemEntropy));
    let set: jsonwebtoken::jwk::JwkSet =
        serde_json::from_str(&keys.jwk_set(&scene.pool).await.unwrap()).unwrap();
    let mut kids = Vec::new();
    for (token, token_use) in [(&tokens.tokens.access_token, "access"), (&tokens.tokens.id_token, "id")] {
        let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(set.find(&kid).unwrap()).unwrap();
        let mut checks = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
        checks.set_issuer(&[ISSUER]);
        // The clock of the test is ahead.
        (checks.validate_exp, checks.validate_aud) = (false, false);
        let claims = jsonwebtoken::decode::<Value>(token, &key, &checks).unwrap().claims;
        assert_eq!((&claims["sub"], &claims["token_use"]), (&ada.id.clone().into(), &token_use.into()));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
        kids.push(kid);
    }
    assert_ne!(kids[0], kids[1], "each kind has keys of its own");
    let user = verified(&scene, &tokens).await;
    assert_eq!((user.user.id, user.claims.client_id.as_str()), (ada.id, "client"));
    // An id token, another issuer, an expired one.
    let check = async |issuer: &str, token: &str| {
        refusal(scene.tokens.user_of_access_token(&scene.pool, issuer, token, None).await).1
    };
    let access = &tokens.tokens.access_token;
    assert_eq!(check(ISSUER, &tokens.tokens.id_token).await, "Invalid Access Token");
    assert_eq!(check("https://auth.example/other", access).await, "Invalid Access Token");
    assert_eq!(check(ISSUER, &access[..access.len() - 4]).await, "Invalid Access Token");
    // An id token that the key of access tokens has signed.
    let key = keys.of(&scene.pool, TokenUse::Access).await.unwrap();
    let mut claims = verified_claims(&tokens);
    claims["token_use"] = "id".into();
    let signed = narthex::jose::sign(&key.signing, &[], claims.as_object().unwrap()).unwrap();
    assert_eq!(check(ISSUER, &signed).await, "Invalid Access Token");
    scene.clock.advance(Duration::from_secs(3600));
    assert_eq!(check(ISSUER, access).await, "Access Token has expired");
    // Both nodes make one key.
    let other = PoolKeys::new(scene.store.clone(), scene.clock.clone(), Arc::new(SystemEntropy));
    let kid = other.of(&scene.pool, TokenUse::Access).await.unwrap().signing.kid().to_owned();
    assert_eq!(kid, kids[0]);
}

async fn a_refresh_without_rotation_returns_no_refresh_token(engine: Engine) {
    let scene = scene(engine).await;
    scene.create_user("ada", "ada@example.com").await;
    let first = scene.sign_in_with_password("ada", PASSWORD).await.unwrap();
    scene.clock.advance(Duration::from_hours(2));
    // 10
    for flow in [RefreshFlow::InitiateAuth, RefreshFlow::Tokens] {
        let refreshed = scene.tokens.refresh(scene.sender(), ISSUER, refresh_token(&first), flow).await;
        let refreshed = refreshed.unwrap();
        assert!(refreshed.refresh_token.is_none());
        let (before, after) = (verified_claims(&first), verified(&scene, &refreshed).await.claims);
        assert_eq!(after.origin_jti, before["origin_jti"].as_str().unwrap());
        assert_eq!(after.auth_time.seconds(), before["auth_time"].as_i64().unwrap(), "it is no sign-in");
    }
    let rotating = rotating(&scene, 0);
    let sender = Sender { client: &rotating, ..scene.sender() };
    let refused =
        scene.tokens.refresh(sender, ISSUER, refresh_token(&first), RefreshFlow::InitiateAuth).await;
    assert_eq!(refusal(refused).0, "InvalidParameterException");
    scene.clock.advance(Duration::from_hours(24 * 30));
    let expired = refresh(&scene, &scene.client, refresh_token(&first)).await;
    assert_eq!(refusal(expired).1, "Refresh Token has expired");
}

fn verified_claims(tokens: &IssuedTokens) -> Value {
    let payload = tokens.tokens.access_token.split('.').nth(1).unwrap();
    serde_json::from_slice(&narthex::base::base64url_decode(payload).unwrap()).unwrap()
}

async fn pain_9_a_rotated_token_works_in_its_grace_period_and_ends_the_family_after_it(engine: Engine) {
    let scene = Arc::new(scene(engine).await);
    scene.create_user("ada", "ada@example.com").await;
    let client = rotating(&scene, 10);
    let first = scene.sign_in_with_password("ada", PASSWORD).await.unwrap();
    // 9: ten tabs refresh with one token.
    let tabs = (0..10).map(|_| {
        let (scene, client, token) = (scene.clone(), client.clone(), refresh_token(&first).to_owned());
        tokio::spawn(async move { refresh(&scene, &client, &token).await.unwrap() })
    });
    let mut refreshed = Vec::new();
    for tab in tabs.collect::<Vec<_>>() {
        refreshed.push(tab.await.unwrap());
    }
    for tokens in &refreshed {
        verified(&scene, tokens).await;
        // Each tab goes on with its own, which is the current one.
        let next = refresh(&scene, &client, refresh_token(tokens)).await.unwrap();
        verified(&scene, &next).await;
    }
    let current = refresh(&scene, &client, refresh_token(&refreshed[0])).await.unwrap();
    scene.clock.advance(Duration::from_secs(10));
    // The same token after its grace period ends the family.
    let reused = refresh(&scene, &client, refresh_token(&refreshed[0])).await;
    assert_eq!(refusal(reused).0, "RefreshTokenReuseException");
    let gone = refresh(&scene, &client, refresh_token(&current)).await;
    assert_eq!(refusal(gone).1, "Refresh Token has been revoked");
    assert!(!scene.is_valid(&current).await);
    // Without a grace period the second use ends it at once.
    let strict = rotating(&scene, 0);
    let first = scene.sign_in_with_password("ada", PASSWORD).await.unwrap();
    refresh(&scene, &strict, refresh_token(&first)).await.unwrap();
    let reused = refresh(&scene, &strict, refresh_token(&first)).await;
    assert_eq!(refusal(reused).0, "RefreshTokenReuseException");
}

async fn a_refresh_token_is_of_its_pool_and_client(engine: Engine) {
    let scene = scene(engine).await;
    scene.create_user("ada", "ada@example.com").await;
    let tokens = scene.sign_in_with_password("ada", PASSWORD).await.unwrap();
    let token = refresh_token(&tokens);
    let other = AppClient { id: "other".to_owned(), ..scene.client.clone() };
    let altered = format!("{}A", &token[..token.len() - 1]);
    for (client, token) in
        [(&other, token), (&scene.client, "x"), (&scene.client, ""), (&scene.client, &*altered)]
    {
        if token == refresh_token(&tokens) && client.id == scene.client.id {
            continue;
        }
        assert_eq!(refusal(refresh(&scene, client, token).await).1, "Invalid Refresh Token");
    }
    // A client cannot revoke another one's token either.
    scene.tokens.revoke(Sender { client: &other, ..scene.sender() }, token).await.unwrap();
    assert!(scene.is_valid(&tokens).await);
    scene.tokens.revoke(scene.sender(), token).await.unwrap();
    assert!(!scene.is_valid(&tokens).await);
    assert_eq!(refusal(refresh(&scene, &scene.client, token).await).1, "Refresh Token has been revoked");
    scene.tokens.revoke(scene.sender(), token).await.unwrap();
    // The gateway hears of it by the identifier of the sign-in.
    let family = verified_claims(&tokens)["origin_jti"].as_str().unwrap().to_owned();
    assert!(scene.store.is_revoked(&family).await.unwrap());
}

/// Begins a session of a browser.
async fn begin_session(scene: &AccountScene, user: &User) -> String {
    let limits = narthex::config::SessionLimits {
        idle: Duration::from_secs(3600),
        absolute: Duration::from_secs(86_400),
        persistent: true,
    };
    let now = scene.clock.now();
    let authentication = Authentication {
        provider: "COGNITO".to_owned(),
        provider_sid: String::new(),
        browser: Browser::default(),
        amr: Vec::new(),
        auth_time: None,
        factor_at: None,
        ends_at: None,
        begun_at: now,
    };
    let begun = scene.store.transaction(|tx| {
        let authentication = &authentication;
        Box::pin(async move {
            directory::begin_session(tx, user, authentication, None, limits, now, &SystemEntropy).await
        })
    });
    begun.await.unwrap().id
}

/// Lets `event` happen to `user`, who asks for it with `current`.
async fn happen(scene: &AccountScene, user: &User, event: CredentialEvent, current: Current<'_>) {
    let (accounts, administration) = (&scene.accounts, scene.administration());
    let other = &Secret::new(OTHER);
    match event {
        CredentialEvent::PasswordChanged => {
            let passwords = (&Secret::new(PASSWORD), other);
            accounts.change_password(scene.sender(), user, current, passwords).await.unwrap();
        }
        CredentialEvent::PasswordRecovered => {
            accounts.forgot_password(scene.sender(), &user.username).await.unwrap();
            let (_, code) = scene.take_code().await;
            let sender = scene.sender();
            accounts.confirm_forgot_password(sender, &user.username, &code, other).await.unwrap();
        }
        CredentialEvent::PasswordSetByAdministrator => {
            let password = (other, true);
            accounts.admin_set_password(administration, &user.username, password).await.unwrap();
        }
        CredentialEvent::SignedOutEverywhere => accounts.sign_out_everywhere(user).await.unwrap(),
        CredentialEvent::Disabled | CredentialEvent::Deleted | CredentialEvent::AccountMoved => {
            let now = scene.clock.now();
            let work = scene.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
                Box::pin(async move {
                    match event {
                        CredentialEvent::Disabled => {
                            directory::set_enabled(tx, user, false, now, &SystemEntropy).await.map(drop)
                        }
                        CredentialEvent::Deleted => {
                            directory::delete_user(tx, user, now, &SystemEntropy).await
                        }
                        _ => {
                            let new = directory::NewUser {
                                username: format!("{}-2", user.username),
                                attributes: Default::default(),
                                status: UserStatus::Confirmed,
                                origin: directory::Origin::Administrator,
                                takeover: directory::Takeover::Refuse,
                            };
                            let pool = &scene.pool;
                            let into = directory::create_user(tx, pool, &new, now, &SystemEntropy).await?;
                            // A provider's user may have tokens too.
                            let from = &User { status: UserStatus::ExternalProvider, ..user.clone() };
                            let linked = directory::link(tx, &into, from, now, &SystemEntropy).await?;
                            linked.map(drop).map_err(|error| DirectoryError::invalid(format!("{error:?}")))
                        }
                    }
                })
            });
            work.await.unwrap();
        }
    }
}

async fn pain_36_each_event_ends_what_the_table_says(engine: Engine) {
    let scene = scene(engine).await;
    for (at, (event, _, ends)) in CREDENTIAL_EVENTS.into_iter().enumerate() {
        let name = format!("user-{at}");
        let user = scene.create_user(&name, &format!("{name}@example.com")).await;
        let tokens = [
            scene.sign_in_with_password(&name, PASSWORD).await.unwrap(),
            scene.sign_in_with_password(&name, PASSWORD).await.unwrap(),
        ];
        let sessions = [begin_session(&scene, &user).await, begin_session(&scene, &user).await];
        scene.accounts.forgot_password(scene.sender(), &name).await.unwrap();
        let (_, code) = scene.take_code().await;
        let family = verified(&scene, &tokens[0]).await.claims.origin_jti;
        let current = Current { session: Some(&sessions[0]), family: Some(&family) };
        happen(&scene, &user, event, current).await;
        for (which, (tokens, session)) in tokens.iter().zip(&sessions).enumerate() {
            let stays = |extent: Extent| extent == Extent::Others && which == 0;
            assert_eq!(scene.is_valid(tokens).await, stays(ends.tokens), "{event:?}: access token {which}");
            let refreshed = refresh(&scene, &scene.client, refresh_token(tokens)).await;
            assert_eq!(refreshed.is_ok(), stays(ends.tokens), "{event:?}: refresh token {which}");
            let session = scene
                .store
                .transaction(|tx| Box::pin(async move { Ok(tx.session(session).await?.is_some()) }));
            assert_eq!(session.await.unwrap(), stays(ends.sessions), "{event:?}: session {which}");
        }
        let new = Secret::new("Third-Horse-9-Staple");
        let set = scene.accounts.confirm_forgot_password(scene.sender(), &name, &code, &new).await;
        let is_void = ends.recovery_code || event == CredentialEvent::AccountMoved;
        assert_eq!(set.is_err(), is_void, "{event:?}: code");
    }
}

async fn tokens_are_for_the_password_of_the_sign_in(engine: Engine) {
    let scene = scene(engine).await;
    let ada = scene.create_user("ada", "ada@example.com").await;
    let answer = Answer::Password(Secret::new(PASSWORD));
    let begin =
        async || scene.sign_in.begin(scene.sender(), Flow::UserPassword, "ada", &answer).await.unwrap();
    let Reply::SignedIn(AuthenticatedUser { user, password_set_at, .. }) = begin().await else { panic!() };
    let signed_in = SignedIn {
        user: &user,
        password_set_at,
        scope: "",
        nonce: None,
        device_key: "",
        auth_time: None,
        amr: &[],
        source: narthex::directory::TokenSource::default(),
    };
    let issue = async || scene.tokens.issue(scene.sender(), ISSUER, signed_in).await;
    issue().await.unwrap();
    // The password is replaced between the sign-in and its tokens.
    scene.clock.advance(Duration::from_secs(1));
    happen(&scene, &ada, CredentialEvent::PasswordSetByAdministrator, Current::default()).await;
    assert_eq!(refusal(issue().await).0, "NotAuthorizedException");
    happen(&scene, &ada, CredentialEvent::Disabled, Current::default()).await;
    assert_eq!(refusal(issue().await).1, "User is disabled.");
}

async fn all_tokens_of_a_user_end_however_many_there_are(engine: Engine) {
    let scene = scene(engine).await;
    let ada = scene.create_user("ada", "ada@example.com").await;
    let mut tokens = Vec::new();
    for _ in 0..40 {
        tokens.push(scene.sign_in_with_password("ada", PASSWORD).await.unwrap());
    }
    let mut feed = narthex::store::Feed::default();
    feed.poll(&scene.store, scene.clock.monotonic()).await.unwrap();
    scene.accounts.sign_out_everywhere(&ada).await.unwrap();
    for tokens in &tokens {
        let family = verified_claims(tokens)["origin_jti"].as_str().unwrap().to_owned();
        assert!(!scene.is_valid(tokens).await && scene.store.is_revoked(&family).await.unwrap());
    }
    let changes = feed.poll(&scene.store, scene.clock.monotonic()).await.unwrap();
    assert_eq!(changes, [narthex::store::Change::Tokens], "nodes read them once");
}

async fn two_nodes_rotate_a_token_once(engine: Engine) {
    let scene = Arc::new(scene(engine).await);
    scene.create_user("ada", "ada@example.com").await;
    let client = rotating(&scene, 0);
    for _ in 0..10 {
        let first = scene.sign_in_with_password("ada", PASSWORD).await.unwrap();
        let both = [0, 1].map(|_| {
            let (scene, client, token) = (scene.clone(), client.clone(), refresh_token(&first).to_owned());
            tokio::spawn(async move { refresh(&scene, &client, &token).await.is_ok() })
        });
        let mut worked = 0;
        for one in both {
            worked += usize::from(one.await.unwrap());
        }
        assert_eq!(worked, 1, "the second is a reuse");
    }
}

//! Access tokens that are bound to a key (DPoP, RFC 9449).

use crate::support::aws::{PASSWORD, claims, exception, text};
use crate::support::client_credentials::{GRANT, NEXT_SECRET, oauth2_request, pool_toml, token_request};
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::oauth_clients::{Provider, SECRET};
use crate::support::orders::Orders;
use crate::support::parties::Postgres;
use crate::support::proofs::{proof, proof_claims, proof_with, thumbprint, with};
use crate::support::time::unix_seconds;
use crate::support::token_issuer::{Issuer, Key, base64url, deployment};
use crate::support::upstream::Upstream;
use crate::support::visitor::Visitor;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

const CALLBACK: &str = "https://app.example/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mBhzqVdCN8cvkkGjhXCLFlFdrzUg7Q";

fn builder(port: u16) -> NarthexBuilder {
    NarthexBuilder::new()
        .tables(&pool_toml("ES256"))
        .tables(&format!(
            "[[user_pool.client]]\nname = \"bound\"\nid = \"bound\"\nsecret = \"{NEXT_SECRET}\"\n\
             allowed_oauth_flows = [\"client_credentials\"]\nallowed_oauth_scopes = [\"photos/read\"]\n\
             dpop_bound_access_tokens = true\n"
        ))
        .route("app", port, "bearer = true")
}

fn endpoint(narthex: &Narthex, name: &str) -> String {
    format!("{}/oauth2/{name}", narthex.origin("auth"))
}

/// Requests a token of a program with this proof.
async fn ask(narthex: &Narthex, client: &str, proof: Option<&str>) -> (u16, Value) {
    let mut request = token_request(narthex, &[GRANT]).basic_auth(client, Some(NEXT_SECRET));
    if let Some(proof) = proof {
        request = request.header("dpop", proof);
    }
    answer(request.send().await.unwrap()).await
}

async fn answer(response: Response) -> (u16, Value) {
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

/// Returns a token of a program that is bound to `key`.
async fn bound_token(narthex: &Narthex, key: &Key) -> String {
    let (status, returned) =
        ask(narthex, "reporter", Some(&proof(key, "POST", &endpoint(narthex, "token"), None))).await;
    assert_eq!((status, &returned["token_type"]), (200, &json!("DPoP")), "{returned}");
    text(&returned["access_token"])
}

fn get(narthex: &Narthex, path: &str, scheme: &str, token: &str) -> RequestBuilder {
    let url = format!("{}{path}", narthex.origin("app"));
    Visitor::new(narthex).client.get(url).header("authorization", format!("{scheme} {token}"))
}

async fn challenge(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let challenge = response.headers().get("www-authenticate");
    (response.status().as_u16(), challenge.map_or("", |value| value.to_str().unwrap()).to_owned())
}

/// Proofs that are wrong for a request: what, the header's and the claims' other members.
fn wrong_proofs(key: &Key) -> Vec<(&'static str, Value, Value)> {
    let now = unix_seconds();
    let private = with(key.jwk(), &json!({ "d": base64url([7; 32]) }));
    vec![
        ("no typ", json!({ "typ": "" }), json!({})),
        ("another typ", json!({ "typ": "JWT" }), json!({})),
        ("unsigned", json!({ "alg": "none" }), json!({})),
        ("a shared secret", json!({ "alg": "HS256" }), json!({})),
        ("another algorithm", json!({ "alg": "ES384" }), json!({})),
        ("an algorithm of another key", json!({ "alg": "EdDSA" }), json!({})),
        ("a key that is none", json!({ "jwk": "x" }), json!({})),
        ("a private key", json!({ "jwk": private }), json!({})),
        ("a shared key", json!({ "jwk": { "kty": "oct", "k": "AQAB" } }), json!({})),
        ("another key than the signature's", json!({ "jwk": Key::new("ES256", "x").jwk() }), json!({})),
        ("a critical extension", json!({ "crit": ["x"], "x": 1 }), json!({})),
        ("no jti", json!({}), json!({ "jti": null })),
        ("an empty jti", json!({}), json!({ "jti": "" })),
        ("a jti that is none", json!({}), json!({ "jti": 7 })),
        ("no htm", json!({}), json!({ "htm": null })),
        ("another method", json!({}), json!({ "htm": "PUT" })),
        ("a method in lower case", json!({}), json!({ "htm": "post" })),
        ("no htu", json!({}), json!({ "htu": null })),
        ("another URL", json!({}), json!({ "htu": "https://other.example/" })),
        ("a path alone", json!({}), json!({ "htu": "/oauth2/token" })),
        ("no iat", json!({}), json!({ "iat": null })),
        ("an iat that is none", json!({}), json!({ "iat": "soon" })),
        ("an old proof", json!({}), json!({ "iat": now - 62 })),
        ("a proof of the future", json!({}), json!({ "iat": now + 120 })),
        ("a large proof", json!({}), json!({ "x": "x".repeat(4000) })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_tokens_for_a_key_and_each_wrong_proof_is_refused() {
    let narthex = builder(1).start();
    let url = endpoint(&narthex, "token");
    for algorithm in ["ES256", "ES384", "ES512", "EdDSA", "RS256", "PS384"] {
        let key = Key::new(algorithm, "k");
        let token = claims(&bound_token(&narthex, &key).await);
        assert_eq!(token["cnf"], json!({ "jkt": thumbprint(&key) }), "{algorithm}");
    }
    let key = Key::new("ES256", "k");
    for (what, header, claims) in wrong_proofs(&key) {
        let text = proof_with(&key, &header, &with(proof_claims("POST", &url, None), &claims));
        let (status, returned) = ask(&narthex, "reporter", Some(&text)).await;
        assert_eq!((status, &returned["error"]), (400, &json!("invalid_dpop_proof")), "{what}: {returned}");
    }
    for other in ["", "x", "x.y.z"] {
        assert_eq!(ask(&narthex, "reporter", Some(other)).await.1["error"], "invalid_dpop_proof", "{other}");
    }
    // The URL is compared without query and fragment, and the time with tolerance.
    for claims in [
        json!({ "htu": format!("{url}?x=1#y") }),
        json!({ "htu": url.replace("https://auth", "HTTPS://AUTH") }),
        json!({ "iat": unix_seconds() - 50 }),
        json!({ "iat": unix_seconds() + 50 }),
    ] {
        let text = proof_with(&key, &Value::Null, &with(proof_claims("POST", &url, None), &claims));
        assert_eq!(ask(&narthex, "reporter", Some(&text)).await.0, 200, "{claims}");
        let (status, returned) = ask(&narthex, "reporter", Some(&text)).await;
        assert_eq!((status, &returned["error"]), (400, &json!("invalid_dpop_proof")), "a replay: {claims}");
    }
    let twice = token_request(&narthex, &[GRANT])
        .basic_auth("reporter", Some(NEXT_SECRET))
        .header("dpop", proof(&key, "POST", &url, None))
        .header("dpop", proof(&key, "POST", &url, None));
    assert_eq!(answer(twice.send().await.unwrap()).await.1["error"], "invalid_dpop_proof");
    // Whether a client may do without.
    assert_eq!(ask(&narthex, "reporter", None).await.1["token_type"], "Bearer");
    assert_eq!(ask(&narthex, "bound", None).await.1["error"], "invalid_dpop_proof");
    assert_eq!(ask(&narthex, "bound", Some(&proof(&key, "POST", &url, None))).await.1["token_type"], "DPoP");
    let token = bound_token(&narthex, &key).await;
    let returned = oauth2_request(&narthex, "introspect").basic_auth("api", Some(NEXT_SECRET));
    let (_, returned) = answer(returned.form(&[("token", &token)]).send().await.unwrap()).await;
    assert_eq!((&returned["active"], &returned["token_type"]), (&json!(true), &json!("DPoP")));
    assert_eq!(returned["cnf"], json!({ "jkt": thumbprint(&key) }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_opens_an_app_only_with_a_proof_for_the_request() {
    let upstream = Upstream::start().await;
    let narthex = builder(upstream.port).start();
    let (key, other) = (Key::new("ES256", "k"), Key::new("ES256", "k"));
    let token = bound_token(&narthex, &key).await;
    let url = format!("{}/photos/%7Eann?size=1", narthex.origin("app"));
    let ask = |text: &str| get(&narthex, "/photos/%7Eann?size=1", "DPoP", &token).header("dpop", text);
    let good = proof(&key, "GET", &url, Some(&token));
    assert_eq!(ask(&good).send().await.unwrap().status(), 200);
    let seen = upstream.seen().pop().unwrap();
    assert_eq!(seen.claims()["sub"], "reporter");
    assert!(seen.header_values("authorization").is_empty() && seen.header_values("dpop").is_empty());
    let invalid = |text: &str, error: &str| {
        assert!(text.starts_with("DPoP ") && text.contains("algs=\"") && text.contains("ES256"), "{text}");
        assert!(text.contains(&format!("error=\"{error}\"")), "{text}");
    };
    let refused = async |what: &str, request: RequestBuilder, error: &str| {
        let (status, challenge) = challenge(request).await;
        assert_eq!(status, 401, "{what}");
        invalid(&challenge, error);
    };
    refused("a replay", ask(&good), "invalid_dpop_proof").await;
    refused("no proof", get(&narthex, "/", "DPoP", &token), "invalid_dpop_proof").await;
    refused("a bearer token", get(&narthex, "/", "Bearer", &token), "invalid_token").await;
    let with_proof = get(&narthex, "/photos/%7Eann?size=1", "Bearer", &token);
    let unused = proof(&key, "GET", &url, Some(&token));
    refused("a proof beside a bearer token", with_proof.header("dpop", &unused), "invalid_token").await;
    refused("another key", ask(&proof(&other, "GET", &url, Some(&token))), "invalid_dpop_proof").await;
    let two = ask(&unused).header("dpop", proof(&key, "GET", &url, Some(&token)));
    refused("two proofs", two, "invalid_dpop_proof").await;
    let mut wrong = wrong_proofs(&key);
    let app = narthex.origin("app");
    wrong.extend([
        ("no ath", json!({}), json!({ "ath": null })),
        ("the ath of another token", json!({}), json!({ "ath": base64url([7; 32]) })),
        ("another path", json!({}), json!({ "htu": format!("{app}/photos") })),
        ("another case", json!({}), json!({ "htu": format!("{app}/Photos/~ann") })),
        ("another host", json!({}), json!({ "htu": url.replace("app.", "auth.") })),
        ("another scheme", json!({}), json!({ "htu": url.replace("https:", "http:") })),
    ]);
    for (what, header, claims) in wrong {
        let claims = with(proof_claims("GET", &url, Some(&token)), &claims);
        refused(what, ask(&proof_with(&key, &header, &claims)), "invalid_dpop_proof").await;
    }
    // None of these used up the proof.
    assert_eq!(ask(&unused).send().await.unwrap().status(), 200);
    for htu in [format!("{app}/photos/~ann"), format!("{app}/photos/%7eann#x")] {
        let claims = with(proof_claims("GET", &url, Some(&token)), &json!({ "htu": htu }));
        assert_eq!(
            ask(&proof_with(&key, &Value::Null, &claims)).send().await.unwrap().status(),
            200,
            "{htu}"
        );
    }
    // A bearer token proves nothing, and gets no stronger by a proof.
    let bearer = token_request(&narthex, &[GRANT]).basic_auth("reporter", Some(NEXT_SECRET));
    let bearer = text(&answer(bearer.send().await.unwrap()).await.1["access_token"]);
    let text = proof(&key, "GET", &format!("{app}/"), Some(&bearer));
    refused("unbound", get(&narthex, "/", "DPoP", &bearer).header("dpop", text), "invalid_dpop_proof").await;
    assert_eq!(get(&narthex, "/", "Bearer", &bearer).send().await.unwrap().status(), 200);
    let cookie = get(&narthex, "/", "DPoP", &token).header("cookie", "__Host-narthex=x");
    assert_eq!(cookie.send().await.unwrap().status(), 400);
    let reasons = narthex.audit("request_refused");
    assert!(
        reasons
            .iter()
            .any(|line| { line["reason"] == "the bearer token: the DPoP proof: it was used before" })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_other_issuers_are_bound_in_the_same_way() {
    let issuer = Issuer::start("ES256").await;
    let (narthex, _upstream) = deployment(&issuer, "", "").await;
    let key = Key::new("EdDSA", "k");
    let url = format!("{}/", narthex.origin("app"));
    let token = issuer.token(&json!({ "cnf": { "jkt": thumbprint(&key) } }));
    let ask = |token: &str, key: &Key| {
        get(&narthex, "/", "dpop", token).header("dpop", proof(key, "GET", &url, Some(token)))
    };
    assert_eq!(ask(&token, &key).send().await.unwrap().status(), 200);
    assert_eq!(ask(&token, &Key::new("EdDSA", "k")).send().await.unwrap().status(), 401);
    assert_eq!(get(&narthex, "/", "Bearer", &token).send().await.unwrap().status(), 401);
    let both = json!({ "cnf": { "jkt": thumbprint(&key), "x5t#S256": "x" } });
    assert_eq!(ask(&issuer.token(&both), &key).send().await.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_gets_one_token_on_all_nodes() {
    let upstream = Upstream::start().await;
    let builder = builder(upstream.port).postgres(&Postgres::shared().database());
    let one = builder.clone().start();
    let two = one.share_authority(&builder).start_at("127.0.0.2");
    let key = Key::new("ES256", "k");
    let text = proof(&key, "POST", &endpoint(&one, "token"), None);
    let (status, returned) = ask(&one, "reporter", Some(&text)).await;
    assert_eq!((status, ask(&two, "reporter", Some(&text)).await.0), (200, 400));
    // The token works on both.
    let (token, url) = (text_of(&returned), format!("{}/", one.origin("app")));
    for node in [&one, &two] {
        let request = get(node, "/", "DPoP", &token).header("dpop", proof(&key, "GET", &url, Some(&token)));
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

fn text_of(returned: &Value) -> String {
    text(&returned["access_token"])
}

/// A deployment with users, and what a user's app does there.
struct Users {
    provider: Provider,
}

impl Users {
    fn start() -> Self {
        let client = format!(
            "[[user_pool.client]]\nname = \"strict\"\nid = \"strict\"\nallowed_oauth_flows = [\"code\"]\n\
             allowed_oauth_scopes = [\"openid\", \"email\", \"aws.cognito.signin.user.admin\"]\n\
             auth_flows = [\"ALLOW_REFRESH_TOKEN_AUTH\", \"ALLOW_USER_PASSWORD_AUTH\"]\n\
             callback_urls = [\"{CALLBACK}\"]\ndpop_bound_access_tokens = true\n"
        );
        let more = |builder: NarthexBuilder| builder.tables(&client);
        Self { provider: Provider::start_with("ES256", CALLBACK, "https://app.example/bye", "auth", more) }
    }

    fn narthex(&self) -> &Narthex {
        &self.provider.api.narthex
    }

    async fn code(&self, client: &str, jkt: &str) -> String {
        let mut url = reqwest::Url::parse(&endpoint(self.narthex(), "authorize")).unwrap();
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", CALLBACK),
            ("scope", "openid email aws.cognito.signin.user.admin"),
            ("code_challenge", &narthex::token::challenge(VERIFIER)),
            ("code_challenge_method", "S256"),
            ("dpop_jkt", jkt),
        ]);
        let onward = self.provider.sign_in(&self.provider.visitor(), url.as_str()).await;
        let onward = reqwest::Url::parse(&onward).unwrap();
        let code = onward.query_pairs().find(|(name, _)| name == "code");
        code.unwrap_or_else(|| panic!("{onward}")).1.into_owned()
    }

    async fn token(&self, client: &str, fields: &[(&str, &str)], key: Option<&Key>) -> (u16, Value) {
        let mut request = token_request(self.narthex(), &[fields, &[("client_id", client)]].concat());
        if client == "server" {
            request = token_request(self.narthex(), fields).basic_auth(client, Some(SECRET));
        }
        if let Some(key) = key {
            request = request.header("dpop", proof(key, "POST", &endpoint(self.narthex(), "token"), None));
        }
        answer(request.send().await.unwrap()).await
    }

    async fn redeem(&self, client: &str, code: &str, key: Option<&Key>) -> (u16, Value) {
        let grant = [
            ("grant_type", "authorization_code"),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("code", code),
        ];
        self.token(client, &grant, key).await
    }

    async fn refresh(&self, client: &str, returned: &Value, key: Option<&Key>) -> (u16, Value) {
        let token = text(&returned["refresh_token"]);
        self.token(client, &[("grant_type", "refresh_token"), ("refresh_token", &token)], key).await
    }

    fn user_info(&self, scheme: &str, token: &str, proof: Option<&str>) -> RequestBuilder {
        let client = self.provider.visitor().client;
        let request = client
            .get(endpoint(self.narthex(), "userInfo"))
            .header("authorization", format!("{scheme} {token}"));
        match proof {
            Some(proof) => request.header("dpop", proof),
            None => request,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_of_a_public_client_belong_to_its_key() {
    let users = Users::start();
    let (key, other) = (Key::new("ES256", "k"), Key::new("ES256", "k"));
    // The code belongs to a key, too.
    let code = users.code("spa", &thumbprint(&key)).await;
    assert_eq!(users.redeem("spa", &code, None).await.1["error"], "invalid_grant");
    assert_eq!(users.redeem("spa", &code, Some(&other)).await.1["error"], "invalid_grant");
    let (status, returned) = users.redeem("spa", &code, Some(&key)).await;
    assert_eq!((status, &returned["token_type"]), (200, &json!("DPoP")), "{returned}");
    let token = text_of(&returned);
    assert_eq!(claims(&token)["cnf"], json!({ "jkt": thumbprint(&key) }));
    assert!(claims(&text(&returned["id_token"])).get("cnf").is_none());
    assert_eq!(users.refresh("spa", &returned, None).await.1["error"], "invalid_grant");
    assert_eq!(users.refresh("spa", &returned, Some(&other)).await.1["error"], "invalid_grant");
    let (status, refreshed) = users.refresh("spa", &returned, Some(&key)).await;
    assert_eq!((status, &refreshed["token_type"]), (200, &json!("DPoP")), "{refreshed}");
    // The wire API has no proofs.
    let mut boto = users.provider.api.boto_at(&users.narthex().origin("auth"));
    let refresh = json!({
        "AuthFlow": "REFRESH_TOKEN_AUTH", "ClientId": "spa",
        "AuthParameters": { "REFRESH_TOKEN": returned["refresh_token"] },
    });
    assert_eq!(exception(&mut boto, "InitiateAuth", refresh), "NotAuthorizedException");
    let user = json!({ "AccessToken": token });
    assert_eq!(exception(&mut boto, "GetUser", user), "NotAuthorizedException");

    let url = endpoint(users.narthex(), "userInfo");
    let status = async |request: RequestBuilder| challenge(request).await;
    let good = proof(&key, "GET", &url, Some(&token));
    assert_eq!(status(users.user_info("DPoP", &token, Some(&good))).await.0, 200);
    for (what, scheme, text) in [
        ("a replay", "DPoP", Some(good.clone())),
        ("no proof", "DPoP", None),
        ("a bearer token", "Bearer", None),
        ("a proof beside a bearer token", "Bearer", Some(proof(&key, "GET", &url, Some(&token)))),
        ("another key", "DPoP", Some(proof(&other, "GET", &url, Some(&token)))),
        ("no ath", "DPoP", Some(proof(&key, "GET", &url, None))),
        ("another ath", "DPoP", Some(proof(&key, "GET", &url, Some("x")))),
        ("another method", "DPoP", Some(proof(&key, "POST", &url, Some(&token)))),
        ("another URL", "DPoP", Some(proof(&key, "GET", &endpoint(users.narthex(), "token"), Some(&token)))),
    ] {
        let (status, challenge) = status(users.user_info(scheme, &token, text.as_deref())).await;
        assert_eq!(status, 401, "{what}");
        assert!(scheme == "Bearer" || challenge.starts_with("DPoP error=\""), "{what}: {challenge}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_decides_or_must_bind_its_tokens() {
    let users = Users::start();
    let (key, other) = (Key::new("ES256", "k"), Key::new("EdDSA", "k"));
    // A confidential client may change its key: its refresh tokens belong to its secret.
    let code = users.code("server", "").await;
    let (_, returned) = users.redeem("server", &code, Some(&key)).await;
    assert_eq!(returned["token_type"], "DPoP", "{returned}");
    let (_, refreshed) = users.refresh("server", &returned, Some(&other)).await;
    assert_eq!(claims(&text_of(&refreshed))["cnf"], json!({ "jkt": thumbprint(&other) }));
    let (_, bearer) = users.refresh("server", &returned, None).await;
    assert_eq!(bearer["token_type"], "Bearer");
    assert_eq!(users.user_info("Bearer", &text_of(&bearer), None).send().await.unwrap().status(), 200);
    let url = endpoint(users.narthex(), "userInfo");
    let text_proof = proof(&key, "GET", &url, Some(&text_of(&bearer)));
    let unbound = users.user_info("DPoP", &text_of(&bearer), Some(&text_proof)).send().await.unwrap();
    assert_eq!(unbound.status(), 401);
    // A client with the setting gets no other tokens.
    let code = users.code("strict", "").await;
    assert_eq!(users.redeem("strict", &code, None).await.1["error"], "invalid_dpop_proof");
    let (status, returned) = users.redeem("strict", &code, Some(&key)).await;
    assert_eq!(status, 200, "{returned}");
    assert_eq!(users.refresh("strict", &returned, None).await.1["error"], "invalid_dpop_proof");
    let mut boto = users.provider.api.boto_at(&users.narthex().origin("auth"));
    let password = json!({
        "AuthFlow": "USER_PASSWORD_AUTH", "ClientId": "strict",
        "AuthParameters": { "USERNAME": "ada", "PASSWORD": PASSWORD },
    });
    assert_eq!(exception(&mut boto, "InitiateAuth", password), "NotAuthorizedException");
    // A replayed proof redeems no second code, and leaves it as it is.
    let text = proof(&key, "POST", &endpoint(users.narthex(), "token"), None);
    let redeem = async |code: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("client_id", "spa"),
            ("code", code),
        ];
        let request = token_request(users.narthex(), &form).header("dpop", &text);
        answer(request.send().await.unwrap()).await
    };
    let codes = [users.code("spa", "").await, users.code("spa", "").await];
    let (status, returned) = redeem(&codes[0]).await;
    assert_eq!(status, 200, "{returned}");
    let token = crate::support::aws::text(&returned["refresh_token"]);
    let form = [("grant_type", "refresh_token"), ("client_id", "spa"), ("refresh_token", &*token)];
    let replay = token_request(users.narthex(), &form).header("dpop", &text);
    assert_eq!(answer(replay.send().await.unwrap()).await.1["error"], "invalid_dpop_proof");
    assert_eq!(users.refresh("spa", &returned, Some(&key)).await.0, 200);
    assert_eq!(redeem(&codes[1]).await.1["error"], "invalid_dpop_proof");
    assert_eq!(users.redeem("spa", &codes[1], Some(&key)).await.0, 200);
    let wrong = endpoint(users.narthex(), "authorize")
        + "?response_type=code&client_id=spa&dpop_jkt=short&redirect_uri=";
    let wrong = wrong + &url::form_urlencoded::byte_serialize(CALLBACK.as_bytes()).collect::<String>();
    let onward =
        crate::support::visitor::redirect_target(&users.provider.visitor().get(&wrong).await).unwrap();
    assert!(onward.contains("error=invalid_request"), "{onward}");
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_bind_tokens_to_a_key() {
    let upstream = Upstream::start().await;
    let more = |builder: NarthexBuilder| {
        builder.route("app", upstream.port, "bearer = true\nuser_pools = [\"people\"]")
    };
    let provider = Provider::start_with("ES256", CALLBACK, "https://app.example/bye", "auth", more);
    let authority = provider.api.narthex.folder().join("certs/local-authority.pem");
    for (library, algorithm) in
        [("openid-client", "ES256"), ("oauth4webapi", "ES256"), ("oauth4webapi", "PS256")]
    {
        let config = with(provider.config("spa"), &json!({ "dpop": algorithm }));
        let mut app = Orders::node("oauth-proof.mjs", &[library, &config.to_string()], &authority);
        let authorize = text(&app.done(json!({ "do": "authorize" })));
        assert!(authorize.contains("dpop_jkt="));
        let url = provider.sign_in(&provider.visitor(), &authorize).await;
        let tokens = app.done(json!({ "do": "callback", "url": url }));
        assert!(text(&tokens["token_type"]).eq_ignore_ascii_case("dpop"), "{tokens}");
        assert_eq!(app.done(json!({ "do": "userInfo" }))["email"], "ada@example.com");
        for method in ["GET", "POST"] {
            let url = format!("{}/photos?x=1", provider.api.narthex.origin("app"));
            assert_eq!(app.done(json!({ "do": "call", "url": url, "method": method })), json!(200));
        }
        let refreshed = app.done(json!({ "do": "refresh" }));
        assert_ne!(refreshed["access_token"], tokens["access_token"]);
        assert_eq!(app.done(json!({ "do": "userInfo" }))["email"], "ada@example.com");
    }
    let url = format!("{}/.well-known/openid-configuration", provider.issuer());
    let metadata: Value = provider.visitor().client.get(url).send().await.unwrap().json().await.unwrap();
    let algorithms = metadata["dpop_signing_alg_values_supported"].as_array().unwrap();
    assert!(algorithms.contains(&json!("ES256")) && !algorithms.contains(&json!("HS256")));
}

//! Functions that change tokens, in the three versions of their event.

use crate::support::aws::{Api, Boto, PASSWORD, claims, create, ok, text};
use crate::support::functions::{Functions, Reply};
use crate::support::mail::MailServer;
use crate::support::oauth;
use serde_json::{Value, json};

const CLIENT: &str = r#"
[[user_pool.client]]
name = "web"
id = "webclient"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
[[user_pool.resource_server]]
identifier = "photos"
scopes = ["read"]
[[user_pool.client]]
name = "program"
id = "programclient"
secret = "a secret of the program, long"
allowed_oauth_flows = ["client_credentials"]
allowed_oauth_scopes = ["photos/read"]
"#;

struct Scene {
    functions: Functions,
    api: Api,
    boto: Boto,
    pool: String,
}

impl Scene {
    /// A pool whose function has the event of this version, and the user `ada` in the group
    /// `staff`.
    fn start(version: &str) -> Self {
        let functions = Functions::start();
        let tables = format!(
            "{}[[user_pool]]\nname = \"people\"\nsigning_algorithm = \"ES256\"\n[user_pool.triggers]\n\
             pre_token_generation = \"claims\"\npre_token_generation_version = \"{version}\"\n{CLIENT}",
            functions.toml(&["claims"])
        );
        let mail = MailServer::start("starttls", &[]);
        let api = Api { narthex: Api::builder(&mail, &tables).start(), mail };
        let (mut boto, pool) = (api.boto(), api.pool_id());
        let of = |members: Value| {
            let mut request = json!({ "UserPoolId": pool, "Username": "ada" });
            request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            request
        };
        let email = json!([{ "Name": "email", "Value": "ada@example.com" }]);
        ok(&mut boto, "AdminCreateUser", of(json!({ "MessageAction": "SUPPRESS", "UserAttributes": email })));
        ok(&mut boto, "AdminSetUserPassword", of(json!({ "Password": PASSWORD, "Permanent": true })));
        ok(
            &mut boto,
            "CreateGroup",
            json!({ "UserPoolId": pool, "GroupName": "staff", "RoleArn": "arn:aws:iam::123456789012:role/staff" }),
        );
        ok(&mut boto, "AdminAddUserToGroup", of(json!({ "GroupName": "staff" })));
        Self { functions, api, boto, pool }
    }

    /// Sets the response of the function.
    fn answer(&self, response: Value) {
        self.functions.on("claims", move |event| Reply::response(event, response.clone()));
    }

    fn sign_in(&mut self) -> Result<Value, String> {
        let parameters = json!({ "USERNAME": "ada", "PASSWORD": PASSWORD });
        self.authenticate(json!({ "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters }))
    }

    fn refresh(&mut self, token: &Value) -> Result<Value, String> {
        self.authenticate(
            json!({ "AuthFlow": "REFRESH_TOKEN_AUTH", "AuthParameters": { "REFRESH_TOKEN": token } }),
        )
    }

    fn authenticate(&mut self, mut request: Value) -> Result<Value, String> {
        request["ClientId"] = json!("webclient");
        request["ClientMetadata"] = json!({ "from": "test" });
        let answer = self.boto.unsigned("InitiateAuth", request).map_err(|error| error.code)?;
        Ok(answer["AuthenticationResult"].clone())
    }
}

fn id(tokens: &Value) -> Value {
    claims(tokens["IdToken"].as_str().unwrap())
}

fn access(tokens: &Value) -> Value {
    claims(tokens["AccessToken"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_version_changes_the_claims_of_id_tokens_and_the_groups() {
    let mut scene = Scene::start("V1_0");
    scene.answer(json!({ "claimsOverrideDetails": {
        "claimsToAddOrOverride": { "team": "blue", "both": "x", "sub": "eve", "cognito:username": "eve" },
        "claimsToSuppress": ["email", "both", "iss"],
        "groupOverrideDetails": { "groupsToOverride": ["editors"], "iamRolesToOverride": ["arn:r"], "preferredRole": "arn:r" },
    } }));
    let tokens = scene.sign_in().unwrap();
    let event = scene.functions.last("claims");
    assert_eq!(
        (&event["version"], &event["triggerSource"]),
        (&json!("1"), &json!("TokenGeneration_Authentication"))
    );
    let groups = json!({
        "groupsToOverride": ["staff"], "iamRolesToOverride": ["arn:aws:iam::123456789012:role/staff"], "preferredRole": null,
    });
    assert_eq!(event["request"]["groupConfiguration"], groups);
    assert_eq!(event["response"], json!({ "claimsOverrideDetails": null }));
    assert!(event["request"].get("scopes").is_none() && event["request"].get("clientMetadata").is_none());
    let (id, access) = (id(&tokens), access(&tokens));
    assert_eq!((&id["team"], &id["cognito:groups"]), (&json!("blue"), &json!(["editors"])));
    assert_eq!((&id["cognito:roles"], &id["cognito:preferred_role"]), (&json!(["arn:r"]), &json!("arn:r")));
    assert!(id.get("email").is_none() && id.get("both").is_none());
    assert_eq!((&id["cognito:username"], id["iss"].is_string()), (&json!("ada"), true));
    assert_eq!(id["sub"], access["sub"], "claims of the protocol stay");
    assert_eq!((&access["cognito:groups"], access.get("team")), (&json!(["editors"]), None));
    scene.answer(json!({ "claimsOverrideDetails": { "groupOverrideDetails": null } }));
    assert!(self::id(&scene.sign_in().unwrap()).get("cognito:groups").is_none(), "null clears the groups");
    scene.answer(json!({ "claimsOverrideDetails": { "claimsToAddOrOverride": { "team": 7 } } }));
    assert_eq!(scene.sign_in().unwrap_err(), "InvalidLambdaResponseException");
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_23_the_second_version_adds_a_claim_and_a_scope_to_access_tokens_also_at_a_refresh() {
    let mut scene = Scene::start("V2_0");
    scene.functions.on("claims", |event| {
        let details = json!({
            "idTokenGeneration": { "claimsToAddOrOverride": { "seen": 1 } },
            "accessTokenGeneration": {
                "claimsToAddOrOverride": { "source": event["triggerSource"], "client_id": "other" },
                "scopesToAdd": ["photos/read", "a.b", "aws.cognito.other"], "scopesToSuppress": ["a.b"],
            },
        });
        Reply::response(event, json!({ "claimsAndScopeOverrideDetails": details }))
    });
    let tokens = scene.sign_in().unwrap();
    let event = scene.functions.last("claims");
    assert_eq!(
        (&event["version"], &event["request"]["scopes"]),
        (&json!("2"), &json!(["aws.cognito.signin.user.admin"]))
    );
    let access_of = access(&tokens);
    assert_eq!(access_of["scope"], "aws.cognito.signin.user.admin photos/read");
    assert_eq!(
        (&access_of["source"], &access_of["client_id"]),
        (&json!("TokenGeneration_Authentication"), &json!("webclient"))
    );
    assert_eq!((&id(&tokens)["seen"], id(&tokens).get("source")), (&json!(1), None));
    // The API takes the token, which the changes leave valid.
    scene.boto.unsigned("GetUser", json!({ "AccessToken": tokens["AccessToken"] })).unwrap();
    let refreshed = scene.refresh(&tokens["RefreshToken"]).unwrap();
    assert_eq!(access(&refreshed)["source"], "TokenGeneration_RefreshTokens");
    assert_eq!(access(&refreshed)["scope"], "aws.cognito.signin.user.admin photos/read");
}

/// A rotation before the call would make the client's token worthless.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_fails_at_a_refresh_leaves_the_refresh_token_valid() {
    let mut scene = Scene::start("V1_0");
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:claims";
    let pool = text(&create(&mut scene.boto, json!({ "LambdaConfig": { "PreTokenGeneration": arn } }))["Id"]);
    let made = ok(
        &mut scene.boto,
        "CreateUserPoolClient",
        json!({
            "UserPoolId": pool, "ClientName": "c", "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH"],
            "RefreshTokenRotation": { "Feature": "ENABLED", "RetryGracePeriodSeconds": 0 },
        }),
    );
    let client = text(&made["UserPoolClient"]["ClientId"]);
    ok(
        &mut scene.boto,
        "AdminCreateUser",
        json!({ "UserPoolId": pool, "Username": "ada", "MessageAction": "SUPPRESS" }),
    );
    let password = json!({ "UserPoolId": pool, "Username": "ada", "Password": PASSWORD, "Permanent": true });
    ok(&mut scene.boto, "AdminSetUserPassword", password);
    let parameters = json!({ "USERNAME": "ada", "PASSWORD": PASSWORD });
    let sign_in =
        json!({ "ClientId": client, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
    let tokens = scene.boto.unsigned("InitiateAuth", sign_in).unwrap()["AuthenticationResult"].clone();
    let refresh = json!({
        "ClientId": client, "RefreshToken": tokens["RefreshToken"], "ClientMetadata": { "from": "refresh" },
    });
    scene.functions.on("claims", |_| Reply::new(500, ""));
    let error = scene.boto.unsigned("GetTokensFromRefreshToken", refresh.clone()).unwrap_err();
    assert_eq!(error.code, "UnexpectedLambdaException");
    scene.functions.on("claims", Reply::same);
    scene.boto.unsigned("GetTokensFromRefreshToken", refresh).unwrap();
    let event = scene.functions.last("claims");
    assert_eq!(event["request"]["clientMetadata"], json!({ "from": "refresh" }));
    assert_ne!(pool, scene.pool);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_version_changes_the_tokens_of_programs_too() {
    let token = async |scene: &Scene| {
        let url = format!("{}/oauth2/token", scene.api.narthex.origin("auth"));
        let visitor = crate::support::visitor::Visitor::new(&scene.api.narthex);
        let form = [("grant_type", "client_credentials")];
        let request = visitor
            .client
            .post(url)
            .basic_auth("programclient", Some("a secret of the program, long"))
            .form(&form);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.unwrap_or_default())
    };
    let scene = Scene::start("V3_0");
    scene.answer(json!({ "claimsAndScopeOverrideDetails": { "accessTokenGeneration": {
        "claimsToAddOrOverride": { "tenant": "blue", "sub": "eve" }, "scopesToAdd": ["photos/write"] } } }));
    let (status, answer) = token(&scene).await;
    assert_eq!(status, 200, "{answer}");
    let claims_of = claims(answer["access_token"].as_str().unwrap());
    assert_eq!((&claims_of["tenant"], &claims_of["sub"]), (&json!("blue"), &json!("programclient")));
    assert_eq!(claims_of["scope"], "photos/read photos/write");
    let event = scene.functions.last("claims");
    assert_eq!(
        (&event["version"], &event["triggerSource"]),
        (&json!("3"), &json!("TokenGeneration_ClientCredentials"))
    );
    assert_eq!(event["request"]["scopes"], json!(["photos/read"]));
    scene.functions.on("claims", |_| Reply::error("not today"));
    let (status, answer) = token(&scene).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
    scene.functions.on("claims", |_| Reply::new(200, "nonsense"));
    assert_eq!(token(&scene).await.0, 503);

    let scene = Scene::start("V2_0");
    assert_eq!(token(&scene).await.0, 200);
    assert!(scene.functions.calls("claims").is_empty(), "an earlier version has no such event");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_and_the_pages_have_events_of_their_own() {
    let mut scene = Scene::start("V1_0");
    let temporary = json!({ "UserPoolId": scene.pool, "Username": "new", "MessageAction": "SUPPRESS", "TemporaryPassword": PASSWORD });
    ok(&mut scene.boto, "AdminCreateUser", temporary);
    let parameters = json!({ "USERNAME": "new", "PASSWORD": PASSWORD });
    let begin =
        json!({ "ClientId": "webclient", "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
    let challenge = scene.boto.unsigned("InitiateAuth", begin).unwrap();
    assert!(scene.functions.calls("claims").is_empty(), "no tokens were issued");
    let responses = json!({ "USERNAME": "new", "NEW_PASSWORD": "Another-Horse-8-Staple" });
    let answer = json!({
        "ClientId": "webclient", "ChallengeName": "NEW_PASSWORD_REQUIRED", "Session": challenge["Session"],
        "ChallengeResponses": responses, "ClientMetadata": { "from": "answer" },
    });
    scene.boto.unsigned("RespondToAuthChallenge", answer).unwrap();
    let event = scene.functions.last("claims");
    assert_eq!(event["triggerSource"], "TokenGeneration_NewPasswordChallenge");
    assert_eq!(event["request"]["clientMetadata"], json!({ "from": "answer" }));

    let functions = Functions::start();
    let triggers =
        "[user_pool.triggers]\npre_token_generation = \"claims\"\npre_token_generation_version = \"V2_0\"\n";
    let tables = functions.toml(&["claims"]);
    let pages = oauth::Scene::start_with(triggers, |builder| builder.tables(&tables)).await;
    let details = json!({ "idTokenGeneration": { "claimsToAddOrOverride": { "team": ["blue"] } } });
    functions.on("claims", move |event| {
        Reply::response(event, json!({ "claimsAndScopeOverrideDetails": details }))
    });
    let code = async || {
        let to = pages.sign_in(&pages.visitor(), &pages.authorize(&[])).await;
        oauth::parameter(&to, "code").unwrap()
    };
    let (status, tokens) = pages.redeem(&code().await, &[]).await;
    assert_eq!((status, &claims(&text(&tokens["id_token"]))["team"]), (200, &json!(["blue"])));
    let event = functions.last("claims");
    assert_eq!(
        (&event["triggerSource"], &event["request"]["scopes"]),
        (&json!("TokenGeneration_HostedAuth"), &json!(["openid", "email"]))
    );
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", "spa"),
        ("refresh_token", &*text(&tokens["refresh_token"])),
    ];
    assert_eq!(pages.token(&refresh).await.0, 200);
    assert_eq!(functions.last("claims")["triggerSource"], "TokenGeneration_RefreshTokens");
    functions.on("claims", |_| Reply::error("no"));
    let (status, refused) = pages.redeem(&code().await, &[]).await;
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")));
}

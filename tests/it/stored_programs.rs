//! Programs whose app client was made through the Cognito API.

use crate::support::aws::{Boto, claims, create, ok, text};
use crate::support::oauth::{Scene, answer};
use crate::support::upstream::Upstream;
use crate::support::visitor::assert_status;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SERVER: &str = r#"
[[user_pool.resource_server]]
identifier = "photos"
scopes = ["read", "write"]
"#;

struct Program {
    id: String,
    secret: String,
}

impl Program {
    fn create(boto: &mut Boto, pool: &str, members: Value) -> Self {
        let mut request = json!({ "UserPoolId": pool, "ClientName": "reporter", "GenerateSecret": true,
            "AllowedOAuthFlows": ["client_credentials"], "AllowedOAuthFlowsUserPoolClient": true,
            "AllowedOAuthScopes": ["photos/read", "photos/write"] });
        request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let made = &ok(boto, "CreateUserPoolClient", request)["UserPoolClient"];
        Self {
            id: text(&made["ClientId"]),
            secret: made["ClientSecret"].as_str().unwrap_or_default().to_owned(),
        }
    }

    async fn post(&self, scene: &Scene, endpoint: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let own = [("client_id", &*self.id), ("client_secret", &*self.secret)];
        let own = own.into_iter().filter(|(_, value)| !value.is_empty());
        scene.post(endpoint, &own.chain(fields.iter().copied()).collect::<Vec<_>>()).await
    }

    async fn token(&self, scene: &Scene, more: &[(&str, &str)]) -> (u16, Value) {
        let fields = [&[("grant_type", "client_credentials")][..], more].concat();
        self.post(scene, "token", &fields).await
    }

    async fn is_active(&self, scene: &Scene, token: &str) -> bool {
        let (status, response) = self.post(scene, "introspect", &[("token", token)]).await;
        assert_eq!(status, 200, "{response}");
        response["active"] == true
    }

    async fn revoke(&self, scene: &Scene, token: &str) -> u16 {
        let fields = [("client_id", &*self.id), ("client_secret", &*self.secret), ("token", token)];
        let request = scene.visitor().client.post(format!("{}/oauth2/revoke", scene.auth)).form(&fields);
        request.send().await.unwrap().status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_of_a_pool_of_the_file_passes_the_gateway_until_its_client_is_deleted() {
    let upstream = Upstream::start().await;
    let route = |builder: crate::support::narthex::NarthexBuilder| {
        builder.route("programs", upstream.port, "bearer = true\nscopes = [\"photos/read\"]")
    };
    let scene = Scene::start_with(SERVER, route).await;
    let (mut boto, pool) = (scene.api.boto(), scene.api.pool_id());
    let [program, other] = [(); 2].map(|()| Program::create(&mut boto, &pool, json!({})));
    let (status, granted) = program.token(&scene, &[]).await;
    assert_eq!((status, &granted["scope"]), (200, &json!("photos/read photos/write")), "{granted}");
    assert_eq!((&granted["token_type"], &granted["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let token = text(&granted["access_token"]);
    let of = claims(&token);
    assert_eq!(
        (&of["sub"], &of["client_id"], &of["token_use"]),
        (&json!(program.id), &json!(program.id), &json!("access"))
    );
    assert_eq!(of["iss"], format!("{}/{pool}", scene.auth));
    let call = async |token: &str| {
        let request = scene.visitor().client.get(format!("{}/x", scene.api.narthex.origin("programs")));
        request.bearer_auth(token).send().await.unwrap()
    };
    assert_status(&call(&token).await, 200);
    // A token with less than the route asks for.
    let (_, less) = program.token(&scene, &[("scope", "photos/write")]).await;
    assert_status(&call(&text(&less["access_token"])).await, 403);
    // It is no user's token.
    assert_eq!(scene.user_info(&granted["access_token"]).await.0, 401);
    let user = json!({ "AccessToken": token });
    assert_eq!(boto.unsigned("GetUser", user).unwrap_err().code, "NotAuthorizedException");
    // Both clients of the pool may ask for it, and only its own may revoke it.
    assert!(program.is_active(&scene, &token).await && other.is_active(&scene, &token).await);
    assert_eq!(other.revoke(&scene, &token).await, 400);
    let (_, second) = program.token(&scene, &[]).await;
    let second = text(&second["access_token"]);
    assert_eq!(program.revoke(&scene, &second).await, 200);
    assert!(!other.is_active(&scene, &second).await && other.is_active(&scene, &token).await);
    let refused_soon = async |token: &str| {
        let begun = Instant::now();
        while call(token).await.status() != 401 {
            assert!(begun.elapsed() <= Duration::from_secs(5), "the token is still accepted");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    refused_soon(&second).await;
    assert_status(&call(&token).await, 200);
    ok(&mut boto, "DeleteUserPoolClient", json!({ "UserPoolId": pool, "ClientId": program.id }));
    assert!(!other.is_active(&scene, &token).await);
    refused_soon(&token).await;
    assert_eq!(program.token(&scene, &[]).await.1["error"], "invalid_client");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_the_api_issues_tokens_to_programs_and_refuses_the_others() {
    let scene = Scene::start_with(SERVER, |builder| builder).await;
    let mut boto = scene.api.boto();
    let pool = text(&create(&mut boto, json!({}))["Id"]);
    let scopes = json!([{ "ScopeName": "read", "ScopeDescription": "r" }, { "ScopeName": "write", "ScopeDescription": "w" }]);
    let server = json!({ "UserPoolId": pool, "Identifier": "photos", "Name": "Photos", "Scopes": scopes });
    ok(&mut boto, "CreateResourceServer", server);
    let program = Program::create(
        &mut boto,
        &pool,
        json!({ "AccessTokenValidity": 5, "TokenValidityUnits": { "AccessToken": "minutes" } }),
    );
    let (status, granted) = program.token(&scene, &[("scope", "photos/read")]).await;
    assert_eq!((status, &granted["expires_in"]), (200, &json!(300)), "{granted}");
    let token = text(&granted["access_token"]);
    assert!(program.is_active(&scene, &token).await);
    // A program of another pool learns nothing of it.
    let foreign = Program::create(&mut boto, &scene.api.pool_id(), json!({}));
    assert!(!foreign.is_active(&scene, &token).await);
    assert_eq!(foreign.revoke(&scene, &token).await, 200, "an unknown token is no error");
    assert!(program.is_active(&scene, &token).await);
    for (fields, error) in [
        (&[("scope", "photos/delete")][..], "invalid_scope"),
        (&[("scope", "openid")], "invalid_scope"),
        (&[("scope", " ")], "invalid_scope"),
    ] {
        assert_eq!(program.token(&scene, fields).await.1["error"], error, "{fields:?}");
    }
    let wrong = Program { secret: "another-secret-of-many-characters".to_owned(), id: program.id.clone() };
    let (status, error) = wrong.token(&scene, &[]).await;
    assert_eq!((status, &error["error"]), (401, &json!("invalid_client")));
    let no_flow = json!({ "AllowedOAuthFlows": [], "AllowedOAuthFlowsUserPoolClient": false, "AllowedOAuthScopes": [] });
    let silent = Program::create(&mut boto, &pool, no_flow.clone());
    assert_eq!(silent.token(&scene, &[]).await.1["error"], "unauthorized_client");
    assert!(silent.is_active(&scene, &token).await, "it may still introspect");
    let mut public = no_flow;
    public["GenerateSecret"] = json!(false);
    let public = Program::create(&mut boto, &pool, public);
    assert_eq!(public.token(&scene, &[]).await.1["error"], "unauthorized_client");
    assert_eq!(
        public.post(&scene, "introspect", &[("token", &token)]).await.1["error"],
        "unauthorized_client"
    );
    // A client that loses the grant gets no more tokens.
    let update = json!({ "UserPoolId": pool, "ClientId": program.id, "ClientName": "reporter" });
    ok(&mut boto, "UpdateUserPoolClient", update);
    assert_eq!(program.token(&scene, &[]).await.1["error"], "unauthorized_client");
    let metadata = format!("{}/{pool}/.well-known/openid-configuration", scene.auth);
    let (_, metadata) = answer(scene.visitor().client.get(metadata).send().await.unwrap()).await;
    assert!(metadata["grant_types_supported"].as_array().unwrap().contains(&json!("client_credentials")));
    assert_eq!(metadata["introspection_endpoint"], format!("{}/oauth2/introspect", scene.auth));
}

//! Links of provider accounts to local users, which an administrator makes through the Cognito API
//! before the account signs in.

use crate::support::aws::{Api, Boto, PASSWORD, claims, text};
use crate::support::mail::MailServer;
use crate::support::narthex::NarthexBuilder;
use crate::support::parties::{OpenIdProvider, Postgres};
use crate::support::process::wait_until;
use crate::support::saml_provider::SamlProvider;
use crate::support::saml_sign_in::{ENTITY_ID_TOML, sign_in};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, location};
use serde_json::{Value, json};
use std::process::Command;

const POOL: &str = r#"
[[user_pool]]
name = "people"
sign_up = true
auto_verified = ["email"]
[[user_pool.client]]
name = "web"
id = "webclient"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
hide_unknown_users = false
"#;

struct Scene {
    api: Api,
    boto: Boto,
    pool: String,
    upstream: Upstream,
    _providers: [OpenIdProvider; 2],
}

impl Scene {
    /// A deployment with the providers `corp` and `club`, and an app.
    async fn start() -> Self {
        Self::start_with(|builder| builder).await
    }

    /// The same, with a change of the deployment.
    async fn start_with(change: impl FnOnce(NarthexBuilder) -> NarthexBuilder) -> Self {
        let upstream = Upstream::start().await;
        let mail = MailServer::start("starttls", &[]);
        let builder = change(Api::builder(&mail, POOL));
        let providers = ["corp", "club"].map(|name| OpenIdProvider::start(name, &builder.callback(name)));
        let declared: String = providers.iter().map(|provider| provider.toml("\"anyone\"")).collect();
        let narthex = builder.tables(&declared).route("app", upstream.port, "").start();
        let api = Api { narthex, mail };
        let (boto, pool) = (api.boto(), api.pool_id());
        Self { api, boto, pool, upstream, _providers: providers }
    }

    fn call(&mut self, operation: &str, mut members: Value) -> Result<Value, (String, String)> {
        members["UserPoolId"] = json!(self.pool);
        self.boto.call(operation, members).map_err(|error| (error.code, error.message))
    }

    fn done(&mut self, operation: &str, members: Value) -> Value {
        let shown = members.to_string();
        self.call(operation, members).unwrap_or_else(|error| panic!("{operation} {shown}: {error:?}"))
    }

    /// Creates a confirmed user with a password. Returns the `sub`.
    fn create(&mut self, name: &str) -> String {
        let email = json!([{ "Name": "email", "Value": format!("{name}@local.example") },
            { "Name": "email_verified", "Value": "true" }]);
        let create = json!({ "Username": name, "MessageAction": "SUPPRESS", "UserAttributes": email });
        self.done("AdminCreateUser", create);
        self.done(
            "AdminSetUserPassword",
            json!({ "Username": name, "Password": PASSWORD, "Permanent": true }),
        );
        self.attribute(name, "sub").unwrap()
    }

    fn attribute(&mut self, name: &str, attribute: &str) -> Option<String> {
        let user = self.done("AdminGetUser", json!({ "Username": name }));
        let all = user["UserAttributes"].as_array().unwrap();
        all.iter().find(|of| of["Name"] == attribute).map(|of| text(&of["Value"]))
    }

    fn try_link(
        &mut self,
        name: &str,
        (provider, attribute, value): (&str, &str, &str),
    ) -> Result<(), String> {
        let request = json!({ "DestinationUser": account("Cognito", "", name), "SourceUser": account(provider, attribute, value) });
        self.call("AdminLinkProviderForUser", request)
            .map(drop)
            .map_err(|(code, words)| format!("{code}: {words}"))
    }

    fn link(&mut self, name: &str, source: (&str, &str, &str)) {
        self.try_link(name, source).unwrap();
    }

    fn unlink(&mut self, (provider, attribute, value): (&str, &str, &str)) -> Result<(), (String, String)> {
        let request = json!({ "User": account(provider, attribute, value) });
        self.call("AdminDisableProviderForUser", request).map(drop)
    }

    /// Signs in at a provider. Returns the visitor and the status of the last page.
    async fn land(&self, provider: &str, login: &str) -> (Visitor, u16) {
        let visitor = Visitor::new(&self.api.narthex);
        let asked = visitor.get(&format!("{}/", self.api.narthex.origin("app"))).await;
        let url = format!("{}&identity_provider={provider}", location(&asked));
        let status = visitor.sign_in(&url, login).await.status().as_u16();
        (visitor, status)
    }

    /// Signs in at a provider. Returns the visitor and the claims that the app got.
    async fn come(&self, provider: &str, login: &str) -> (Visitor, Value) {
        let (visitor, status) = self.land(provider, login).await;
        assert_eq!(status, 200, "{provider} {login}");
        (visitor, self.upstream.seen().last().unwrap().claims())
    }

    /// The reason of the last failed sign-in.
    fn last_reason(&self) -> String {
        text(&self.api.narthex.audit("login_failed").last().unwrap()["reason"])
    }

    fn password_sign_in(&mut self, name: &str) -> Result<Value, String> {
        let parameters = json!({ "USERNAME": name, "PASSWORD": PASSWORD });
        let request = json!({ "ClientId": "webclient", "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
        self.boto.unsigned("InitiateAuth", request).map_err(|error| error.code)
    }

    /// The changes of accounts that the audit log has.
    fn changes(&self) -> Vec<String> {
        self.api.narthex.audit("account_changed").iter().map(|line| text(&line["change"])).collect()
    }
}

/// `ProviderUserIdentifierType`
fn account(provider: &str, attribute: &str, value: &str) -> Value {
    let mut account = json!({ "ProviderName": provider, "ProviderAttributeValue": value });
    if !attribute.is_empty() {
        account["ProviderAttributeName"] = json!(attribute);
    }
    account
}

const SUBJECT: &str = "Cognito_Subject";

#[tokio::test(flavor = "multi_thread")]
async fn pain_8_a_linked_account_signs_in_as_the_local_user_and_both_ways_give_the_same_sub() {
    let mut scene = Scene::start().await;
    let sub = scene.create("ann");
    scene.link("ann", ("corp", SUBJECT, "alice"));
    let identities: Value = serde_json::from_str(&scene.attribute("ann", "identities").unwrap()).unwrap();
    assert_eq!((&identities[0]["providerName"], &identities[0]["userId"]), (&json!("corp"), &json!("alice")));

    assert_ne!(scene.come("club", "alice").await.1["sub"], json!(sub), "a link is for one provider");
    let (visitor, by_corp) = scene.come("corp", "alice").await;
    assert_eq!((&by_corp["sub"], &by_corp["cognito:username"]), (&json!(sub), &json!("ann")));
    assert_eq!(by_corp["email"], "alice@corp.example", "the provider speaks for the sessions through it");
    assert_eq!(scene.attribute("ann", "email").unwrap(), "ann@local.example", "and not for the others");
    let tokens = scene.password_sign_in("ann").unwrap();
    let id = claims(tokens["AuthenticationResult"]["IdToken"].as_str().unwrap());
    let found = (&id["sub"], &id["email"], &id["identities"][0]["userId"], &id["identities"][0]["primary"]);
    assert_eq!(found, (&json!(sub), &json!("ann@local.example"), &json!("alice"), &json!("false")));
    let access = tokens["AuthenticationResult"]["AccessToken"].clone();
    let own = scene.boto.unsigned("GetUser", json!({ "AccessToken": access })).unwrap();
    assert!(own["UserAttributes"].as_array().unwrap().iter().any(|of| of["Name"] == "identities"));
    let listed = scene.done("ListUsers", json!({ "AttributesToGet": ["identities"] }));
    assert!(text(&listed["Users"][0]["Attributes"][0]["Value"]).contains("alice"));

    // The next sign-in, and somebody else.
    assert_eq!(scene.come("corp", "alice").await.1["sub"], json!(sub));
    assert_ne!(scene.come("corp", "bob").await.1["sub"], json!(sub));

    scene.unlink(("corp", SUBJECT, "alice")).unwrap();
    let app = format!("{}/", scene.api.narthex.origin("app"));
    until_out(&visitor, &app).await;
    assert_ne!(
        scene.come("corp", "alice").await.1["sub"],
        json!(sub),
        "an unlinked account is a user of its own"
    );
    assert_eq!(scene.attribute("ann", "identities"), None);
    let changes = scene.changes();
    assert!(
        ["provider_linked", "provider_unlinked"].iter().all(|change| changes.iter().any(|of| of == change))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_linked_in_postgresql_too() {
    let database = Postgres::shared().database();
    let mut scene = Scene::start_with(|builder| builder.postgres(&database)).await;
    let sub = scene.create("ann");
    let carol = scene.come("corp", "carol").await.1["sub"].clone();
    scene.link("ann", ("corp", "email", "alice@corp.example"));
    assert_eq!(scene.come("corp", "alice").await.1["sub"], json!(sub));
    let refused = scene.try_link("ann", ("corp", SUBJECT, "carol")).unwrap_err();
    assert!(refused.contains("provide a SourceUser that has not been signed up"), "{refused}");
    scene.unlink(("corp", SUBJECT, "alice")).unwrap();
    let alone = scene.come("corp", "alice").await.1["sub"].clone();
    assert!(alone != json!(sub) && alone != carol);
    scene.unlink(("Cognito", SUBJECT, "ann")).unwrap();
    assert_eq!(scene.password_sign_in("ann").unwrap_err(), "NotAuthorizedException");
}

/// Waits until a visitor is signed out.
async fn until_out(visitor: &Visitor, app: &str) {
    let begun = std::time::Instant::now();
    while visitor.get(app).await.status() != 303 {
        assert!(begun.elapsed().as_secs() < 5, "a session goes on that has ended");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_by_an_address_counts_for_a_verified_address_alone() {
    let mut scene = Scene::start().await;
    let sub = scene.create("ann");
    scene.link("ann", ("corp", "email", "alice@corp.example"));
    // Somebody who only says that the address is theirs.
    let (_, impostor) = scene.come("corp", "alice!").await;
    assert_ne!(impostor["sub"], json!(sub));
    assert_eq!(scene.come("corp", "alice").await.1["sub"], json!(sub));
    // The link is used up: another account with the address is another user.
    assert_ne!(scene.come("corp", "alice+staff").await.1["sub"], json!(sub));
    assert_eq!(scene.come("corp", "alice").await.1["sub"], json!(sub));
    // Since the first sign-in the account is named by its subject.
    let (exception, _) = scene.unlink(("corp", "email", "alice@corp.example")).unwrap_err();
    assert_eq!(exception, "UserNotFoundException");
    scene.unlink(("corp", SUBJECT, "alice")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_two_users_that_fit_an_account_let_it_in_as_neither() {
    let mut scene = Scene::start().await;
    let (ann, _) = (scene.create("ann"), scene.create("bob"));
    scene.link("ann", ("corp", "email", "alice@corp.example"));
    scene.link("bob", ("corp", "name", "alice"));
    assert_eq!(scene.land("corp", "alice").await.1, 400);
    assert_eq!(scene.last_reason(), "unmappable");
    scene.unlink(("corp", "name", "alice")).unwrap();
    assert_eq!(scene.come("corp", "alice").await.1["sub"], json!(ann));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_does_not_let_anybody_in_as_a_user_who_may_not_sign_in() {
    let mut scene = Scene::start().await;
    let sub = scene.create("ann");
    scene.link("ann", ("corp", SUBJECT, "alice"));
    scene.done("AdminDisableUser", json!({ "Username": "ann" }));
    assert_eq!(scene.land("corp", "alice").await.1, 403);
    assert_eq!(scene.last_reason(), "user_disabled");
    let refused = scene.try_link("ann", ("club", SUBJECT, "alice")).unwrap_err();
    assert_eq!(refused, "InvalidParameterException: User is disabled.");
    scene.done("AdminEnableUser", json!({ "Username": "ann" }));
    assert_eq!(scene.come("corp", "alice").await.1["sub"], json!(sub));
    // A sign-up with the address of another person, with a password that this person does not know.
    let email = json!([{ "Name": "email", "Value": "eve@corp.example" }]);
    let request =
        json!({ "ClientId": "webclient", "Username": "eve", "Password": PASSWORD, "UserAttributes": email });
    scene.boto.unsigned("SignUp", request).unwrap();
    let refused = scene.try_link("eve", ("corp", SUBJECT, "eve")).unwrap_err();
    assert_eq!(refused, "InvalidParameterException: User is not confirmed.");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_has_a_user_is_not_linked() {
    let mut scene = Scene::start().await;
    scene.create("ann");
    scene.create("bob");
    let (_, carol) = scene.come("corp", "carol").await;
    scene.link("ann", ("corp", SUBJECT, "alice"));
    let merging = "InvalidParameterException: Merging is not currently supported";
    let to_another =
        &*format!("{merging} when a SourceUser is already linked to an existing DestinationUser");
    let signed_up = &*format!("{merging}, provide a SourceUser that has not been signed up in order to link");
    let same = "InvalidParameterException: SourceUser is already linked to DestinationUser";
    let local = "InvalidParameterException: Invalid SourceUser: Cognito users with a username/password may not be \
                 passed in as a SourceUser, only as a DestinationUser";
    for _ in 0..2 {
        for (name, source, words) in [
            ("ann", ("corp", SUBJECT, "alice"), same),
            ("bob", ("corp", SUBJECT, "alice"), to_another),
            ("bob", ("corp", SUBJECT, "carol"), signed_up),
            ("bob", ("Cognito", SUBJECT, "ann"), local),
            ("nobody", ("corp", SUBJECT, "dan"), "UserNotFoundException: User does not exist."),
        ] {
            assert_eq!(scene.try_link(name, source).unwrap_err(), words, "{name} {source:?}");
        }
        let second = scene.try_link("ann", ("corp", SUBJECT, "second")).unwrap_err();
        assert!(second.contains("a linked account of corp"), "{second}");
        // The same once the account has signed in.
        scene.come("corp", "alice").await;
    }
    // A provider's user can be the destination, and is named by the subject.
    let request = json!({ "DestinationUser": account("corp", "", "carol"), "SourceUser": account("club", SUBJECT, "c") });
    scene.done("AdminLinkProviderForUser", request);
    assert_eq!(scene.come("club", "c").await.1["sub"], carol["sub"]);
    let (exception, words) = scene.unlink(("corp", SUBJECT, "carol")).unwrap_err();
    assert_eq!((&*exception, words.contains("created by this account")), ("InvalidParameterException", true));
    // A local user is not merged into another by the command either.
    let narthex = &scene.api.narthex;
    let output = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["users", "link", "ann", "bob", "--config"])
        .arg(&narthex.file)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && printed.contains("would lose the password"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_providers_accounts_are_known_by_its_issuer() {
    let mut scene = Scene::start().await;
    let (sub, _) = (scene.create("ann"), scene.create("bob"));
    scene.link("ann", ("corp", SUBJECT, "alice"));
    assert_eq!(scene.come("corp", "alice").await.1["sub"], json!(sub));
    let narthex = &scene.api.narthex;
    narthex.edit(|text| text.replace("name = \"corp\"", "name = \"corq\""));
    narthex.signal("HUP");
    wait_until("the reload", || !narthex.audit("reload").is_empty());
    // Nobody has signed in under the new name.
    let second = scene.try_link("ann", ("corq", SUBJECT, "second")).unwrap_err();
    assert!(second.contains("a linked account of corq"), "{second}");
    let taken = scene.try_link("bob", ("corq", SUBJECT, "alice")).unwrap_err();
    assert!(taken.contains("already linked to an existing DestinationUser"), "{taken}");
    let (exception, _) = scene.unlink(("corq", SUBJECT, "second")).unwrap_err();
    assert_eq!(exception, "UserNotFoundException");
    assert!(scene.attribute("ann", "identities").unwrap().contains("alice"));
    scene.unlink(("corq", SUBJECT, "alice")).unwrap();
    assert_eq!(scene.attribute("ann", "identities"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_password_is_disabled_signs_in_by_the_linked_account_alone() {
    let mut scene = Scene::start().await;
    let sub = scene.create("ann");
    scene.link("ann", ("corp", SUBJECT, "alice"));
    scene.come("corp", "alice").await;
    scene.unlink(("Cognito", SUBJECT, "ann")).unwrap();
    assert_eq!(scene.password_sign_in("ann").unwrap_err(), "NotAuthorizedException");
    let forgot = json!({ "ClientId": "webclient", "Username": "ann" });
    let refused = scene.boto.unsigned("ForgotPassword", forgot).unwrap_err();
    assert_eq!(refused.code, "NotAuthorizedException", "{}", refused.message);
    let reset = scene.call("AdminResetUserPassword", json!({ "Username": "ann" })).unwrap_err();
    assert_eq!(reset.0, "NotAuthorizedException");
    assert_eq!(scene.come("corp", "alice").await.1["sub"], json!(sub));
    scene.unlink(("Cognito", SUBJECT, "ann")).unwrap();
    // An administrator can give a password again.
    scene.done("AdminSetUserPassword", json!({ "Username": "ann", "Password": PASSWORD, "Permanent": true }));
    scene.password_sign_in("ann").unwrap();
    assert!(scene.changes().iter().any(|change| change == "password_disabled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saml_account_is_linked_by_its_name_id() {
    let (upstream, provider) = (Upstream::start().await, SamlProvider::new("idp"));
    let mail = MailServer::start("starttls", &[]);
    let narthex = Api::builder(&mail, POOL)
        .tables(&provider.toml(&format!("{ENTITY_ID_TOML}\n")))
        .route("app", upstream.port, "")
        .start();
    let api = Api { narthex, mail };
    let (mut boto, pool) = (api.boto(), api.pool_id());
    let create = json!({ "UserPoolId": pool, "Username": "ann", "MessageAction": "SUPPRESS" });
    boto.call("AdminCreateUser", create).unwrap();
    let link = json!({ "UserPoolId": pool, "DestinationUser": account("Cognito", "", "ann"),
        "SourceUser": account("idp", "NameID", "alice") });
    boto.call("AdminLinkProviderForUser", link).unwrap();
    let (_, landed, _) = sign_in(&api.narthex, &provider).await;
    assert_status(&landed, 200);
    assert_eq!(upstream.seen().last().unwrap().claims()["cognito:username"], "ann");
    let unlink = json!({ "UserPoolId": pool, "User": account("idp", SUBJECT, "alice") });
    boto.call("AdminDisableProviderForUser", unlink).unwrap();
    let (_, landed, _) = sign_in(&api.narthex, &provider).await;
    assert_status(&landed, 200);
    assert_ne!(upstream.seen().last().unwrap().claims()["cognito:username"], "ann");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_id_in_the_form_of_a_stored_link_is_refused() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider {
        entity_id: "[&quot;corp&quot;,&quot;email&quot;]".into(),
        ..SamlProvider::new("evil")
    };
    provider.publish(&[&provider.key]);
    let mail = MailServer::start("starttls", &[]);
    let narthex = Api::builder(&mail, POOL)
        .tables(&provider.toml(&format!("{}\n", ENTITY_ID_TOML)))
        .route("app", upstream.port, "")
        .start();
    let (_, landed, _) = sign_in(&narthex, &provider).await;
    assert_status(&landed, 400);
    let failure = narthex.audit("login_failed").last().unwrap().to_string();
    assert!(failure.contains("is not a URI"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_exported_and_imported() {
    let mut scene = Scene::start().await;
    let sub = scene.create("ann");
    scene.link("ann", ("corp", SUBJECT, "alice"));
    let run = |arguments: &[&str]| {
        let command = [&["users"][..], arguments].concat();
        let file = &scene.api.narthex.file;
        let output = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(command)
            .arg("--config")
            .arg(file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let file = scene.api.narthex.folder().join("users.jsonl").display().to_string();
    run(&["export", "--output", &file]);
    run(&["delete", "ann"]);
    run(&["import", &file]);
    assert_eq!(scene.come("corp", "alice").await.1["sub"], json!(sub));
}

//! Several user pools in the configuration file: what belongs to each, what becomes of a pool that
//! leaves the file, and their tokens on routes.

use crate::support::aws::{Api, Boto, OTHER, PASSWORD, claims};
use crate::support::client_credentials::oauth2_request;
use crate::support::config_errors::{assert_each_reported, config_errors};
use crate::support::engine::Engine;
use crate::support::mail::MailServer;
use crate::support::process::wait_until;
use crate::support::upstream::Upstream;
use crate::support::users::{create_user, new_user};
use crate::support::visitor::Visitor;
use narthex::base::{SystemEntropy, Timestamp};
use narthex::catalogue::Catalogue;
use narthex::config::Config;
use narthex::directory::DirectoryError;
use narthex::directory::pools::{self, FilePool, NewClient, PoolChanges, write_file_pools};
use narthex::model::{AppClientSettings, Pool, PoolSettings, PoolSource};
use narthex::store::{CheckedWork, Lookup, RefreshFamily, Store};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

on_both_engines! {
    the_pools_of_a_file_are_written_together
    a_pool_that_leaves_the_file_is_the_apis
    a_deleted_pool_does_not_come_back_with_the_file
    the_file_takes_no_pool_from_the_api
}

/// Runs an operation in a transaction.
macro_rules! run {
    ($store:expr, |$tx:ident| $work:expr) => {
        $store
            .checked_transaction(|$tx| -> CheckedWork<'_, _, DirectoryError> {
                Box::pin(async move { $work.await })
            })
            .await
    };
}

const PEOPLE: &str = r#"
[[user_pool]]
name = "people"
sign_up = true
auto_verified = ["email"]
[[user_pool.client]]
name = "web"
id = "peopleweb"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
"#;

const STAFF: &str = r#"
[[user_pool]]
name = "staff"
sign_up = true
auto_verified = ["email"]
signing_algorithm = "ES256"
password_policy = { minimum_length = 12 }
[[user_pool.message]]
event = "sign_up"
subject = "Welcome to the staff"
text = "Your code for the staff is {####}."
[[user_pool.resource_server]]
identifier = "photos"
scopes = ["read"]
[[user_pool.client]]
name = "web"
id = "staffweb"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
[[user_pool.client]]
name = "reporter"
id = "reporter"
secret = "0123456789012345678901"
allowed_oauth_flows = ["client_credentials"]
allowed_oauth_scopes = ["photos/read"]
"#;

fn now() -> Timestamp {
    Timestamp::from_seconds(1_800_000_000)
}

/// A whole file with these pools.
fn file(pools: &str) -> String {
    format!(
        "public_url = \"https://auth.example.com\"\n{pools}\n[[route]]\nhost = \"app.example.com\"\n\
         access = \"public\"\nupstream = \"http://127.0.0.1:3000\"\n"
    )
}

/// Writes the pools of a file, as a start does.
async fn write(store: &Store, text: &str) -> Result<(Vec<FilePool>, Vec<Pool>), DirectoryError> {
    let config = Config::parse(&file(text), "narthex.toml", Path::new("/tmp"), &|_| None);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let catalogue = Catalogue::build(config, store, &SystemEntropy, 1).await.unwrap();
    let declared = FilePool::all(&catalogue);
    let released = write_file_pools(store, &declared, now(), &SystemEntropy).await?;
    Ok((declared, released))
}

async fn client_of(store: &Store, pool: &Pool, name: &str) -> String {
    let settings = AppClientSettings { name: name.to_owned(), ..AppClientSettings::default() };
    let new = &NewClient { settings, secret: None };
    run!(store, |tx| pools::create_client(tx, &pool.id, new, now(), &SystemEntropy)).unwrap().client.id
}

async fn user_named(store: &Store, pool: &Pool, name: &str) -> Option<String> {
    store.find_user(pool, name, Lookup::SignIn).await.unwrap().map(|user| user.id)
}

async fn the_pools_of_a_file_are_written_together(engine: Engine) {
    let store = &engine.open().await;
    let (declared, released) = write(store, &format!("{PEOPLE}{STAFF}")).await.unwrap();
    assert!(released.is_empty());
    let people = pools::find_pool(store, &declared[0].id).await.unwrap();
    let staff = pools::find_pool(store, &declared[1].id).await.unwrap();
    assert_ne!(people.id, staff.id);
    assert_eq!((people.source, staff.source), (PoolSource::File, PoolSource::File));
    assert_eq!((people.settings.name.as_str(), staff.settings.name.as_str()), ("people", "staff"));
    assert_eq!(staff.settings.signing_algorithm, "ES256");
    assert_eq!(staff.settings.password_policy.minimum_length, 12);
    for (pool, clients) in [(&people, vec!["peopleweb"]), (&staff, vec!["reporter", "staffweb"])] {
        let stored = store.app_clients(pool.no, "", 10).await.unwrap();
        assert_eq!(stored.iter().map(|client| client.id.as_str()).collect::<Vec<_>>(), clients);
    }
    assert_eq!(store.resource_servers(staff.no, "", 10).await.unwrap().len(), 1);
    assert!(store.resource_servers(people.no, "", 10).await.unwrap().is_empty());
    // The same name is another user in each.
    let one = create_user(store, &people, &new_user("alice", &[]), now()).await.unwrap();
    let two = create_user(store, &staff, &new_user("alice", &[]), now()).await.unwrap();
    assert_ne!(one.id, two.id);
    assert_eq!(user_named(store, &people, "alice").await, Some(one.id));
    assert_eq!(user_named(store, &staff, "alice").await, Some(two.id));
    // All or nothing: the second pool declares a client of the API, so the first does not change.
    let made = client_of(store, &people, "made").await;
    let refused = format!("{PEOPLE}{STAFF}")
        .replacen("sign_up = true", "sign_up = false", 1)
        .replace("id = \"reporter\"", &format!("id = \"{made}\""));
    let error = write(store, &refused).await.unwrap_err();
    assert!(error.message().contains("which the API has created\n  help: "), "{error}");
    assert_eq!(pools::find_pool(store, &people.id).await.unwrap(), people);
    // A client that moves to another pool is a client of that pool only.
    let moved = format!("{}{STAFF}", PEOPLE.replace("peopleweb", "other"))
        .replace("id = \"staffweb\"", "id = \"peopleweb\"");
    write(store, &moved).await.unwrap();
    assert_eq!(store.app_client("peopleweb").await.unwrap().unwrap().1, staff.id);
    assert!(store.app_client("staffweb").await.unwrap().is_none());
    // The order of the file decides which is the first, and nothing else.
    let (turned, released) = write(store, &format!("{STAFF}{PEOPLE}")).await.unwrap();
    assert_eq!((&turned[0].id, &turned[1].id), (&staff.id, &people.id));
    assert!(released.is_empty());
}

async fn a_pool_that_leaves_the_file_is_the_apis(engine: Engine) {
    let store = &engine.open().await;
    let both = format!("{PEOPLE}{STAFF}");
    let id = &write(store, &both).await.unwrap().0[1].id;
    let staff = pools::find_pool(store, id).await.unwrap();
    let user = create_user(store, &staff, &new_user("alice", &[]), now()).await.unwrap();
    let made = client_of(store, &staff, "made").await;
    let family = &RefreshFamily {
        amr: Vec::new(),
        id: "family".to_owned(),
        user_no: user.no,
        client_id: "staffweb".to_owned(),
        generation: 1,
        rotated_at: now(),
        auth_time: now(),
        scope: String::new(),
        device_key: String::new(),
        created_at: now(),
        expires_at: Timestamp::from_seconds(1_900_000_000),
        key: String::new(),
    };
    store.transaction(|tx| Box::pin(async move { tx.add_refresh_family(family).await })).await.unwrap();
    let rename = &PoolChanges { name: Some("old staff".to_owned()), ..PoolChanges::default() };
    let update = async || run!(store, |tx| pools::update_pool(tx, id, rename, now(), &SystemEntropy));
    assert_eq!(update().await.unwrap_err().exception(), "OperationNotEnabledException");

    let (_, released) = write(store, PEOPLE).await.unwrap();
    assert_eq!(released.iter().map(|pool| &pool.id).collect::<Vec<_>>(), [id]);
    let left = pools::find_pool(store, id).await.unwrap();
    assert_eq!((left.source, &left.settings), (PoolSource::Api, &staff.settings));
    assert_eq!(user_named(store, &left, "alice").await.as_ref(), Some(&user.id));
    let clients = store.app_clients(left.no, "", 10).await.unwrap();
    assert_eq!(clients.iter().map(|client| &client.id).collect::<Vec<_>>(), [&made]);
    assert!(store.resource_servers(left.no, "", 10).await.unwrap().is_empty());
    assert_eq!(store.refresh_family("family").await.unwrap(), None);
    assert_eq!(update().await.unwrap().settings.name, "old staff");
    assert!(write(store, PEOPLE).await.unwrap().1.is_empty());

    // The file may have it again: the same pool with its users, and with the file's settings.
    let (again, released) = write(store, &both).await.unwrap();
    assert_eq!((&again[1].id, released.len()), (id, 0));
    let back = pools::find_pool(store, id).await.unwrap();
    assert_eq!((back.source, back.settings.name.as_str()), (PoolSource::File, "staff"));
    assert_eq!(user_named(store, &back, "alice").await, Some(user.id));
    assert_eq!(update().await.unwrap_err().exception(), "OperationNotEnabledException");
    // It is the file's as before, so it can leave again.
    assert_eq!(write(store, PEOPLE).await.unwrap().1.len(), 1);
}

async fn a_deleted_pool_does_not_come_back_with_the_file(engine: Engine) {
    let store = &engine.open().await;
    // One name is the beginning of another.
    let all = format!("{PEOPLE}{STAFF}[[user_pool]]\nname = \"staff2\"\n");
    let ids: Vec<_> = write(store, &all).await.unwrap().0.into_iter().map(|pool| pool.id).collect();
    write(store, PEOPLE).await.unwrap();
    let staff = ids[1].as_str();
    run!(store, |tx| pools::delete_pool(tx, staff, now(), &SystemEntropy)).unwrap();
    let again: Vec<_> = write(store, &all).await.unwrap().0.into_iter().map(|pool| pool.id).collect();
    assert_ne!(again[1], ids[1]);
    assert_eq!((&again[0], &again[2..]), (&ids[0], &ids[2..]));
    let gone = pools::find_pool(store, &ids[1]).await.unwrap_err();
    assert_eq!(gone.exception(), "ResourceNotFoundException");
    assert_eq!(store.app_client("staffweb").await.unwrap().unwrap().1, again[1]);
}

async fn the_file_takes_no_pool_from_the_api(engine: Engine) {
    let store = &engine.open().await;
    let settings = &PoolSettings { name: "made".to_owned(), ..PoolSettings::default() };
    let made = run!(store, |tx| pools::create_pool(tx, "us-east-1", settings, now(), &SystemEntropy));
    let made = made.unwrap();
    let mut declared = write(store, PEOPLE).await.unwrap().0;
    declared.push(FilePool { id: made.id.clone(), ..declared[0].clone() });
    declared[1].clients.clear();
    let refused = write_file_pools(store, &declared, now(), &SystemEntropy).await.unwrap_err();
    assert_eq!(refused.exception(), "InvalidParameterException");
    let words = format!("with the id `{}`, which the API has created\n  help: ", made.id);
    assert!(refused.message().contains(&words), "{refused}");
    assert_eq!(pools::find_pool(store, &made.id).await.unwrap(), made);
    // Nor one that is being deleted.
    let id = made.id.as_str();
    run!(store, |tx| pools::delete_pool(tx, id, now(), &SystemEntropy)).unwrap();
    let refused = write_file_pools(store, &declared, now(), &SystemEntropy).await.unwrap_err();
    assert!(refused.message().contains("is being deleted\n  help: "), "{refused}");
}

#[test]
fn what_is_wrong_about_several_pools_is_told() {
    let roles = "[[user_pool.group]]\nname = \"editors\"\n";
    let provider = "[[provider]]\nname = \"corp\"\ntype = \"oidc\"\nissuer = \"https://idp.example.com\"\n\
                    client_id = \"a\"\nallow = \"anyone\"\ngroups = { Editors = \"editors\" }\n";
    let bearer = "[[route]]\nhost = \"api.example.com\"\nupstream = \"http://127.0.0.1:3000\"\nbearer = true\n\
                  user_pools = [\"staff\"]\n";
    let good = file(&format!("{PEOPLE}{roles}{STAFF}{provider}{bearer}"));
    assert_each_reported(
        &good,
        &[
            ("name = \"staff\"", "name = \"people\"", "two user pools are named \"people\""),
            ("id = \"staffweb\"", "id = \"peopleweb\"", "two app clients have the id of \"web\""),
            ("id = \"reporter\"", "id = \"peopleweb\"", "two app clients have the id of \"reporter\""),
            (
                "name = \"staff\"",
                "name = \"corp\"",
                "the user pool and an issuer or a provider are named \"corp\"",
            ),
            ("name = \"people\"\n", "name = \"people\"\nnmae = 1\n", "did you mean `name`?"),
        ],
    );
    // Providers have the groups of the first pool.
    let turned = file(&format!("{STAFF}{PEOPLE}{roles}{provider}"));
    let errors = config_errors(&turned).unwrap();
    assert!(errors.contains("no [[user_pool.group]] is named \"editors\""), "{errors}");
    // A route whose pools issue nothing is closed.
    let silent = "[[user_pool]]\nname = \"silent\"\n";
    let closed = format!("{PEOPLE}{silent}{}", bearer.replace("staff", "silent"));
    let errors = config_errors(&file(&closed)).unwrap();
    assert!(errors.contains("no token can be valid for route"), "{errors}");
    assert_eq!(config_errors(&file(&closed.replace("[\"silent\"]", "[\"silent\", \"people\"]"))), None);
}

/// Signs a user up through a client, and returns the access token of a sign-in.
fn signed_in(
    api: &Api,
    boto: &mut Boto,
    client: &str,
    (email, sent): (&str, usize),
    password: &str,
) -> String {
    let attributes = json!([{ "Name": "email", "Value": email }]);
    let sign_up = json!({ "ClientId": client, "Username": "alice", "Password": password, "UserAttributes": attributes });
    boto.unsigned("SignUp", sign_up).unwrap();
    let code = api.code(email, sent);
    let confirm = json!({ "ClientId": client, "Username": "alice", "ConfirmationCode": code });
    boto.unsigned("ConfirmSignUp", confirm).unwrap();
    let answer = boto.unsigned("InitiateAuth", auth(client, password)).unwrap();
    answer["AuthenticationResult"]["AccessToken"].as_str().unwrap().to_owned()
}

fn auth(client: &str, password: &str) -> Value {
    json!({
        "ClientId": client,
        "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": { "USERNAME": "alice", "PASSWORD": password },
    })
}

/// Returns the output of a command on the deployment.
fn command(api: &Api, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
    command.args(arguments).arg("--config").arg(&api.narthex.file).current_dir(api.narthex.folder());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Returns the id of the pool with this name.
fn id_of(api: &Api, name: &str) -> String {
    let listed = command(api, &["pools", "list"]);
    let line = listed.lines().find(|line| line.ends_with(&format!("  {name}"))).unwrap();
    line.split(' ').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_two_pools_sign_in_and_each_route_accepts_the_pools_that_it_names() {
    let app = Upstream::start().await;
    let mail = MailServer::start("starttls", &[]);
    let narthex = Api::builder(&mail, &format!("{PEOPLE}{STAFF}"))
        .route("people", app.port, "bearer = true")
        .route("staff", app.port, "bearer = true\nuser_pools = [\"staff\"]")
        .route("both", app.port, "bearer = true\nuser_pools = [\"people\", \"staff\"]")
        .start();
    let api = Api { narthex, mail };
    let mut boto = api.boto();
    let people = signed_in(&api, &mut boto, "peopleweb", ("alice@example.com", 1), PASSWORD);
    let staff = signed_in(&api, &mut boto, "staffweb", ("alice@example.com", 2), OTHER);
    assert_ne!(claims(&people)["sub"], claims(&staff)["sub"]);
    for (client, password) in [("peopleweb", OTHER), ("staffweb", PASSWORD)] {
        let refused = boto.unsigned("InitiateAuth", auth(client, password)).unwrap_err();
        assert_eq!(refused.code, "NotAuthorizedException");
    }
    // Each pool has its own texts.
    let texts: Vec<String> =
        api.mail.accepted().iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect();
    assert!(!texts[0].contains("for the staff") && texts[1].contains("Your code for the staff"), "{texts:?}");
    let url = format!("{}/{}", api.narthex.origin("auth"), id_of(&api, "staff"));
    assert_eq!(claims(&staff)["iss"], url.as_str());
    let program = Visitor::new(&api.narthex).client;
    let read = async |path: &str| {
        let answer = program.get(format!("{url}/.well-known/{path}")).send().await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    let metadata = read("openid-configuration").await;
    let scopes = metadata["scopes_supported"].as_array().unwrap();
    assert!(scopes.contains(&json!("photos/read")) && !scopes.contains(&json!("photos/write")), "{scopes:?}");
    assert!(read("jwks.json").await["keys"].as_array().unwrap().iter().all(|key| key["alg"] == "ES256"));
    // A program of the second pool.
    let form = [("grant_type", "client_credentials")];
    let secret = Some("0123456789012345678901");
    let answer = oauth2_request(&api.narthex, "token")
        .basic_auth("reporter", secret)
        .form(&form)
        .send()
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    let reporter = answer["access_token"].as_str().unwrap();
    assert_eq!(claims(reporter)["iss"], url.as_str());
    let get = async |host: &str, token: &str| {
        let url = format!("{}/", api.narthex.origin(host));
        program.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    for (token, expected) in
        [(&*people, [200, 401, 200]), (&staff, [401, 200, 200]), (reporter, [401, 200, 200])]
    {
        for (host, status) in ["people", "staff", "both"].into_iter().zip(expected) {
            assert_eq!(get(host, token).await, status, "{host}: {}", claims(token));
        }
    }
    // The client introspects and revokes tokens of its own pool only.
    let active = async |token: &str| {
        let form = [("token", token)];
        let answer = oauth2_request(&api.narthex, "introspect").basic_auth("reporter", secret).form(&form);
        answer.send().await.unwrap().json::<Value>().await.unwrap()["active"].clone()
    };
    assert_eq!((active(reporter).await, active(&people).await), (json!(true), json!(false)));
    let form = [("token", reporter)];
    oauth2_request(&api.narthex, "revoke").basic_auth("reporter", secret).form(&form).send().await.unwrap();
    assert_eq!(active(reporter).await, json!(false));
    // The commands.
    let (checked, id) = (command(&api, &["check"]), id_of(&api, "staff"));
    for part in ["user pool        people", "user pool        staff", &id, &api.pool_id(), "staffweb"] {
        assert!(checked.contains(part), "{part}:\n{checked}");
    }
    assert!(command(&api, &["pools", "show", "staff"]).contains("app client: staffweb  web"));
    let exported = |pool: &str| command(&api, &["users", "export", "--pool", pool]);
    let sub = |token: &str| claims(token)["sub"].as_str().unwrap().to_owned();
    for (pool, token) in [("people", &people), ("staff", &staff), (&*id, &staff)] {
        let users = exported(pool);
        assert!(users.contains(&sub(token)) && users.matches("\"alice\"").count() == 1, "{pool}: {users}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_adds_a_pool_and_a_later_one_gives_it_to_the_api() {
    let app = Upstream::start().await;
    let mail = MailServer::start("starttls", &[]);
    let narthex = Api::builder(&mail, PEOPLE).route("app", app.port, "bearer = true").start();
    let api = Api { narthex, mail };
    let mut boto = api.boto();
    let unknown = boto.unsigned("InitiateAuth", auth("staffweb", PASSWORD)).unwrap_err();
    assert_eq!(unknown.code, "ResourceNotFoundException");
    let route = "[[route]]\nhost = \"staff.localhost\"\nbearer = true\nuser_pools = [\"staff\"]\n";
    let route = format!("{route}upstream = \"http://127.0.0.1:{}\"\n", app.port);
    let more = format!("{STAFF}{route}");
    api.narthex.edit(|text| text + &more);
    wait_until("the reload", || api.narthex.audit("reload").len() == 1);
    let token = signed_in(&api, &mut boto, "staffweb", ("alice@example.com", 1), PASSWORD);
    let program = Visitor::new(&api.narthex).client;
    let url = format!("{}/", api.narthex.origin("staff"));
    assert_eq!(program.get(url).bearer_auth(&token).send().await.unwrap().status(), 200);
    let id = id_of(&api, "staff");
    let protect = || json!({ "UserPoolId": id, "DeletionProtection": "ACTIVE" });
    let refused = boto.call("UpdateUserPool", protect()).unwrap_err();
    assert_eq!(refused.code, "OperationNotEnabledException");

    api.narthex.edit(|text| text.replace(&more, ""));
    wait_until("the second reload", || api.narthex.audit("reload").len() == 2);
    let released = api.narthex.audit("user_pool_released");
    assert_eq!(released.len(), 1);
    assert_eq!((&released[0]["pool"], &released[0]["name"]), (&json!(id), &json!("staff")));
    boto.call("UpdateUserPool", protect()).unwrap();
    let user = boto.call("AdminGetUser", json!({ "UserPoolId": id, "Username": "alice" })).unwrap();
    assert_eq!(user["UserStatus"], "CONFIRMED");
    let gone = boto.unsigned("InitiateAuth", auth("staffweb", PASSWORD)).unwrap_err();
    assert_eq!(gone.code, "ResourceNotFoundException");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_sees_the_pool_of_the_user() {
    let app = Upstream::start().await;
    let mail = MailServer::start("starttls", &[]);
    let policy = |id: &str| {
        let amr = format!("cognito-idp.us-east-1.amazonaws.com/{id}");
        let condition = json!({ "ForAnyValue:StringEquals": { "cognito-identity.amazonaws.com:amr": amr } });
        let statement = json!({
            "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*", "Condition": condition
        });
        json!({ "Version": "2012-10-17", "Statement": statement }).to_string()
    };
    let tables = "[[role]]\nname = \"member\"\npolicies = [\"policy.json\"]\n[[identity_pool]]\nname = \"main\"\n\
                  authenticated_role = \"member\"\n";
    let narthex = Api::builder(&mail, &format!("{PEOPLE}{STAFF}{tables}"))
        .file("policy.json", policy("us-east-1_000000000"))
        .route(
            "app",
            app.port,
            "name = \"photos\"\naccess = \"policy\"\nbearer = true\nuser_pools = [\"people\", \"staff\"]",
        )
        .start();
    let api = Api { narthex, mail };
    let mut boto = api.boto();
    let people = signed_in(&api, &mut boto, "peopleweb", ("alice@example.com", 1), PASSWORD);
    let staff = signed_in(&api, &mut boto, "staffweb", ("alice@example.com", 2), PASSWORD);
    let program = Visitor::new(&api.narthex).client;
    let get = async |token: &str| {
        let url = format!("{}/", api.narthex.origin("app"));
        program.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    assert_eq!((get(&people).await, get(&staff).await), (403, 403));
    for (reloads, name, expected) in [(1, "staff", (403, 200)), (2, "people", (200, 403))] {
        std::fs::write(api.narthex.folder().join("policy.json"), policy(&id_of(&api, name))).unwrap();
        wait_until("the reload", || api.narthex.audit("reload").len() == reloads);
        assert_eq!((get(&people).await, get(&staff).await), expected, "{name}");
    }
}

#[test]
fn users_are_managed_in_the_pool_that_a_command_names() {
    let api = &Api::start(&format!("{PEOPLE}{STAFF}"));
    for pool in ["people", "staff"] {
        let created = command(api, &["users", "create", "alice", "--pool", pool]);
        assert!(created.starts_with("alice"), "{created}");
    }
    command(api, &["users", "disable", "alice", "--pool", "staff"]);
    assert!(command(api, &["users", "show", "alice"]).contains("enabled"), "the first pool by default");
    assert!(command(api, &["users", "list", "--pool", "staff"]).contains("disabled"));
    // A name that two pools have is no user's; nothing changes.
    let narthex = &api.narthex;
    let unlink = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_narthex"));
        command
            .args(["users", "unlink", "alice", "corp", "--config"])
            .arg(&narthex.file)
            .args(more)
            .current_dir(narthex.folder());
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    let several = unlink(&[]);
    assert!(
        several.contains("several users are called \"alice\"") && several.contains("of the pool"),
        "{several}"
    );
    let of_staff = unlink(&["--pool", "staff"]);
    assert!(of_staff.contains("the user has no account of this provider"), "{of_staff}");
    assert!(command(api, &["users", "sign-out", "alice", "--pool", "people"]).contains("0 session(s) ended"));
    assert_eq!(command(api, &["users", "sign-out", "alice"]).lines().count(), 2);
}

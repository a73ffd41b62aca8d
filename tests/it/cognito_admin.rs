//! Cognito's API for administrators: users, lists, groups.

use crate::support::aws::{Api, Boto, KEY, OTHER, PASSWORD};
use serde_json::{Value, json};

const POOL: &str = r#"
[[user_pool]]
name = "people"
alias_attributes = ["email", "preferred_username"]
signing_algorithm = "ES256"
[[user_pool.client]]
name = "web"
id = "webclient"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
"#;
/// A policy that allows to read users and denies one of the operations.
const READER: &str = r#"{ "Version": "2012-10-17", "Statement": [
    { "Effect": "Allow", "Action": "cognito-idp:List*", "Resource": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/*" },
    { "Effect": "Deny", "Action": "cognito-idp:ListGroups", "Resource": "*" } ] }"#;

struct Scene {
    api: Api,
    boto: Boto,
    pool: String,
}

impl Scene {
    fn start() -> Self {
        let api = Api::start(POOL);
        let (boto, pool) = (api.boto(), api.pool_id());
        Self { api, boto, pool }
    }

    /// Calls a signed operation on the pool.
    fn call(&mut self, operation: &str, mut parameters: Value) -> Result<Value, (String, String)> {
        parameters["UserPoolId"] = json!(self.pool);
        self.boto.call(operation, parameters).map_err(|error| (error.class, error.message))
    }

    fn done(&mut self, operation: &str, parameters: Value) -> Value {
        self.call(operation, parameters.clone())
            .unwrap_or_else(|error| panic!("{operation} {parameters}: {error:?}"))
    }

    /// The class of the exception.
    fn refused(&mut self, operation: &str, parameters: Value) -> String {
        self.call(operation, parameters).unwrap_err().0
    }

    fn create(&mut self, name: &str, attributes: &[(&str, &str)]) -> Value {
        let pair = |(name, value): &(&str, &str)| json!({ "Name": name, "Value": value });
        let attributes: Vec<Value> = attributes.iter().map(pair).collect();
        let request = json!({ "Username": name, "UserAttributes": attributes, "MessageAction": "SUPPRESS" });
        self.done("AdminCreateUser", request)["User"].clone()
    }

    fn sign_in(&mut self, name: &str, password: &str) -> Result<Value, (String, String)> {
        let parameters = json!({ "USERNAME": name, "PASSWORD": password });
        let request = json!({ "ClientId": "webclient", "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
        self.boto.unsigned("InitiateAuth", request).map_err(|error| (error.class, error.message))
    }
}

#[test]
fn a_user_is_invited_changed_disabled_and_deleted() {
    let mut scene = Scene::start();
    let email = json!([{ "Name": "email", "Value": "bob@example.com" }, { "Name": "email_verified", "Value": "true" }]);
    let invite = json!({ "Username": "bob", "UserAttributes": email, "DesiredDeliveryMediums": ["EMAIL"],
        "TemporaryPassword": "Temporary-9-Password" });
    let created = scene.done("AdminCreateUser", invite.clone())["User"].clone();
    assert_eq!(
        (&created["UserStatus"], &created["Enabled"]),
        (&json!("FORCE_CHANGE_PASSWORD"), &json!(true))
    );
    assert_eq!(scene.refused("AdminCreateUser", invite), "UsernameExistsException");
    crate::support::process::wait_until("the invitation", || scene.api.mail.count("bob@example.com") == 1);
    let challenge = scene.sign_in("bob@example.com", "Temporary-9-Password").unwrap();
    assert_eq!(challenge["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    assert_eq!(challenge["ChallengeParameters"]["USER_ID_FOR_SRP"], "bob");
    let responses = json!({ "USERNAME": "bob", "NEW_PASSWORD": PASSWORD });
    let answer = json!({ "ClientId": "webclient", "ChallengeName": "NEW_PASSWORD_REQUIRED",
        "Session": challenge["Session"], "ChallengeResponses": responses });
    let tokens = scene.boto.unsigned("RespondToAuthChallenge", answer.clone()).unwrap();
    let token = tokens["AuthenticationResult"]["AccessToken"].clone();
    let again = scene.boto.unsigned("RespondToAuthChallenge", answer).unwrap_err();
    assert_eq!(again.code, "NotAuthorizedException");
    let user = json!({ "Username": "bob" });
    let name = json!({ "Username": created["Attributes"][0]["Value"], "UserAttributes": [{ "Name": "name", "Value": "Bob" }] });
    scene.done("AdminUpdateUserAttributes", name);
    let found = scene.done("AdminGetUser", user.clone());
    assert_eq!(found["UserStatus"], "CONFIRMED");
    assert!(found["UserAttributes"].as_array().unwrap().contains(&json!({ "Name": "name", "Value": "Bob" })));
    scene.done("AdminDeleteUserAttributes", json!({ "Username": "bob", "UserAttributeNames": ["name"] }));
    scene.done("AdminDisableUser", user.clone());
    let disabled = scene.boto.unsigned("GetUser", json!({ "AccessToken": token })).unwrap_err();
    assert_eq!(disabled.code, "NotAuthorizedException");
    let refused = scene.sign_in("bob", PASSWORD).unwrap_err();
    assert_eq!(refused, ("NotAuthorizedException".to_owned(), "User is disabled.".to_owned()));
    scene.done("AdminEnableUser", user.clone());
    scene.done("AdminSetUserPassword", json!({ "Username": "bob", "Password": OTHER, "Permanent": true }));
    assert_eq!(
        scene.refused("AdminSetUserPassword", json!({ "Username": "bob", "Password": "short" })),
        "InvalidPasswordException"
    );
    scene.sign_in("bob", OTHER).unwrap();
    scene.done("AdminUserGlobalSignOut", user.clone());
    scene.done("AdminResetUserPassword", user.clone());
    assert_eq!(scene.sign_in("bob", OTHER).unwrap_err().0, "PasswordResetRequiredException");
    scene.done("AdminDeleteUser", user.clone());
    for operation in ["AdminGetUser", "AdminDeleteUser", "AdminEnableUser", "AdminUserGlobalSignOut"] {
        assert_eq!(scene.refused(operation, user.clone()), "UserNotFoundException", "{operation}");
    }
    let other = json!({ "UserPoolId": "us-east-1_nowhere00", "Username": "bob" });
    assert_eq!(scene.boto.call("AdminGetUser", other).unwrap_err().class, "ResourceNotFoundException");
}

#[test]
fn lists_have_pages_and_filters_and_nobody_twice() {
    let mut scene = Scene::start();
    for number in 0..23 {
        let family = if number % 2 == 0 { "O'Brien \"B\"" } else { "Ng" };
        let email = format!("u{number}@example.com");
        scene.create(&format!("user{number:02}"), &[("family_name", family), ("email", &email)]);
    }
    let (mut token, mut seen) = (None, Vec::new());
    loop {
        let mut page = json!({ "Limit": 10, "AttributesToGet": ["email"] });
        if let Some(token) = &token {
            page["PaginationToken"] = json!(token);
        }
        let page = scene.done("ListUsers", page);
        for user in page["Users"].as_array().unwrap() {
            assert_eq!(user["Attributes"].as_array().unwrap().len(), 1);
            seen.push(user["Username"].as_str().unwrap().to_owned());
        }
        match page.get("PaginationToken") {
            Some(next) => token = Some(next.as_str().unwrap().to_owned()),
            None => break,
        }
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen.len()), (23, 23));
    let mut filtered = |filter: &str| {
        scene.done("ListUsers", json!({ "Filter": filter }))["Users"].as_array().unwrap().len()
    };
    assert_eq!(filtered(r#"family_name = "O'Brien \"B\"""#), 12);
    assert_eq!(filtered("family_name ^= \"n\""), 11);
    assert_eq!(filtered("username ^= \"user1\""), 10);
    assert_eq!(
        scene.refused("ListUsers", json!({ "Filter": "password = \"x\"" })),
        "InvalidParameterException"
    );
    assert_eq!(scene.refused("ListUsers", json!({ "PaginationToken": "x" })), "InvalidParameterException");
}

#[test]
fn groups_have_members_and_are_in_tokens() {
    let mut scene = Scene::start();
    scene.create("alice", &[]);
    scene.done(
        "AdminSetUserPassword",
        json!({ "Username": "alice", "Password": PASSWORD, "Permanent": true }),
    );
    let staff = json!({ "GroupName": "staff", "Description": "All", "Precedence": 3 });
    assert_eq!(scene.done("CreateGroup", staff.clone())["Group"]["Precedence"], 3);
    assert_eq!(scene.refused("CreateGroup", staff), "GroupExistsException");
    scene.done("UpdateGroup", json!({ "GroupName": "staff", "Precedence": 5 }));
    let group = scene.done("GetGroup", json!({ "GroupName": "staff" }))["Group"].clone();
    assert_eq!((&group["Description"], &group["Precedence"]), (&json!("All"), &json!(5)));
    let member = json!({ "GroupName": "staff", "Username": "alice" });
    scene.done("AdminAddUserToGroup", member.clone());
    assert_eq!(
        scene.done("AdminListGroupsForUser", json!({ "Username": "alice" }))["Groups"][0]["GroupName"],
        "staff"
    );
    assert_eq!(
        scene.done("ListUsersInGroup", json!({ "GroupName": "staff" }))["Users"][0]["Username"],
        "alice"
    );
    assert_eq!(scene.done("ListGroups", json!({}))["Groups"].as_array().unwrap().len(), 1);
    let tokens = scene.sign_in("alice", PASSWORD).unwrap();
    let id_token = tokens["AuthenticationResult"]["IdToken"].as_str().unwrap().to_owned();
    assert_eq!(crate::support::aws::claims(&id_token)["cognito:groups"], json!(["staff"]));
    scene.done("AdminRemoveUserFromGroup", member);
    scene.done("DeleteGroup", json!({ "GroupName": "staff" }));
    assert_eq!(scene.refused("GetGroup", json!({ "GroupName": "staff" })), "ResourceNotFoundException");
    let nobody = json!({ "GroupName": "staff", "Username": "nobody" });
    assert_eq!(scene.refused("AdminAddUserToGroup", nobody), "UserNotFoundException");
}

#[test]
fn an_administrator_may_do_what_the_policies_allow() {
    let mail = crate::support::mail::MailServer::start("starttls", &[]);
    let reader = ("AKIAREADERREADER0001", "abcdefghijklmnopqrstuvwxyz0123456789ABCD");
    let narthex = Api::builder(&mail, POOL)
        .file("reader.json", READER)
        .tables(&format!(
            "[[administrator]]\nname = \"reader\"\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n\
             policies = [\"reader.json\"]\n",
            reader.0, reader.1
        ))
        .start();
    let api = Api { narthex, mail };
    let (mut reader, pool) = (Boto::new(&api.narthex, reader), api.pool_id());
    let of_pool = json!({ "UserPoolId": pool });
    reader.call("ListUsers", of_pool.clone()).unwrap();
    let denied = reader.call("ListGroups", of_pool.clone()).unwrap_err();
    assert_eq!(denied.code, "AccessDeniedException");
    assert!(denied.message.ends_with("with an explicit deny in an identity-based policy"), "{denied:?}");
    let denied = reader.call("AdminDeleteUser", json!({ "UserPoolId": pool, "Username": "x" })).unwrap_err();
    assert_eq!(
        denied.message,
        format!(
            "User: arn:aws:iam::123456789012:user/reader is not authorized to perform: cognito-idp:AdminDeleteUser \
             on resource: arn:aws:cognito-idp:us-east-1:123456789012:userpool/{pool} because no identity-based policy \
             allows the cognito-idp:AdminDeleteUser action"
        )
    );
    assert_eq!(api.narthex.audit("api_denied").len(), 2);
    // Narthex checks the policies before it says which pools exist.
    let other = reader.call("AdminGetUser", json!({ "UserPoolId": "us-east-1_nowhere00", "Username": "x" }));
    assert_eq!(other.unwrap_err().code, "AccessDeniedException");
    Boto::new(&api.narthex, KEY).call("ListGroups", of_pool).unwrap();
}

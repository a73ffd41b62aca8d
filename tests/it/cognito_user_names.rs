//! Cognito's API with boto3: which names find a user, at every operation that takes one.

use crate::support::aws::{Api, ApiError, Boto, PASSWORD, create, ok, text};
use serde_json::{Value, json};

const POOL: &str = "[[user_pool]]\nname = \"declared\"\nsigning_algorithm = \"ES256\"\n";
/// The settings of each kind of pool: user names alone, aliases, addresses in the place of names.
const KINDS: [(&str, &str); 3] = [
    ("names", "{}"),
    ("aliases", r#"{ "AliasAttributes": ["email", "phone_number", "preferred_username"] }"#),
    ("addresses", r#"{ "UsernameAttributes": ["email", "phone_number"] }"#),
];
/// Each name of a user with the pools in which administrators, and users at sign-in, are found by
/// it. In a pool of addresses the user name is the `sub`, and the typed address needs no code.
const FOUND: [(&str, &[&str], &[&str]); 7] = [
    ("username", &["names", "aliases", "addresses"], &["names", "aliases"]),
    ("sub", &["names", "aliases", "addresses"], &[]),
    ("verified email", &["aliases", "addresses"], &["aliases", "addresses"]),
    ("unverified email", &["addresses"], &["addresses"]),
    ("verified phone_number", &["aliases", "addresses"], &["aliases", "addresses"]),
    ("unverified phone_number", &[], &[]),
    ("preferred_username", &["aliases"], &["aliases"]),
];
/// A device that no user has.
const NO_DEVICE: &str = r#"{ "DeviceKey": "us-east-1_00000000-0000-0000-0000-000000000000" }"#;
/// Signed operations on a user, with their other members. The last one deletes the user.
const SIGNED: [(&str, &str); 22] = [
    ("AdminGetUser", "{}"),
    ("AdminCreateUser", r#"{ "MessageAction": "RESEND" }"#),
    ("AdminConfirmSignUp", "{}"),
    ("AdminUpdateUserAttributes", r#"{ "UserAttributes": [{ "Name": "nickname", "Value": "n" }] }"#),
    ("AdminDeleteUserAttributes", r#"{ "UserAttributeNames": ["nickname"] }"#),
    ("AdminDisableUser", "{}"),
    ("AdminEnableUser", "{}"),
    ("AdminAddUserToGroup", r#"{ "GroupName": "staff" }"#),
    ("AdminListGroupsForUser", "{}"),
    ("AdminRemoveUserFromGroup", r#"{ "GroupName": "staff" }"#),
    ("AdminResetUserPassword", "{}"),
    ("AdminSetUserPassword", r#"{ "Password": "Another-Horse-8-Staple", "Permanent": true }"#),
    ("AdminUserGlobalSignOut", "{}"),
    ("AdminGetUserAuthFactors", "{}"),
    ("AdminSetUserMFAPreference", "{}"),
    ("AdminSetUserSettings", r#"{ "MFAOptions": [] }"#),
    ("AdminDeleteSoftwareToken", "{}"),
    ("AdminListDevices", "{}"),
    ("AdminGetDevice", NO_DEVICE),
    ("AdminForgetDevice", NO_DEVICE),
    ("AdminUpdateDeviceStatus", NO_DEVICE),
    ("AdminDeleteUser", "{}"),
];
/// Unsigned operations on a user.
const UNSIGNED: [(&str, &str); 4] = [
    ("ConfirmSignUp", r#"{ "ConfirmationCode": "000000" }"#),
    ("ResendConfirmationCode", "{}"),
    ("ForgotPassword", "{}"),
    ("ConfirmForgotPassword", r#"{ "ConfirmationCode": "000000", "Password": "Another-Horse-8-Staple" }"#),
];

/// A pool of one kind, with a client that does not hide which users exist.
struct Pool {
    id: String,
    client: String,
    kind: &'static str,
}

impl Pool {
    fn create(boto: &mut Boto, (kind, settings): (&'static str, &str)) -> Self {
        let id = text(&create(boto, serde_json::from_str(settings).unwrap())["Id"]);
        let client = json!({
            "UserPoolId": id, "ClientName": "app", "PreventUserExistenceErrors": "LEGACY",
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        });
        let client = text(&ok(boto, "CreateUserPoolClient", client)["UserPoolClient"]["ClientId"]);
        ok(boto, "CreateGroup", json!({ "UserPoolId": id, "GroupName": "staff" }));
        Self { id, client, kind }
    }

    /// Creates a confirmed user with all names, of which addresses are verified or not. Returns
    /// the user name, and the name of this sort.
    fn user(&self, boto: &mut Boto, sort: &str, number: usize) -> (String, String) {
        let (email, phone) = (format!("ann{number}@example.com"), format!("+4915100000{number:02}"));
        let preferred = format!("annie{number}");
        let is = |verified: bool| if verified { "true" } else { "false" };
        let pair = |name: &str, value: &str| json!({ "Name": name, "Value": value });
        // The address that was typed in the place of a user name has no flag until it is verified.
        let typed_unverified = self.kind == "addresses" && sort == "unverified email";
        let mut attributes = vec![
            pair("email", &email),
            pair("phone_number", &phone),
            pair("phone_number_verified", is(sort != "unverified phone_number")),
            pair("preferred_username", &preferred),
        ];
        if !typed_unverified {
            attributes.push(pair("email_verified", is(sort != "unverified email")));
        }
        let username = if self.kind == "addresses" { email.clone() } else { format!("ann{number}") };
        let request = json!({ "UserPoolId": self.id, "Username": username, "UserAttributes": attributes,
            "MessageAction": "SUPPRESS" });
        let user = ok(boto, "AdminCreateUser", request)["User"].clone();
        let username = text(&user["Username"]);
        let password =
            json!({ "UserPoolId": self.id, "Username": username, "Password": PASSWORD, "Permanent": true });
        ok(boto, "AdminSetUserPassword", password);
        let attributes = user["Attributes"].as_array().unwrap();
        let sub = text(&attributes.iter().find(|one| one["Name"] == "sub").unwrap()["Value"]);
        assert_eq!(sub == username, self.kind == "addresses", "{user}");
        let name = match sort {
            "username" => username.clone(),
            "sub" => sub,
            "preferred_username" => preferred,
            address if address.ends_with("email") => email,
            _ => phone,
        };
        (username, name)
    }

    /// Signs in by `name`, as an app or as an administrator.
    fn sign_in(&self, boto: &mut Boto, signed: bool, name: &str) -> Result<Value, ApiError> {
        let flow = if signed { "ADMIN_USER_PASSWORD_AUTH" } else { "USER_PASSWORD_AUTH" };
        let parameters = json!({ "USERNAME": name, "PASSWORD": PASSWORD });
        let mut request = json!({ "ClientId": self.client, "AuthFlow": flow, "AuthParameters": parameters });
        match signed {
            true => {
                request["UserPoolId"] = json!(self.id);
                boto.call("AdminInitiateAuth", request)
            }
            false => boto.unsigned("InitiateAuth", request),
        }
    }
}

/// A request for the user of this name, with further members.
fn about(pool: (&str, &str), name: &str, members: &str) -> Value {
    let mut request: Value = serde_json::from_str(members).unwrap();
    request[pool.0] = json!(pool.1);
    request["Username"] = json!(name);
    request
}

/// Returns whether a user was found. The other refusals are of the user's state.
fn is_found(result: &Result<Value, ApiError>, context: &str) -> bool {
    let Err(error) = result else { return true };
    let of_state = [
        "NotAuthorizedException",
        "InvalidParameterException",
        "UnsupportedUserStateException",
        "CodeMismatchException",
        "ExpiredCodeException",
        "CodeDeliveryFailureException",
        "ResourceNotFoundException",
    ];
    assert_eq!(error.code, error.class, "{context}");
    match &*error.code {
        "UserNotFoundException" => {
            let words = ["User does not exist.", "Username/client id combination not found."];
            assert!(words.contains(&&*error.message), "{context}: {error:?}");
            false
        }
        // The model lists no other exception for some operations.
        "NotAuthorizedException" if error.message == "User does not exist." => false,
        code => {
            assert!(of_state.contains(&code), "{context}: {error:?}");
            true
        }
    }
}

#[test]
fn pain_19_one_table_has_the_names_that_find_a_user_at_every_operation() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    for kind in KINDS {
        let pool = Pool::create(&mut boto, kind);
        for (number, (sort, by_administrator, at_sign_in)) in FOUND.iter().enumerate() {
            let (username, name) = pool.user(&mut boto, sort, number);
            let context = |operation: &str| format!("{operation} by {sort} in a pool of {}", pool.kind);
            let expected = at_sign_in.contains(&pool.kind);
            for signed in [false, true] {
                let context = context(if signed { "AdminInitiateAuth" } else { "InitiateAuth" });
                let result = pool.sign_in(&mut boto, signed, &name);
                assert_eq!(is_found(&result, &context), expected, "{context}: {result:?}");
                assert_eq!(result.is_ok(), expected, "{context}: {result:?}");
            }
            for (operation, members) in UNSIGNED {
                let request = about(("ClientId", &pool.client), &name, members);
                let (context, result) = (context(operation), boto.unsigned(operation, request));
                assert_eq!(is_found(&result, &context), expected, "{context}: {result:?}");
            }
            let expected = by_administrator.contains(&pool.kind);
            for (operation, members) in SIGNED {
                let request = about(("UserPoolId", &pool.id), &name, members);
                let (context, result) = (context(operation), boto.call(operation, request));
                assert_eq!(is_found(&result, &context), expected, "{context}: {result:?}");
                if let (Ok(user), "AdminGetUser") = (result, operation) {
                    assert_eq!(user["Username"], json!(username), "{context}");
                }
            }
            let left = boto.call("AdminGetUser", about(("UserPoolId", &pool.id), &username, "{}"));
            assert_eq!(left.is_err(), expected, "{}", context("AdminDeleteUser"));
        }
    }
}

/// The table has every operation of the API that takes a user name.
#[test]
fn pain_19_every_operation_with_a_user_name_is_in_the_table() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/aws/model/cognito_idp.json");
    let model: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let mut count = 0;
    for (operation, shapes) in model["operations"].as_object().unwrap() {
        let members = &model["shapes"][shapes["input"].as_str().unwrap()]["members"];
        if members.get("Username").is_none() || operation == "SignUp" {
            continue;
        }
        let error = match shapes["unsigned"] == true {
            true => boto.unsigned(operation, json!({ "Username": "ann" })),
            false => boto.call(operation, json!({ "Username": "ann" })),
        };
        if error.unwrap_err().code != "UnknownOperationException" {
            let table = SIGNED.iter().chain(&UNSIGNED);
            assert!(table.map(|(name, _)| *name).any(|name| name == operation), "{operation}");
            count += 1;
        }
    }
    assert_eq!(count, SIGNED.len() + UNSIGNED.len());
}

#[test]
fn names_differ_by_case_only_where_the_pool_says_so() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    for sensitive in [false, true] {
        let settings = json!({ "UsernameConfiguration": { "CaseSensitive": sensitive } });
        let pool = text(&create(&mut boto, settings)["Id"]);
        let user = |name: &str| json!({ "UserPoolId": pool, "Username": name, "MessageAction": "SUPPRESS" });
        ok(&mut boto, "AdminCreateUser", user("Ann"));
        let second = boto.call("AdminCreateUser", user("aNN"));
        let found = boto.call("AdminGetUser", json!({ "UserPoolId": pool, "Username": "ANN" }));
        match sensitive {
            true => {
                second.unwrap();
                assert_eq!(found.unwrap_err().class, "UserNotFoundException");
            }
            false => {
                let taken = second.unwrap_err();
                assert_eq!(
                    (&*taken.class, &*taken.message),
                    ("UsernameExistsException", "User account already exists")
                );
                assert_eq!(found.unwrap()["Username"], "Ann");
            }
        }
    }
}

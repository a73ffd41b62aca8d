//! Cognito's API for administrators with boto3: invitations, and the exceptions of each operation.

use crate::support::aws::{Api, Boto, OTHER, PASSWORD, create, ok, text};
use serde_json::{Value, json};

const POOL: &str = "[[user_pool]]\nname = \"declared\"\nsigning_algorithm = \"ES256\"\n";

struct Scene {
    api: Api,
    boto: Boto,
    pool: String,
    client: String,
}

impl Scene {
    /// A pool whose users sign in by e-mail and preferred user name as well.
    fn start() -> Self {
        let api = Api::start(POOL);
        let mut boto = api.boto();
        let settings = json!({
            "AliasAttributes": ["email", "preferred_username"], "AutoVerifiedAttributes": ["email"],
            "Policies": { "PasswordPolicy": { "MinimumLength": 12, "PasswordHistorySize": 2 } },
        });
        let pool = text(&create(&mut boto, settings)["Id"]);
        let client = json!({ "UserPoolId": pool, "ClientName": "app",
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"] });
        let client = text(&ok(&mut boto, "CreateUserPoolClient", client)["UserPoolClient"]["ClientId"]);
        Self { api, boto, pool, client }
    }

    fn of_pool(&self, mut members: Value) -> Value {
        members["UserPoolId"] = json!(self.pool);
        members
    }

    fn done(&mut self, operation: &str, members: Value) -> Value {
        let request = self.of_pool(members);
        ok(&mut self.boto, operation, request)
    }

    /// The class of the exception, which has the name that the protocol says, and the message.
    fn refused(&mut self, operation: &str, members: Value) -> (String, String) {
        let request = self.of_pool(members);
        let shown = format!("{operation} {request}");
        let error = self.boto.call(operation, request).expect_err(&shown);
        assert_eq!(error.code, error.class, "{shown}");
        (error.class, error.message)
    }

    fn create(&mut self, name: &str, attributes: &[(&str, &str)]) -> Value {
        let attributes = attribute_list(attributes);
        let request = json!({ "Username": name, "UserAttributes": attributes, "MessageAction": "SUPPRESS" });
        self.done("AdminCreateUser", request)["User"].clone()
    }

    fn attribute(&mut self, name: &str, attribute: &str) -> Option<String> {
        let user = self.done("AdminGetUser", json!({ "Username": name }));
        let attributes = user["UserAttributes"].as_array().unwrap().clone();
        attributes.iter().find(|one| one["Name"] == attribute).map(|one| text(&one["Value"]))
    }

    fn sign_in(&mut self, name: &str, password: &str) -> Result<Value, String> {
        let request = json!({ "ClientId": self.client, "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": { "USERNAME": name, "PASSWORD": password } });
        self.boto.unsigned("InitiateAuth", request).map_err(|error| error.class)
    }
}

fn attribute_list(attributes: &[(&str, &str)]) -> Value {
    attributes.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect()
}

fn exception(class: &str, message: &str) -> (String, String) {
    (class.to_owned(), message.to_owned())
}

#[test]
fn an_invitation_goes_where_the_request_says_and_by_sms_by_default() {
    let mut scene = Scene::start();
    // "The default value is SMS": a user without a number is created, and gets no message.
    let email = attribute_list(&[("email", "ann@example.com"), ("email_verified", "true")]);
    let created = scene.done("AdminCreateUser", json!({ "Username": "ann", "UserAttributes": email }));
    assert_eq!(created["User"]["UserStatus"], "FORCE_CHANGE_PASSWORD");
    scene.done("AdminCreateUser", json!({ "Username": "bare" }));
    let number = attribute_list(&[("phone_number", "+4915112345678")]);
    let by_sms = json!({ "Username": "sms", "UserAttributes": number });
    let failed = scene.refused("AdminCreateUser", by_sms);
    assert_eq!(failed.0, "CodeDeliveryFailureException", "no SMS gateway is configured");
    assert_eq!(scene.refused("AdminGetUser", json!({ "Username": "sms" })).0, "UserNotFoundException");
    // Without a message the new password would be nobody's.
    let resend = json!({ "Username": "ann", "MessageAction": "RESEND" });
    let without = scene.refused("AdminCreateUser", resend);
    assert_eq!(without, exception("InvalidParameterException", "User has no address for the invitation."));
    let resend = json!({ "Username": "ann@example.com", "MessageAction": "RESEND",
        "DesiredDeliveryMediums": ["EMAIL"], "TemporaryPassword": OTHER });
    let again = scene.done("AdminCreateUser", resend.clone());
    assert_eq!(again["User"]["Username"], "ann");
    crate::support::process::wait_until("a message", || scene.api.mail.count("ann@example.com") == 1);
    let challenge = scene.sign_in("ann", OTHER).unwrap();
    assert_eq!(challenge["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    let password = json!({ "Username": "ann", "Password": PASSWORD, "Permanent": true });
    scene.done("AdminSetUserPassword", password);
    assert_eq!(scene.refused("AdminCreateUser", resend).0, "UnsupportedUserStateException");
    let nobody = json!({ "Username": "nobody", "MessageAction": "RESEND" });
    assert_eq!(scene.refused("AdminCreateUser", nobody).0, "UserNotFoundException");
    let bare = json!({ "Username": "bob", "DesiredDeliveryMediums": ["EMAIL"] });
    assert_eq!(scene.refused("AdminCreateUser", bare).0, "InvalidParameterException");
}

#[test]
fn a_user_is_created_with_names_that_are_free() {
    let mut scene = Scene::start();
    let verified = [("email", "ann@example.com"), ("email_verified", "true")];
    scene.create("ann", &verified);
    let with = |name: &str, members: Value| {
        let mut request = json!({ "Username": name, "MessageAction": "SUPPRESS" });
        request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        request
    };
    for (request, expected) in [
        (with("ann", json!({})), exception("UsernameExistsException", "User account already exists")),
        (
            with("bob", json!({ "UserAttributes": attribute_list(&verified) })),
            exception("UsernameExistsException", "An account with the given email already exists."),
        ),
        (
            with("bob@example.com", json!({})),
            exception(
                "InvalidParameterException",
                "Username cannot be of email format, since user pool is configured for email alias.",
            ),
        ),
    ] {
        assert_eq!(scene.refused("AdminCreateUser", request), expected);
    }
    for (members, class) in [
        (json!({ "TemporaryPassword": "short" }), "InvalidPasswordException"),
        (json!({ "UserAttributes": attribute_list(&[("shoe", "42")]) }), "InvalidParameterException"),
        (json!({ "UserAttributes": attribute_list(&[("sub", "x")]) }), "InvalidParameterException"),
        (json!({ "MessageAction": "SING" }), "InvalidParameterException"),
        (json!({ "Username": "two words" }), "InvalidParameterException"),
    ] {
        assert_eq!(scene.refused("AdminCreateUser", with("bob", members)).0, class);
    }
    // A forced alias moves; the earlier holder's address is no longer verified.
    let forced = json!({ "UserAttributes": attribute_list(&verified), "ForceAliasCreation": true });
    scene.done("AdminCreateUser", with("bob", forced));
    assert_eq!(scene.attribute("ann", "email_verified").as_deref(), Some("false"));
    assert_eq!(scene.done("AdminGetUser", json!({ "Username": "ann@example.com" }))["Username"], "bob");
}

#[test]
fn attributes_change_as_the_pool_says() {
    let mut scene = Scene::start();
    scene.create("ann", &[("preferred_username", "annie")]);
    scene.create("bob", &[("email", "bob@example.com"), ("email_verified", "true")]);
    let change = |attributes| json!({ "Username": "bob", "UserAttributes": attribute_list(attributes) });
    for (attributes, class) in [
        (&[("preferred_username", "annie")][..], "AliasExistsException"),
        (&[("shoe", "42")], "InvalidParameterException"),
        (&[("sub", "x")], "InvalidParameterException"),
        (&[("phone_number_verified", "true")], "InvalidParameterException"),
    ] {
        assert_eq!(scene.refused("AdminUpdateUserAttributes", change(attributes)).0, class, "{attributes:?}");
    }
    // A stated address needs no code; another one is sent a code, and is no name before.
    let stated = [("email", "bob@new.example"), ("email_verified", "true")];
    scene.done("AdminUpdateUserAttributes", change(&stated));
    assert_eq!(scene.done("AdminGetUser", json!({ "Username": "bob@new.example" }))["Username"], "bob");
    scene.done("AdminUpdateUserAttributes", change(&[("email", "bob@third.example")]));
    scene.api.code("bob@third.example", 1);
    assert_eq!(scene.api.mail.count("bob@new.example"), 0);
    assert_eq!(scene.attribute("bob", "email_verified").as_deref(), Some("false"));
    let by_alias = json!({ "Username": "bob@third.example" });
    assert_eq!(scene.refused("AdminGetUser", by_alias).0, "UserNotFoundException");
    let remove = |name: &str| json!({ "Username": "bob", "UserAttributeNames": [name] });
    assert_eq!(scene.refused("AdminDeleteUserAttributes", remove("sub")).0, "InvalidParameterException");
    assert_eq!(scene.refused("AdminDeleteUserAttributes", remove("shoe")).0, "InvalidParameterException");
    scene.done("AdminDeleteUserAttributes", remove("email"));
    assert_eq!(scene.attribute("bob", "email"), None);
}

#[test]
fn passwords_are_set_and_reset_by_the_rules() {
    let mut scene = Scene::start();
    scene.create("ann", &[("email", "ann@example.com")]);
    let user = json!({ "Username": "ann" });
    let invited = scene.refused("AdminResetUserPassword", user.clone());
    assert_eq!(
        invited,
        exception("NotAuthorizedException", "User password cannot be reset in the current state.")
    );
    let confirm = scene.refused("AdminConfirmSignUp", user.clone());
    let words = "User cannot be confirmed. Current status is FORCE_CHANGE_PASSWORD";
    assert_eq!(confirm, exception("NotAuthorizedException", words));
    let set = |password: &str| json!({ "Username": "ann", "Password": password, "Permanent": true });
    assert_eq!(scene.refused("AdminSetUserPassword", set("short")).0, "InvalidPasswordException");
    assert_eq!(scene.refused("AdminSetUserPassword", set("two words")).0, "InvalidParameterException");
    scene.done("AdminSetUserPassword", set(PASSWORD));
    let again = scene.refused("AdminSetUserPassword", set(PASSWORD)).0;
    assert_eq!(again, "PasswordHistoryPolicyViolationException");
    let unverified = scene.refused("AdminResetUserPassword", user.clone());
    assert_eq!(unverified.0, "InvalidParameterException");
    let verify =
        json!({ "Username": "ann", "UserAttributes": attribute_list(&[("email_verified", "true")]) });
    scene.done("AdminUpdateUserAttributes", verify);
    scene.done("AdminResetUserPassword", user.clone());
    let code = scene.api.code("ann@example.com", 1);
    assert_eq!(scene.sign_in("ann", PASSWORD).unwrap_err(), "PasswordResetRequiredException");
    assert_eq!(scene.done("AdminGetUser", user)["UserStatus"], "RESET_REQUIRED");
    let reset =
        json!({ "ClientId": scene.client, "Username": "ann", "ConfirmationCode": code, "Password": OTHER });
    scene.boto.unsigned("ConfirmForgotPassword", reset).unwrap();
    assert!(scene.sign_in("ann@example.com", OTHER).unwrap()["AuthenticationResult"].is_object());
}

#[test]
fn groups_have_their_exceptions_and_pages() {
    let mut scene = Scene::start();
    scene.create("ann", &[]);
    let role = "arn:aws:iam::123456789012:role/staff";
    let staff = scene.done("CreateGroup", json!({ "GroupName": "staff", "RoleArn": role }))["Group"].clone();
    assert_eq!((&staff["RoleArn"], &staff["UserPoolId"]), (&json!(role), &json!(scene.pool)));
    assert!(staff.get("Description").is_none() && staff.get("Precedence").is_none(), "{staff}");
    assert!(staff["CreationDate"].is_number() && staff["LastModifiedDate"].is_number(), "{staff}");
    let updated =
        scene.done("UpdateGroup", json!({ "GroupName": "staff", "Precedence": 0 }))["Group"].clone();
    assert_eq!((&updated["RoleArn"], &updated["Precedence"]), (&json!(role), &json!(0)));
    let invalid = json!({ "GroupName": "x", "RoleArn": "staff, and much longer" });
    assert_eq!(scene.refused("CreateGroup", invalid).0, "InvalidParameterException");
    let invalid = json!({ "GroupName": "x", "Precedence": -1 });
    assert_eq!(scene.refused("CreateGroup", invalid).0, "InvalidParameterException");
    let taken = scene.refused("CreateGroup", json!({ "GroupName": "staff" }));
    assert_eq!(taken, exception("GroupExistsException", "A group with the name already exists."));
    let missing = exception("ResourceNotFoundException", "Group not found.");
    for operation in ["GetGroup", "UpdateGroup", "DeleteGroup", "ListUsersInGroup"] {
        assert_eq!(scene.refused(operation, json!({ "GroupName": "none" })), missing, "{operation}");
    }
    for operation in ["AdminAddUserToGroup", "AdminRemoveUserFromGroup"] {
        let of = |name: &str, group: &str| json!({ "Username": name, "GroupName": group });
        assert_eq!(scene.refused(operation, of("ann", "none")), missing, "{operation}");
        let nobody = scene.refused(operation, of("nobody", "staff"));
        assert_eq!(nobody, exception("UserNotFoundException", "User does not exist."), "{operation}");
        // A member stays one, and a user who is no member stays none.
        scene.done(operation, of("ann", "staff"));
        scene.done(operation, of("ann", "staff"));
    }
    let nobody = json!({ "Username": "nobody" });
    assert_eq!(scene.refused("AdminListGroupsForUser", nobody).0, "UserNotFoundException");
    assert_eq!(scene.done("AdminListGroupsForUser", json!({ "Username": "ann" }))["Groups"], json!([]));
    for number in 0..22 {
        let (name, user) = (format!("group{number:02}"), format!("user{number:02}"));
        scene.done("CreateGroup", json!({ "GroupName": name }));
        scene.done("AdminAddUserToGroup", json!({ "GroupName": name, "Username": "ann" }));
        scene.create(&user, &[]);
        scene.done("AdminAddUserToGroup", json!({ "GroupName": "staff", "Username": user }));
    }
    let lists = [
        ("ListGroups", json!({}), ("Groups", "GroupName"), 23),
        ("AdminListGroupsForUser", json!({ "Username": "ann" }), ("Groups", "GroupName"), 22),
        ("ListUsersInGroup", json!({ "GroupName": "staff" }), ("Users", "Username"), 22),
    ];
    for (operation, members, (list, name), expected) in lists {
        let request = scene.of_pool(members);
        let pages = scene.boto.pages(operation, request, 10);
        assert_eq!(pages.len(), 3, "{operation}");
        let entries = pages.iter().flat_map(|page| page[list].as_array().unwrap());
        let mut names: Vec<String> = entries.map(|entry| text(&entry[name])).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!((count, names.len()), (expected, expected), "{operation}");
    }
}

#[test]
fn a_pool_that_does_not_exist_has_no_users_and_no_groups() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let (user, group) = (json!({ "Username": "ann" }), json!({ "GroupName": "staff" }));
    let member = json!({ "Username": "ann", "GroupName": "staff" });
    let password = json!({ "Username": "ann", "Password": PASSWORD });
    let attributes = json!({ "Username": "ann", "UserAttributes": [] });
    let names = json!({ "Username": "ann", "UserAttributeNames": [] });
    for (operations, members) in [
        (&["AdminCreateUser", "AdminGetUser", "AdminConfirmSignUp", "AdminDeleteUser"][..], &user),
        (&["AdminEnableUser", "AdminDisableUser", "AdminResetUserPassword", "AdminUserGlobalSignOut"], &user),
        (&["AdminSetUserPassword"], &password),
        (&["AdminUpdateUserAttributes"], &attributes),
        (&["AdminDeleteUserAttributes"], &names),
        (&["ListUsers", "ListGroups"], &json!({})),
        (&["CreateGroup", "GetGroup", "UpdateGroup", "DeleteGroup", "ListUsersInGroup"], &group),
        (&["AdminAddUserToGroup", "AdminRemoveUserFromGroup"], &member),
        (&["AdminListGroupsForUser"], &user),
    ] {
        for operation in operations {
            let mut request = members.clone();
            request["UserPoolId"] = json!("us-east-1_nowhere00");
            let error = boto.call(operation, request).expect_err(operation);
            assert_eq!(error.class, "ResourceNotFoundException", "{operation}");
            assert_eq!(error.message, "User pool us-east-1_nowhere00 does not exist.", "{operation}");
        }
    }
}

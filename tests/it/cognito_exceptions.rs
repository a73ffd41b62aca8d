//! The exceptions of Cognito's API with boto3: each is the class that SDKs have for the operation.

use crate::support::aws::{OTHER, PASSWORD, create, ok, text};
use crate::support::exceptions::{Scene, attribute_list, password_flow};
use crate::support::functions::{Functions, Reply};
use crate::support::totp::Authenticator;
use serde_json::{Value, json};

const POOL: &str = r#"
[[user_pool]]
name = "declared"
signing_algorithm = "ES256"
[user_pool.branding]
name = "Example"
[[user_pool.client]]
name = "web"
id = "webclient"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH"]
[[user_pool.resource_server]]
identifier = "albums"
scopes = ["read"]
"#;
/// A third password.
const THIRD: &str = "Third-Horse-9-Paperclip";
/// The exceptions of each family of operations, without `Exception`.
const FAMILIES: [(&str, &str); 16] = [
    (
        "sign-up",
        "AliasExists CodeDeliveryFailure CodeMismatch ExpiredCode InvalidLambdaResponse InvalidParameter InvalidPassword \
         LimitExceeded NotAuthorized PasswordHistoryPolicyViolation ResourceNotFound UnexpectedLambda \
         UserLambdaValidation UserNotFound UsernameExists",
    ),
    (
        "sign-in",
        "InvalidParameter InvalidPassword NotAuthorized PasswordResetRequired ResourceNotFound TooManyRequests \
         UserNotConfirmed UserNotFound",
    ),
    (
        "account",
        "AliasExists CodeDeliveryFailure CodeMismatch ExpiredCode InvalidParameter InvalidPassword LimitExceeded \
         NotAuthorized PasswordHistoryPolicyViolation",
    ),
    ("tokens", "InvalidParameter NotAuthorized RefreshTokenReuse ResourceNotFound Unauthorized"),
    (
        "admin users",
        "AliasExists CodeDeliveryFailure InvalidParameter InvalidPassword NotAuthorized \
         PasswordHistoryPolicyViolation ResourceNotFound UnsupportedUserState UserNotFound UsernameExists",
    ),
    ("groups", "GroupExists InvalidParameter ResourceNotFound UserNotFound"),
    ("pools", "FeatureUnavailableInTier InvalidParameter OperationNotEnabled ResourceNotFound"),
    (
        "clients",
        "InvalidOAuthFlow InvalidParameter LimitExceeded OperationNotEnabled ResourceNotFound ScopeDoesNotExist",
    ),
    ("domains", "InvalidParameter ResourceNotFound"),
    ("resource servers", "InvalidParameter LimitExceeded OperationNotEnabled ResourceNotFound"),
    ("identity providers", "DuplicateProvider InvalidParameter ResourceNotFound"),
    ("provider links", "InvalidParameter LimitExceeded ResourceNotFound UserNotFound"),
    (
        "second factors",
        "CodeMismatch EnableSoftwareTokenMFA ExpiredCode InvalidParameter MFAMethodNotFound NotAuthorized \
         SoftwareTokenMFANotFound UserNotFound",
    ),
    ("devices", "InvalidParameter NotAuthorized ResourceNotFound UserNotFound"),
    ("tags", "InvalidParameter OperationNotEnabled ResourceNotFound"),
    ("look of pages", "InvalidParameter OperationNotEnabled ResourceNotFound"),
];

/// Leaves `ann` confirmed and `bob` unconfirmed, whose address is that of `ann`.
fn sign_up(scene: &mut Scene) {
    scene.family = "sign-up";
    scene.sign_up("ann", &[("email", "ann@example.com"), ("preferred_username", "annie")]);
    let user = |members: Value| {
        let mut request = json!({ "Username": "carl", "Password": PASSWORD });
        request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        request
    };
    scene.raise("UsernameExists", "SignUp", user(json!({ "Username": "ann" })));
    scene.raise("InvalidPassword", "SignUp", user(json!({ "Password": "short" })));
    let shoe = attribute_list(&[("shoe", "42")]);
    scene.raise("InvalidParameter", "SignUp", user(json!({ "UserAttributes": shoe })));
    scene.raise("ResourceNotFound", "SignUp", user(json!({ "ClientId": "nowhere" })));
    scene.raise("NotAuthorized", "SignUp", user(json!({ "SecretHash": "abc=" })));
    scene.raise("NotAuthorized", "SignUp", user(json!({ "ClientId": "webclient" })));
    let confirm = |name: &str, code: &str| json!({ "Username": name, "ConfirmationCode": code });
    scene.raise("CodeMismatch", "ConfirmSignUp", confirm("ann", "no-code"));
    let code = scene.api.code("ann@example.com", 1);
    scene.done("ConfirmSignUp", confirm("ann", &code));
    scene.raise("NotAuthorized", "ConfirmSignUp", confirm("ann", &code));
    scene.sign_up("bob", &[("email", "ann@example.com")]);
    let code = scene.api.code("ann@example.com", 2);
    scene.raise("AliasExists", "ConfirmSignUp", confirm("bob", &code));
    scene.sign_up("zoe", &[("email", "zoe@example.com")]);
    scene.raise_in_time("LimitExceeded", "ResendConfirmationCode", &json!({ "Username": "zoe" }));
    scene.raise("UserNotFound", "ForgotPassword", json!({ "Username": "nobody" }));
    let reset = |password: &str, code: &str| json!({ "Username": "ann", "ConfirmationCode": code, "Password": password });
    scene.raise("ExpiredCode", "ConfirmForgotPassword", reset(OTHER, "123456"));
    scene.done("ForgotPassword", json!({ "Username": "ann" }));
    let code = scene.api.code("ann@example.com", 3);
    scene.raise("PasswordHistoryPolicyViolation", "ConfirmForgotPassword", reset(PASSWORD, &code));
    // No SMS gateway is configured.
    let by_phone =
        text(&create(&mut scene.boto, json!({ "AutoVerifiedAttributes": ["phone_number"] }))["Id"]);
    let client = json!({ "UserPoolId": by_phone, "ClientName": "app" });
    let client = ok(&mut scene.boto, "CreateUserPoolClient", client)["UserPoolClient"]["ClientId"].clone();
    let number = attribute_list(&[("phone_number", "+4915112345678")]);
    scene.raise(
        "CodeDeliveryFailure",
        "SignUp",
        user(json!({ "ClientId": client, "UserAttributes": number })),
    );
}

/// A function of a pool refuses, does not answer, or answers nonsense.
fn functions(scene: &mut Scene, functions: &Functions) {
    scene.family = "sign-up";
    let config = json!({ "PreSignUp": "arn:aws:lambda:us-east-1:123456789012:function:check" });
    let pool = text(&create(&mut scene.boto, json!({ "LambdaConfig": config }))["Id"]);
    let client = json!({ "UserPoolId": pool, "ClientName": "app" });
    let client = ok(&mut scene.boto, "CreateUserPoolClient", client)["UserPoolClient"]["ClientId"].clone();
    functions.on("check", |event| match event["userName"].as_str() {
        Some("refused") => Reply::error("no"),
        Some("down") => Reply::new(500, ""),
        _ => Reply::new(200, "nonsense"),
    });
    for (name, exception) in
        [("refused", "UserLambdaValidation"), ("down", "UnexpectedLambda"), ("odd", "InvalidLambdaResponse")]
    {
        let user = json!({ "ClientId": client, "Username": name, "Password": PASSWORD });
        scene.raise(exception, "SignUp", user);
        scene.raise(exception, "AdminCreateUser", json!({ "UserPoolId": pool, "Username": name }));
    }
}

fn sign_in(scene: &mut Scene) {
    scene.family = "sign-in";
    let client = &scene.client.clone();
    for (exception, request) in [
        ("NotAuthorized", password_flow(client, "ann", "wrong")),
        ("UserNotFound", password_flow(client, "nobody", PASSWORD)),
        ("UserNotConfirmed", password_flow(client, "bob", PASSWORD)),
        ("ResourceNotFound", password_flow("nowhere", "ann", PASSWORD)),
        ("InvalidParameter", json!({ "AuthFlow": "USER_AUTH", "AuthParameters": { "USERNAME": "ann" } })),
    ] {
        scene.raise(exception, "InitiateAuth", request);
    }
    let create = json!({ "Username": "new", "TemporaryPassword": PASSWORD, "MessageAction": "SUPPRESS" });
    scene.done("AdminCreateUser", create);
    let challenge = scene.sign_in(client, "new", PASSWORD);
    let answer = json!({ "ChallengeName": "NEW_PASSWORD_REQUIRED", "Session": challenge["Session"],
        "ChallengeResponses": { "USERNAME": "new", "NEW_PASSWORD": "short" } });
    scene.raise("InvalidPassword", "RespondToAuthChallenge", answer);
    let answer = json!({ "ChallengeName": "SMS_MFA", "ChallengeResponses": { "USERNAME": "new" } });
    scene.raise("InvalidParameter", "RespondToAuthChallenge", answer);
    scene.done("AdminResetUserPassword", json!({ "Username": "ann" }));
    scene.raise("PasswordResetRequired", "InitiateAuth", password_flow(client, "ann", PASSWORD));
    let mut wrong = password_flow(client, "nobody", PASSWORD);
    wrong["AuthFlow"] = json!("ADMIN_USER_PASSWORD_AUTH");
    scene.raise("UserNotFound", "AdminInitiateAuth", wrong);
    scene.done("AdminSetUserPassword", json!({ "Username": "ann", "Password": OTHER, "Permanent": true }));
}

fn account(scene: &mut Scene) {
    scene.family = "account";
    let create = json!({ "Username": "max", "MessageAction": "SUPPRESS",
        "UserAttributes": attribute_list(&[("email", "max@example.com"), ("phone_number", "+4915112345679")]) });
    scene.done("AdminCreateUser", create);
    scene.done("AdminSetUserPassword", json!({ "Username": "max", "Password": PASSWORD, "Permanent": true }));
    let client = scene.client.clone();
    let tokens = scene.sign_in(&client, "max", PASSWORD);
    let access = tokens["AuthenticationResult"]["AccessToken"].clone();
    let with = |mut members: Value| {
        members["AccessToken"] = access.clone();
        members
    };
    scene.raise("NotAuthorized", "GetUser", json!({ "AccessToken": "a.b.c" }));
    let verify = |name: &str, code: &str| with(json!({ "AttributeName": name, "Code": code }));
    scene.raise("InvalidParameter", "VerifyUserAttribute", verify("nickname", "123456"));
    scene.raise("ExpiredCode", "VerifyUserAttribute", verify("email", "123456"));
    let ask = |name: &str| with(json!({ "AttributeName": name }));
    scene.done("GetUserAttributeVerificationCode", ask("email"));
    scene.raise("CodeMismatch", "VerifyUserAttribute", verify("email", "no-code"));
    scene.raise("CodeDeliveryFailure", "GetUserAttributeVerificationCode", ask("phone_number"));
    scene.raise_in_time("LimitExceeded", "GetUserAttributeVerificationCode", &ask("email"));
    let change = |password: &str| with(json!({ "PreviousPassword": PASSWORD, "ProposedPassword": password }));
    scene.raise("InvalidPassword", "ChangePassword", change("short"));
    scene.raise("PasswordHistoryPolicyViolation", "ChangePassword", change(PASSWORD));
    let taken = attribute_list(&[("preferred_username", "annie")]);
    scene.raise("AliasExists", "UpdateUserAttributes", with(json!({ "UserAttributes": taken })));
}

fn tokens(scene: &mut Scene) {
    scene.family = "tokens";
    let rotation = json!({ "RefreshTokenRotation": { "Feature": "ENABLED", "RetryGracePeriodSeconds": 0 } });
    let rotating = scene.new_client(rotation);
    let tokens = scene.sign_in(&rotating, "max", PASSWORD);
    let token = tokens["AuthenticationResult"]["RefreshToken"].clone();
    let refresh = json!({ "ClientId": rotating, "RefreshToken": token });
    scene.done("GetTokensFromRefreshToken", refresh.clone());
    scene.raise("RefreshTokenReuse", "GetTokensFromRefreshToken", refresh);
    let unknown = |client: &str| json!({ "ClientId": client, "RefreshToken": "a.b.c" });
    scene.raise("NotAuthorized", "GetTokensFromRefreshToken", unknown(&rotating));
    scene.raise("ResourceNotFound", "GetTokensFromRefreshToken", unknown("nowhere"));
    let without = scene.client.clone();
    scene.raise("InvalidParameter", "GetTokensFromRefreshToken", unknown(&without));
    let revoke = json!({ "Token": "a.b.c", "ClientSecret": "s".repeat(24) });
    scene.raise("Unauthorized", "RevokeToken", revoke);
    scene.raise("Unauthorized", "RevokeToken", json!({ "Token": "a.b.c", "ClientId": "nowhere" }));
}

fn admin_users(scene: &mut Scene) {
    scene.family = "admin users";
    let user = |name: &str| json!({ "Username": name });
    let with = |name: &str, mut members: Value| {
        members["Username"] = json!(name);
        members
    };
    scene.raise("UserNotFound", "AdminGetUser", user("nobody"));
    let nowhere = json!({ "Username": "ann", "UserPoolId": "us-east-1_nowhere00" });
    scene.raise("ResourceNotFound", "AdminGetUser", nowhere);
    scene.raise("UsernameExists", "AdminCreateUser", user("ann"));
    // AWS's exception of a name that is taken, whichever it is.
    let verified = attribute_list(&[("email", "ann@example.com"), ("email_verified", "true")]);
    let taken = json!({ "MessageAction": "SUPPRESS", "UserAttributes": verified });
    scene.raise("UsernameExists", "AdminCreateUser", with("ann2", taken));
    let taken = json!({ "UserAttributes": attribute_list(&[("preferred_username", "annie")]) });
    scene.raise("AliasExists", "AdminUpdateUserAttributes", with("max", taken));
    scene.raise("InvalidPassword", "AdminSetUserPassword", with("max", json!({ "Password": "short" })));
    let again = json!({ "Password": PASSWORD, "Permanent": true });
    scene.raise("PasswordHistoryPolicyViolation", "AdminSetUserPassword", with("max", again));
    scene.raise("NotAuthorized", "AdminConfirmSignUp", user("max"));
    scene.raise("UnsupportedUserState", "AdminCreateUser", with("max", json!({ "MessageAction": "RESEND" })));
    let number = json!({ "UserAttributes": attribute_list(&[("phone_number", "+4915112345670")]) });
    scene.raise("CodeDeliveryFailure", "AdminCreateUser", with("sms", number));
    let unverified = json!({ "Username": "max" });
    scene.raise("InvalidParameter", "AdminResetUserPassword", unverified);
    // The alias of an unconfirmed user may be taken when the user is confirmed.
    scene.sign_up("second", &[("preferred_username", "annie")]);
    scene.raise("InvalidParameter", "AdminConfirmSignUp", user("second"));
    let set = with("second", json!({ "Password": THIRD, "Permanent": true }));
    scene.raise("InvalidParameter", "AdminSetUserPassword", set);
}

fn groups(scene: &mut Scene) {
    scene.family = "groups";
    scene.done("CreateGroup", json!({ "GroupName": "staff" }));
    scene.raise("GroupExists", "CreateGroup", json!({ "GroupName": "staff" }));
    scene.raise("ResourceNotFound", "GetGroup", json!({ "GroupName": "none" }));
    let member = json!({ "GroupName": "staff", "Username": "nobody" });
    scene.raise("UserNotFound", "AdminAddUserToGroup", member);
    scene.raise("InvalidParameter", "ListGroups", json!({ "NextToken": "x" }));
}

fn pools_and_tags(scene: &mut Scene) {
    scene.family = "pools";
    let (declared, nowhere) =
        (json!({ "UserPoolId": scene.declared }), json!({ "UserPoolId": "us-east-1_nowhere00" }));
    scene.raise("ResourceNotFound", "DescribeUserPool", nowhere.clone());
    scene.raise("ResourceNotFound", "GetUserPoolMfaConfig", nowhere);
    scene.raise("OperationNotEnabled", "DeleteUserPool", declared);
    scene.raise("InvalidParameter", "CreateUserPool", json!({ "PoolName": "a/b" }));
    let enforced = json!({ "PoolName": "x", "UserPoolAddOns": { "AdvancedSecurityMode": "ENFORCED" } });
    scene.raise("FeatureUnavailableInTier", "CreateUserPool", enforced);
    scene.family = "tags";
    let arn = |id: &str| format!("arn:aws:cognito-idp:us-east-1:123456789012:userpool/{id}");
    let tags = |arn: &str, key: &str| json!({ "ResourceArn": arn, "Tags": { key: "b" } });
    let (own, declared) = (arn(&scene.pool), arn(&scene.declared));
    scene.raise("InvalidParameter", "TagResource", tags(&own, "aws:a"));
    scene.raise("OperationNotEnabled", "TagResource", tags(&declared, "a"));
    let nowhere = json!({ "ResourceArn": arn("us-east-1_nowhere00") });
    scene.raise("ResourceNotFound", "ListTagsForResource", nowhere);
}

fn clients(scene: &mut Scene) {
    scene.family = "clients";
    let new = |members: Value| {
        let mut request = json!({ "ClientName": "app" });
        request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        request
    };
    let grant = json!({ "AllowedOAuthFlows": ["client_credentials"], "AllowedOAuthScopes": ["a/b"] });
    scene.raise("InvalidOAuthFlow", "CreateUserPoolClient", new(grant));
    scene.raise("ScopeDoesNotExist", "CreateUserPoolClient", new(json!({ "AllowedOAuthScopes": ["a/b"] })));
    let custom = json!({ "ExplicitAuthFlows": ["CUSTOM_AUTH_FLOW_ONLY"] });
    scene.raise("InvalidParameter", "CreateUserPoolClient", new(custom));
    let declared = json!({ "UserPoolId": scene.declared, "ClientId": "webclient" });
    for operation in ["UpdateUserPoolClient", "DeleteUserPoolClient"] {
        scene.raise("OperationNotEnabled", operation, declared.clone());
    }
    // These list no exception for what the configuration file declares.
    scene.raise("InvalidParameter", "AddUserPoolClientSecret", declared.clone());
    let secret = json!({ "UserPoolId": scene.declared, "ClientId": "webclient", "ClientSecretId": "x" });
    scene.raise("InvalidParameter", "DeleteUserPoolClientSecret", secret);
    scene.raise("ResourceNotFound", "DescribeUserPoolClient", json!({ "ClientId": "nowhere" }));
    let server = scene.new_client(json!({ "GenerateSecret": true }));
    scene.done("AddUserPoolClientSecret", json!({ "ClientId": server }));
    scene.raise("LimitExceeded", "AddUserPoolClientSecret", json!({ "ClientId": server }));
}

fn domains_servers_and_providers(scene: &mut Scene) {
    scene.family = "domains";
    scene.raise("InvalidParameter", "CreateUserPoolDomain", json!({ "Domain": "-a" }));
    scene.raise("ResourceNotFound", "UpdateUserPoolDomain", json!({ "Domain": "nobody" }));
    scene.family = "resource servers";
    let server = |identifier: &str| json!({ "Identifier": identifier, "Name": "Server" });
    scene.done("CreateResourceServer", server("first"));
    scene.raise("InvalidParameter", "CreateResourceServer", server("first"));
    scene.raise("ResourceNotFound", "DescribeResourceServer", json!({ "Identifier": "none" }));
    let of_file = json!({ "UserPoolId": scene.declared, "Identifier": "albums" });
    scene.raise("OperationNotEnabled", "DeleteResourceServer", of_file);
    for number in 1..25 {
        scene.done("CreateResourceServer", server(&format!("server{number}")));
    }
    scene.raise("LimitExceeded", "CreateResourceServer", server("last"));
    scene.family = "identity providers";
    let details = json!({ "client_id": "a", "client_secret": "b", "oidc_issuer": "https://idp.example",
        "authorize_scopes": "openid", "attributes_request_method": "GET" });
    let provider = json!({ "ProviderName": "corp", "ProviderType": "OIDC", "ProviderDetails": details });
    scene.done("CreateIdentityProvider", provider.clone());
    scene.raise("DuplicateProvider", "CreateIdentityProvider", provider);
    scene.raise("ResourceNotFound", "DescribeIdentityProvider", json!({ "ProviderName": "none" }));
    scene.raise("InvalidParameter", "ListIdentityProviders", json!({ "NextToken": "x" }));
}

fn provider_links(scene: &mut Scene) {
    scene.family = "provider links";
    let account = |provider: &str, attribute: &str, value: &str| {
        json!({ "ProviderName": provider, "ProviderAttributeName": attribute,
        "ProviderAttributeValue": value })
    };
    let link = |user: &str, source: Value| json!({ "DestinationUser": account("Cognito", "", user), "SourceUser": source });
    let subject = "Cognito_Subject";
    let names: Vec<String> = (0..6).map(|number| format!("linked{number}")).collect();
    for name in &names {
        let details = json!({ "client_id": "a", "client_secret": "b", "oidc_issuer": "https://idp.example",
            "authorize_scopes": "openid", "attributes_request_method": "GET" });
        let provider = json!({ "ProviderName": name, "ProviderType": "OIDC", "ProviderDetails": details,
            "AttributeMapping": { "email": "email" } });
        scene.done("CreateIdentityProvider", provider);
    }
    let social = json!({ "ProviderName": "Google", "ProviderType": "Google", "AttributeMapping": { "email": "email" },
        "ProviderDetails": { "client_id": "a", "client_secret": "b", "authorize_scopes": "openid" } });
    scene.done("CreateIdentityProvider", social);
    let operation = "AdminLinkProviderForUser";
    for (exception, request) in [
        ("UserNotFound", link("nobody", account("linked0", subject, "7"))),
        ("ResourceNotFound", link("max", account("nowhere", subject, "7"))),
        ("InvalidParameter", link("max", account("Cognito", subject, "ann"))),
        ("InvalidParameter", link("max", account("linked0", "name", "Max"))),
        ("InvalidParameter", link("max", account("linked0", "email_verified", "true"))),
        ("InvalidParameter", link("max", account("Google", "email", "max@example.com"))),
        ("InvalidParameter", link("max", account("linked0", subject, ""))),
        ("InvalidParameter", link("max", account("linked0", subject, &"7".repeat(2049)))),
        (
            "InvalidParameter",
            link("max", json!({ "ProviderName": "linked0", "ProviderAttributeValue": "7" })),
        ),
    ] {
        scene.raise(exception, operation, request);
    }
    for name in &names[..5] {
        scene.done(operation, link("max", account(name, "email", "max@example.com")));
    }
    scene.raise("LimitExceeded", operation, link("max", account(&names[5], subject, "7")));
    let operation = "AdminDisableProviderForUser";
    for (exception, user) in [
        ("UserNotFound", account("linked0", subject, "7")),
        ("UserNotFound", account("linked0", "email", "other@example.com")),
        ("UserNotFound", account("Cognito", subject, "nobody")),
        ("ResourceNotFound", account("nowhere", subject, "7")),
        ("InvalidParameter", account("Cognito", "email", "max")),
    ] {
        scene.raise(exception, operation, json!({ "User": user }));
    }
    scene.done(operation, json!({ "User": account("linked0", "email", "max@example.com") }));
}

fn look_of_pages(scene: &mut Scene) {
    scene.family = "look of pages";
    let nowhere = json!({ "UserPoolId": "us-east-1_nowhere00" });
    let no_client = json!({ "ClientId": "nowhere" });
    for operation in ["SetUICustomization", "GetUICustomization"] {
        scene.raise("ResourceNotFound", operation, nowhere.clone());
        scene.raise("ResourceNotFound", operation, no_client.clone());
    }
    let set = "SetUICustomization";
    scene.raise("InvalidParameter", set, json!({ "CSS": ".logo-customizable { background: url(//a) }" }));
    scene.raise("InvalidParameter", set, json!({ "CSS": ".other-customizable { color: red }" }));
    scene.raise("InvalidParameter", set, json!({ "ImageFile": "R0lGODlhAQABAAAAACw=" }));
    let of_file = json!({ "UserPoolId": scene.declared, "ClientId": "ALL", "CSS": "" });
    scene.raise("OperationNotEnabled", set, of_file);
}

fn second_factors(scene: &mut Scene) {
    scene.family = "second factors";
    let client = &scene.client.clone();
    scene.done("AdminCreateUser", json!({ "Username": "tess", "MessageAction": "SUPPRESS" }));
    let set = json!({ "Username": "tess", "Password": PASSWORD, "Permanent": true });
    scene.done("AdminSetUserPassword", set);
    let access = scene.sign_in(client, "tess", PASSWORD)["AuthenticationResult"]["AccessToken"].clone();
    let token = json!({ "AccessToken": access });
    scene.raise("SoftwareTokenMFANotFound", "AssociateSoftwareToken", token.clone());
    let on = json!({ "Enabled": true });
    scene.raise("InvalidParameter", "SetUserPoolMfaConfig", json!({ "MfaConfiguration": "ON" }));
    let optional = json!({ "MfaConfiguration": "OPTIONAL", "SoftwareTokenMfaConfiguration": on });
    scene.done("SetUserPoolMfaConfig", optional);
    scene.raise("NotAuthorized", "AssociateSoftwareToken", json!({ "Session": "x".repeat(20) }));
    scene.raise("InvalidParameter", "AssociateSoftwareToken", json!({}));
    let sms = json!({ "Username": "tess", "SMSMfaSettings": on });
    scene.raise("InvalidParameter", "AdminSetUserMFAPreference", sms);
    scene.raise("UserNotFound", "AdminGetUserAuthFactors", json!({ "Username": "nobody" }));
    let app = Authenticator::new(&text(&scene.done("AssociateSoftwareToken", token)["SecretCode"]));
    let verify = |code: &str| json!({ "AccessToken": access, "UserCode": code });
    scene.raise("EnableSoftwareTokenMFA", "VerifySoftwareToken", verify("000000"));
    let used = app.code(0);
    scene.done("VerifySoftwareToken", verify(&used));
    scene.done("SetUserMFAPreference", json!({ "AccessToken": access, "SoftwareTokenMfaSettings": on }));
    let session = scene.sign_in(client, "tess", PASSWORD)["Session"].clone();
    for (exception, code) in [("CodeMismatch", "000000"), ("ExpiredCode", &used)] {
        let responses = json!({ "USERNAME": "tess", "SOFTWARE_TOKEN_MFA_CODE": code });
        let answer = json!({ "ChallengeName": "SOFTWARE_TOKEN_MFA", "Session": session,
            "ChallengeResponses": responses });
        scene.raise(exception, "RespondToAuthChallenge", answer);
    }
    // A second factor is required, and the user has no address for it.
    let mail = json!({ "Message": "{####}", "Subject": "Code" });
    scene.done("SetUserPoolMfaConfig", json!({ "MfaConfiguration": "ON", "EmailMfaConfiguration": mail }));
    scene.raise("NotAuthorized", "InitiateAuth", password_flow(client, "tess", PASSWORD));
    let mut by_administrator = password_flow(client, "tess", PASSWORD);
    by_administrator["AuthFlow"] = json!("ADMIN_USER_PASSWORD_AUTH");
    scene.raise("MFAMethodNotFound", "AdminInitiateAuth", by_administrator);
    scene.done("SetUserPoolMfaConfig", json!({ "MfaConfiguration": "OFF" }));
}

fn devices(scene: &mut Scene) {
    scene.family = "devices";
    let client = &scene.client.clone();
    let access = scene.sign_in(client, "tess", PASSWORD)["AuthenticationResult"]["AccessToken"].clone();
    let key = "us-east-1_00000000-0000-0000-0000-000000000000";
    let own = json!({ "AccessToken": access, "DeviceKey": key });
    // The pool remembers none.
    scene.raise("InvalidParameter", "ConfirmDevice", own.clone());
    for operation in ["GetDevice", "ForgetDevice", "UpdateDeviceStatus"] {
        scene.raise("ResourceNotFound", operation, own.clone());
    }
    for operation in ["AdminGetDevice", "AdminForgetDevice", "AdminUpdateDeviceStatus"] {
        scene.raise("ResourceNotFound", operation, json!({ "Username": "tess", "DeviceKey": key }));
        let exception = if operation == "AdminGetDevice" { "NotAuthorized" } else { "UserNotFound" };
        scene.raise(exception, operation, json!({ "Username": "nobody", "DeviceKey": key }));
    }
    scene.raise("InvalidParameter", "ListDevices", json!({ "AccessToken": access, "PaginationToken": "x" }));
    scene.raise("NotAuthorized", "AdminListDevices", json!({ "Username": "nobody" }));
    scene.raise("NotAuthorized", "ListDevices", json!({ "AccessToken": "a.b.c" }));
}

#[test]
fn each_family_of_operations_raises_the_typed_exceptions_that_the_model_lists() {
    let server = Functions::start();
    let mut scene = Scene::start(&format!("{}{POOL}", server.toml(&["check"])));
    sign_up(&mut scene);
    functions(&mut scene, &server);
    sign_in(&mut scene);
    account(&mut scene);
    tokens(&mut scene);
    admin_users(&mut scene);
    groups(&mut scene);
    pools_and_tags(&mut scene);
    clients(&mut scene);
    domains_servers_and_providers(&mut scene);
    provider_links(&mut scene);
    look_of_pages(&mut scene);
    second_factors(&mut scene);
    devices(&mut scene);
    // An address has a limited number of wrong guesses.
    scene.family = "sign-in";
    let wrong = json!({ "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": { "USERNAME": "nobody", "PASSWORD": "x" } });
    scene.raise_in_time("TooManyRequests", "InitiateAuth", &wrong);
    for (family, exceptions) in FAMILIES {
        let raised: Vec<&str> = scene.raised[family].iter().map(String::as_str).collect();
        assert_eq!(raised.join(" "), exceptions, "{family}");
    }
    assert!(!scene.api.narthex.log().contains("the model does not list"));
}

//! Errors of Cognito's API in four SDKs of AWS: each is raised as the SDK's own exception for it.

use crate::support::aws::{Api, Boto, KEY, OTHER, PASSWORD, text};
use crate::support::libraries::Cli;
use crate::support::orders::Orders;
use serde_json::{Value, json};

const POOL: &str = r#"
[[user_pool]]
name = "declared"
signing_algorithm = "ES256"
"#;

/// A failed call: the exception, the operation, and the request. Of a list each SDK has one.
type Case = (&'static str, &'static str, Value);

/// An error as an SDK raised it: the exception, and the message.
type Raised = (String, String);

struct Scene {
    api: Api,
    boto: Boto,
    pool: String,
    client: String,
}

impl Scene {
    fn start() -> Self {
        let api = Api::start(POOL);
        let mut boto = api.boto();
        let pool = json!({ "PoolName": "people", "AutoVerifiedAttributes": ["email"],
            "AliasAttributes": ["email", "preferred_username"] });
        let pool = text(&boto.call("CreateUserPool", pool).unwrap()["UserPool"]["Id"]);
        let client = json!({ "UserPoolId": pool, "ClientName": "app", "PreventUserExistenceErrors": "LEGACY",
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH"],
            "RefreshTokenRotation": { "Feature": "ENABLED", "RetryGracePeriodSeconds": 0 } });
        let client = text(&boto.call("CreateUserPoolClient", client).unwrap()["UserPoolClient"]["ClientId"]);
        Self { api, boto, pool, client }
    }

    /// Calls an operation that succeeds.
    fn done(&mut self, operation: &str, request: Value) -> Value {
        let result = match is_signed(operation) {
            true => self.boto.call(operation, request.clone()),
            false => self.boto.unsigned(operation, request.clone()),
        };
        result.unwrap_or_else(|error| panic!("{operation} {request}: {error:?}"))
    }

    /// A user of an administrator, with a password.
    fn create(&mut self, name: &str) {
        let create = json!({ "UserPoolId": self.pool, "Username": name, "MessageAction": "SUPPRESS" });
        self.done("AdminCreateUser", create);
        let password =
            json!({ "UserPoolId": self.pool, "Username": name, "Password": PASSWORD, "Permanent": true });
        self.done("AdminSetUserPassword", password);
    }

    fn sign_up(&self, name: &str, email: &str) -> Value {
        json!({ "ClientId": self.client, "Username": name, "Password": PASSWORD,
            "UserAttributes": [{ "Name": "email", "Value": email }] })
    }

    fn sign_in(&self, name: &str, password: &str) -> Value {
        let parameters = json!({ "USERNAME": name, "PASSWORD": password });
        json!({ "ClientId": self.client, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters })
    }

    /// The request of a refresh with a token that was used. Another use ends all of its tokens.
    fn used_refresh_token(&mut self) -> Value {
        let request = self.sign_in("tokens", PASSWORD);
        let token = self.done("InitiateAuth", request)["AuthenticationResult"]["RefreshToken"].clone();
        let refresh = json!({ "ClientId": self.client, "RefreshToken": token });
        self.done("GetTokensFromRefreshToken", refresh.clone());
        refresh
    }

    /// Makes users in every state, and returns calls that fail and change nothing.
    fn cases(&mut self) -> Vec<Case> {
        for name in ["ann", "reset", "tokens"] {
            self.create(name);
        }
        let of_pool = |mut members: Value| {
            members["UserPoolId"] = json!(self.pool);
            members
        };
        let email = json!([{ "Name": "email", "Value": "reset@example.com" }, { "Name": "email_verified", "Value": "true" }]);
        let verified = of_pool(json!({ "Username": "reset", "UserAttributes": email }));
        let reset = of_pool(json!({ "Username": "reset" }));
        let alias = json!([{ "Name": "preferred_username", "Value": "annie" }]);
        let named = of_pool(json!({ "Username": "ann", "UserAttributes": alias }));
        let taken = of_pool(json!({ "Username": "reset", "UserAttributes": alias }));
        let group = of_pool(json!({ "GroupName": "staff" }));
        let resend = of_pool(json!({ "Username": "ann", "MessageAction": "RESEND" }));
        let provider = of_pool(json!({ "ProviderName": "corp", "ProviderType": "OIDC", "ProviderDetails": {
            "client_id": "a", "client_secret": "b", "oidc_issuer": "https://idp.example", "authorize_scopes": "openid",
            "attributes_request_method": "GET" } }));
        let scope = of_pool(json!({ "ClientName": "app", "AllowedOAuthScopes": ["a/b"] }));
        let flow = of_pool(json!({ "ClientName": "app", "AllowedOAuthFlows": ["client_credentials"],
            "AllowedOAuthScopes": ["a/b"] }));
        let enforced = json!({ "PoolName": "x", "UserPoolAddOns": { "AdvancedSecurityMode": "ENFORCED" } });
        let declared = json!({ "UserPoolId": self.api.pool_id() });
        for (operation, request) in [
            ("AdminUpdateUserAttributes", verified),
            ("AdminResetUserPassword", reset),
            ("AdminUpdateUserAttributes", named),
            ("CreateGroup", group.clone()),
            ("CreateIdentityProvider", provider.clone()),
            ("SignUp", self.sign_up("new", "new@example.com")),
        ] {
            self.done(operation, request);
        }
        let refresh = (0..4).map(|_| self.used_refresh_token()).collect();
        let code = json!({ "ClientId": self.client, "Username": "new", "ConfirmationCode": "no-code" });
        let forgot = json!({ "ClientId": self.client, "Username": "ann", "ConfirmationCode": "123456", "Password": OTHER });
        let weak = json!({ "ClientId": self.client, "Username": "weak", "Password": "short" });
        vec![
            ("NotAuthorizedException", "InitiateAuth", self.sign_in("ann", OTHER)),
            ("UserNotFoundException", "InitiateAuth", self.sign_in("nobody", PASSWORD)),
            ("UserNotConfirmedException", "InitiateAuth", self.sign_in("new", PASSWORD)),
            ("PasswordResetRequiredException", "InitiateAuth", self.sign_in("reset", PASSWORD)),
            ("UsernameExistsException", "SignUp", self.sign_up("ann", "other@example.com")),
            ("InvalidPasswordException", "SignUp", weak),
            ("CodeMismatchException", "ConfirmSignUp", code),
            ("ExpiredCodeException", "ConfirmForgotPassword", forgot),
            ("RefreshTokenReuseException", "GetTokensFromRefreshToken", Value::Array(refresh)),
            ("UnauthorizedException", "RevokeToken", json!({ "Token": "a.b.c", "ClientId": "nowhere" })),
            ("AliasExistsException", "AdminUpdateUserAttributes", taken),
            ("UnsupportedUserStateException", "AdminCreateUser", resend),
            ("GroupExistsException", "CreateGroup", group),
            ("DuplicateProviderException", "CreateIdentityProvider", provider),
            ("ScopeDoesNotExistException", "CreateUserPoolClient", scope),
            ("InvalidOAuthFlowException", "CreateUserPoolClient", flow),
            ("FeatureUnavailableInTierException", "CreateUserPool", enforced),
            ("OperationNotEnabledException", "DeleteUserPool", declared),
            ("ResourceNotFoundException", "DescribeUserPool", json!({ "UserPoolId": "us-east-1_nowhere00" })),
            ("InvalidParameterException", "CreateUserPool", json!({ "PoolName": "a/b" })),
        ]
    }
}

fn is_signed(operation: &str) -> bool {
    narthex::aws::operations().find(|of| of.name == operation).unwrap().is_signed
}

/// The error of an SDK for JavaScript; `None` for an operation that it lacks.
fn in_javascript(sdk: &mut Orders, operation: &str, request: &Value) -> Option<Raised> {
    let order = json!({ "operation": operation, "parameters": request, "unsigned": !is_signed(operation) });
    let answer = sdk.ask(&order);
    if answer.get("missing").is_some() {
        return None;
    }
    assert!(answer.get("ok").is_none(), "{order}: {answer}");
    assert_eq!((&answer["typed"], &answer["status"]), (&json!(true), &json!(400)), "{order}: {answer}");
    Some((text(&answer["error"]), text(&answer["message"])))
}

/// The error of AWS CLI, whose words are "An error occurred (X) when calling the Y operation: Z".
fn in_cli(cli: &Cli<'_>, operation: &str, request: &Value) -> Raised {
    let command = operation.chars().fold(String::new(), |mut command, c| {
        if c.is_ascii_uppercase() && !command.is_empty() {
            command.push('-');
        }
        command.push(c.to_ascii_lowercase());
        command
    });
    let printed = cli.run(&[&command, "--cli-input-json", &request.to_string()]).unwrap_err();
    let (exception, rest) =
        printed.split_once("An error occurred (").and_then(|(_, rest)| rest.split_once(')')).expect(&printed);
    let (_, message) = rest.split_once("operation: ").expect(&printed);
    (exception.to_owned(), message.trim().to_owned())
}

#[test]
fn pain_21_each_error_is_the_typed_exception_of_boto3_the_cli_and_both_sdks_for_javascript() {
    let mut scene = Scene::start();
    let cases = scene.cases();
    let (id, secret) = KEY;
    let authority = scene.api.narthex.folder().join("certs/local-authority.pem");
    let endpoint = scene.api.narthex.origin("auth");
    let javascript =
        |version| Orders::node("aws-errors.mjs", &[version, &endpoint, "us-east-1", id, secret], &authority);
    let (mut v2, mut v3) = (javascript("v2"), javascript("v3"));
    let mut lacking = Vec::new();
    for (exception, operation, request) in cases {
        let of = |sdk: usize| request.get(sdk).unwrap_or(&request);
        let error = match is_signed(operation) {
            true => scene.boto.call(operation, of(0).clone()),
            false => scene.boto.unsigned(operation, of(0).clone()),
        };
        let error = error.expect_err(&format!("{operation} {request}"));
        assert_eq!((&*error.code, &*error.class), (exception, exception), "{operation}: {}", error.message);
        let expected = (exception.to_owned(), error.message);
        for (sdk, raised) in [
            ("AWS CLI", Some(in_cli(&Cli::version_1(&scene.api), operation, of(1)))),
            ("SDK for JavaScript 2", in_javascript(&mut v2, operation, of(2))),
            ("SDK for JavaScript 3", in_javascript(&mut v3, operation, of(3))),
        ] {
            match raised {
                Some(raised) => assert_eq!(raised, expected, "{sdk}: {operation}"),
                None => lacking.push((sdk, operation)),
            }
        }
    }
    // Version 2 gets no new operations.
    assert_eq!(lacking, [("SDK for JavaScript 2", "GetTokensFromRefreshToken")]);
}

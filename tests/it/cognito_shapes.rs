//! Every operation of Cognito's API with boto3, whose model each answer must fit.

use crate::support::aws::{Api, Boto, KEY, OTHER, PASSWORD, text};
use crate::support::totp::Authenticator;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const POOL: &str = "[[user_pool]]\nname = \"declared\"\nsigning_algorithm = \"ES256\"\n";
/// A third password.
const THIRD: &str = "Third-Horse-9-Paperclip";

struct Scene {
    api: Api,
    boto: Boto,
    called: BTreeSet<String>,
    pool: String,
    client: String,
}

impl Scene {
    fn start() -> Self {
        let api = Api::start(POOL);
        let boto = Boto::comparing(&api.narthex, KEY);
        Self { api, boto, called: BTreeSet::new(), pool: String::new(), client: String::new() }
    }

    /// Calls an operation that succeeds. Boto compares the answer with the model.
    fn done(&mut self, operation: &str, request: Value) -> Value {
        self.called.insert(operation.to_owned());
        let is_signed = narthex::aws::operations().find(|of| of.name == operation).unwrap().is_signed;
        let result = match is_signed {
            true => self.boto.call(operation, request.clone()),
            false => self.boto.unsigned(operation, request.clone()),
        };
        result.unwrap_or_else(|error| panic!("{operation} {request}: {error:?}"))
    }

    /// Calls an operation on the pool.
    fn of_pool(&mut self, operation: &str, mut members: Value) -> Value {
        members["UserPoolId"] = json!(self.pool);
        self.done(operation, members)
    }

    /// Calls an operation of the client.
    fn of_client(&mut self, operation: &str, mut members: Value) -> Value {
        members["ClientId"] = json!(self.client);
        self.done(operation, members)
    }

    fn pools(&mut self) {
        let settings = json!({
            "PoolName": "people", "AliasAttributes": ["email", "preferred_username"],
            "AutoVerifiedAttributes": ["email"], "DeletionProtection": "INACTIVE",
            "Policies": { "PasswordPolicy": { "MinimumLength": 12, "PasswordHistorySize": 2 } },
            "UserAttributeUpdateSettings": { "AttributesRequireVerificationBeforeUpdate": ["email"] },
            "AccountRecoverySetting": { "RecoveryMechanisms": [{ "Priority": 1, "Name": "verified_email" }] },
            "AdminCreateUserConfig": { "InviteMessageTemplate": { "EmailSubject": "Hello" } },
            "Schema": [
                { "Name": "team", "AttributeDataType": "String", "Mutable": true },
                { "Name": "level", "AttributeDataType": "Number", "Mutable": true,
                    "NumberAttributeConstraints": { "MinValue": "0", "MaxValue": "9" } },
            ],
            "EmailConfiguration": { "From": "a@example.com" }, "UserPoolTags": { "a": "b" },
            "VerificationMessageTemplate": { "EmailMessage": "Your code is {####}", "EmailSubject": "Code" },
            "UserPoolAddOns": { "AdvancedSecurityMode": "AUDIT" }, "UserPoolTier": "PLUS",
            "DeviceConfiguration": { "DeviceOnlyRememberedOnUserPrompt": true },
            "UsernameConfiguration": { "CaseSensitive": false },
        });
        let pool = self.done("CreateUserPool", settings.clone())["UserPool"].clone();
        self.pool = text(&pool["Id"]);
        let members = ["PoolName", "AliasAttributes", "Schema", "UsernameConfiguration"];
        let mut update = settings;
        update.as_object_mut().unwrap().retain(|name, _| !members.contains(&name.as_str()));
        self.of_pool("UpdateUserPool", update);
        let attribute = json!({ "Name": "since", "AttributeDataType": "DateTime" });
        self.of_pool("AddCustomAttributes", json!({ "CustomAttributes": [attribute] }));
        self.of_pool("SetUserPoolMfaConfig", json!({ "MfaConfiguration": "OFF" }));
        self.of_pool("GetUserPoolMfaConfig", json!({}));
        assert_eq!(self.done("ListUserPools", json!({ "MaxResults": 1 }))["UserPools"], self.page_of_pools());
        let arn = &pool["Arn"];
        self.done("TagResource", json!({ "ResourceArn": arn, "Tags": { "c": "d" } }));
        self.done("UntagResource", json!({ "ResourceArn": arn, "TagKeys": ["a"] }));
        assert_eq!(
            self.done("ListTagsForResource", json!({ "ResourceArn": arn }))["Tags"],
            json!({ "c": "d" })
        );
    }

    /// The first page, by a token that the second call does not use.
    fn page_of_pools(&mut self) -> Value {
        let page = self.done("ListUserPools", json!({ "MaxResults": 1 }));
        let next = self.done("ListUserPools", json!({ "MaxResults": 1, "NextToken": page["NextToken"] }));
        assert_ne!(page["UserPools"], next["UserPools"]);
        page["UserPools"].clone()
    }

    fn clients(&mut self) {
        let rich = json!({
            "ClientName": "app", "RefreshTokenValidity": 12, "AccessTokenValidity": 45,
            "TokenValidityUnits": { "AccessToken": "minutes", "RefreshToken": "hours" },
            "ExplicitAuthFlows": ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH"],
            "AllowedOAuthFlows": ["code"], "AllowedOAuthScopes": ["openid"], "AllowedOAuthFlowsUserPoolClient": true,
            "CallbackURLs": ["https://app.example/cb"], "LogoutURLs": ["https://app.example/out"],
            "DefaultRedirectURI": "https://app.example/cb", "SupportedIdentityProviders": ["COGNITO"],
            "RefreshTokenRotation": { "Feature": "ENABLED", "RetryGracePeriodSeconds": 10 },
            "AnalyticsConfiguration": { "ApplicationId": "abc123", "UserDataShared": false },
        });
        let client = self.of_pool("CreateUserPoolClient", rich.clone())["UserPoolClient"].clone();
        self.client = text(&client["ClientId"]);
        let mut update = rich;
        update["ClientId"] = client["ClientId"].clone();
        self.of_pool("UpdateUserPoolClient", update);
        self.of_pool("DescribeUserPoolClient", json!({ "ClientId": client["ClientId"] }));
        let secret = json!({ "ClientName": "server", "GenerateSecret": true });
        let server = self.of_pool("CreateUserPoolClient", secret)["UserPoolClient"]["ClientId"].clone();
        let css = ".logo-customizable { max-width: 60% }";
        self.of_pool("SetUICustomization", json!({ "ClientId": server, "CSS": css }));
        self.of_pool("GetUICustomization", json!({ "ClientId": server }));
        self.of_pool("ListUserPoolClients", json!({ "MaxResults": 1 }));
        self.of_pool("AddUserPoolClientSecret", json!({ "ClientId": server }));
        let secrets = self.of_pool("ListUserPoolClientSecrets", json!({ "ClientId": server }));
        let id = secrets["ClientSecrets"][0]["ClientSecretId"].clone();
        self.of_pool("DeleteUserPoolClientSecret", json!({ "ClientId": server, "ClientSecretId": id }));
        self.of_pool("DeleteUserPoolClient", json!({ "ClientId": server }));
    }

    fn domains_servers_and_providers(&mut self) {
        let domain = json!({ "Domain": "acme", "ManagedLoginVersion": 2 });
        self.of_pool("CreateUserPoolDomain", domain.clone());
        self.of_pool("UpdateUserPoolDomain", domain);
        self.done("DescribeUserPoolDomain", json!({ "Domain": "acme" }));
        self.done("DescribeUserPoolDomain", json!({ "Domain": "nobody" }));
        self.of_pool("DescribeUserPool", json!({}));
        self.of_pool("DeleteUserPoolDomain", json!({ "Domain": "acme" }));
        let server = json!({ "Identifier": "photos", "Name": "Photos",
            "Scopes": [{ "ScopeName": "read", "ScopeDescription": "Read" }] });
        self.of_pool("CreateResourceServer", server.clone());
        self.of_pool("UpdateResourceServer", server);
        self.of_pool("DescribeResourceServer", json!({ "Identifier": "photos" }));
        self.of_pool("ListResourceServers", json!({}));
        self.of_pool("DeleteResourceServer", json!({ "Identifier": "photos" }));
        let provider = json!({
            "ProviderName": "corp", "ProviderType": "OIDC", "IdpIdentifiers": ["corp.example"],
            "ProviderDetails": { "client_id": "a", "client_secret": "b", "oidc_issuer": "https://idp.example",
                "authorize_scopes": "openid", "attributes_request_method": "GET" },
            "AttributeMapping": { "email": "email" },
        });
        self.of_pool("CreateIdentityProvider", provider);
        self.of_pool("UpdateIdentityProvider", json!({ "ProviderName": "corp", "AttributeMapping": {} }));
        self.of_pool("DescribeIdentityProvider", json!({ "ProviderName": "corp" }));
        self.of_pool("GetIdentityProviderByIdentifier", json!({ "IdpIdentifier": "corp.example" }));
        self.of_pool("ListIdentityProviders", json!({}));
        self.of_pool("AdminCreateUser", json!({ "Username": "linked", "MessageAction": "SUPPRESS" }));
        let account = |provider: &str, value: &str| {
            json!({ "ProviderName": provider, "ProviderAttributeName": "Cognito_Subject",
                "ProviderAttributeValue": value })
        };
        let (user, source) = (account("Cognito", "linked"), account("corp", "7"));
        self.of_pool("AdminLinkProviderForUser", json!({ "DestinationUser": user, "SourceUser": source }));
        self.of_pool("AdminGetUser", json!({ "Username": "linked" }));
        self.of_pool("AdminDisableProviderForUser", json!({ "User": source }));
        self.of_pool("AdminDeleteUser", json!({ "Username": "linked" }));
        self.of_pool("DeleteIdentityProvider", json!({ "ProviderName": "corp" }));
    }

    /// An administrator creates users, who sign in for the first time.
    fn administered_users(&mut self) {
        for name in ["ann", "bob"] {
            let email = format!("{name}@example.com");
            let attributes =
                json!([{ "Name": "email", "Value": email }, { "Name": "email_verified", "Value": "true" }]);
            let create = json!({ "Username": name, "TemporaryPassword": PASSWORD, "MessageAction": "SUPPRESS",
                "UserAttributes": attributes });
            self.of_pool("AdminCreateUser", create);
            let parameters = json!({ "USERNAME": name, "PASSWORD": PASSWORD });
            let responses = json!({ "USERNAME": name, "NEW_PASSWORD": OTHER });
            let answer = |session: &Value| {
                json!({ "ChallengeName": "NEW_PASSWORD_REQUIRED",
                "Session": session, "ChallengeResponses": responses })
            };
            if name == "ann" {
                let begin = json!({ "ClientId": self.client, "AuthFlow": "ADMIN_USER_PASSWORD_AUTH",
                    "AuthParameters": parameters });
                let challenge = self.of_pool("AdminInitiateAuth", begin);
                let mut answer = answer(&challenge["Session"]);
                answer["ClientId"] = json!(self.client);
                self.of_pool("AdminRespondToAuthChallenge", answer);
            } else {
                let begin = json!({ "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
                let challenge = self.of_client("InitiateAuth", begin);
                self.of_client("RespondToAuthChallenge", answer(&challenge["Session"]));
            }
        }
        let srp = json!({ "USERNAME": "bob", "SRP_A": "a".repeat(100) });
        self.of_client("InitiateAuth", json!({ "AuthFlow": "USER_SRP_AUTH", "AuthParameters": srp }));
        self.groups();
        let ann = json!({ "Username": "ann" });
        let name = json!([{ "Name": "name", "Value": "Ann" }, { "Name": "custom:level", "Value": "3" }]);
        self.of_pool("AdminUpdateUserAttributes", json!({ "Username": "ann", "UserAttributes": name }));
        self.of_pool("AdminGetUser", ann.clone());
        self.of_pool("ListUsers", json!({ "Limit": 1, "AttributesToGet": ["email"] }));
        self.of_pool(
            "AdminDeleteUserAttributes",
            json!({ "Username": "ann", "UserAttributeNames": ["name"] }),
        );
        self.of_pool(
            "AdminSetUserPassword",
            json!({ "Username": "ann", "Password": THIRD, "Permanent": true }),
        );
        for operation in [
            "AdminDisableUser",
            "AdminEnableUser",
            "AdminResetUserPassword",
            "AdminUserGlobalSignOut",
            "AdminDeleteUser",
        ] {
            self.of_pool(operation, ann.clone());
        }
    }

    fn groups(&mut self) {
        let staff = json!({ "GroupName": "staff", "Description": "All", "Precedence": 0,
            "RoleArn": "arn:aws:iam::123456789012:role/staff" });
        let (group, member) =
            (json!({ "GroupName": "staff" }), json!({ "GroupName": "staff", "Username": "ann" }));
        self.of_pool("CreateGroup", staff.clone());
        self.of_pool("UpdateGroup", staff);
        self.of_pool("GetGroup", group.clone());
        self.of_pool("AdminAddUserToGroup", member.clone());
        self.of_pool("ListGroups", json!({}));
        self.of_pool("ListUsersInGroup", group.clone());
        self.of_pool("AdminListGroupsForUser", json!({ "Username": "ann" }));
        self.of_pool("AdminRemoveUserFromGroup", member);
        self.of_pool("DeleteGroup", group);
    }

    /// A user turns a software token on, and off again.
    fn second_factors(&mut self, with: &dyn Fn(Value) -> Value, parameters: &Value) {
        let (on, off) = (json!({ "Enabled": true }), json!({ "Enabled": false }));
        self.of_pool("SetUserPoolMfaConfig", json!({ "MfaConfiguration": "OPTIONAL",
            "SoftwareTokenMfaConfiguration": on, "EmailMfaConfiguration": { "Message": "{####}", "Subject": "S" },
            "SmsMfaConfiguration": { "SmsAuthenticationMessage": "{####}" } }));
        self.of_pool("GetUserPoolMfaConfig", json!({}));
        let secret = self.done("AssociateSoftwareToken", with(json!({})))["SecretCode"].clone();
        let app = Authenticator::new(&text(&secret));
        self.done("VerifySoftwareToken", with(json!({ "UserCode": app.code(0) })));
        let preferred = json!({ "Enabled": true, "PreferredMfa": true });
        self.done("SetUserMFAPreference", with(json!({ "SoftwareTokenMfaSettings": preferred })));
        for operation in ["GetUser", "GetUserAuthFactors"] {
            assert_eq!(self.done(operation, with(json!({})))["PreferredMfaSetting"], "SOFTWARE_TOKEN_MFA");
        }
        let dan = json!({ "Username": "dan" });
        let begin = json!({ "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
        let challenge = self.of_client("InitiateAuth", begin);
        let code = json!({ "USERNAME": "dan", "SOFTWARE_TOKEN_MFA_CODE": app.code(1) });
        self.of_client(
            "RespondToAuthChallenge",
            json!({ "ChallengeName": challenge["ChallengeName"],
            "Session": challenge["Session"], "ChallengeResponses": code }),
        );
        self.of_pool("AdminGetUserAuthFactors", dan.clone());
        self.done("SetUserSettings", with(json!({ "MFAOptions": [] })));
        self.of_pool("AdminSetUserSettings", json!({ "Username": "dan", "MFAOptions": [] }));
        self.of_pool(
            "AdminSetUserMFAPreference",
            json!({ "Username": "dan", "SoftwareTokenMfaSettings": off }),
        );
        self.of_pool("AdminDeleteSoftwareToken", dan);
    }

    /// Devices of the user `dan`, of two sign-ins: their tokens end with them.
    fn devices(&mut self, begin: &Value) {
        let tokens = &self.of_client("InitiateAuth", begin.clone())["AuthenticationResult"];
        let (access, key) = (&tokens["AccessToken"], &tokens["NewDeviceMetadata"]["DeviceKey"]);
        let verifier = json!({ "PasswordVerifier": "AQAAAAA=", "Salt": "AQIDBAUGBwgJCgsMDQ4PEA==" });
        self.done(
            "ConfirmDevice",
            json!({ "AccessToken": access, "DeviceKey": key, "DeviceName": "laptop",
            "DeviceSecretVerifierConfig": verifier }),
        );
        let own = json!({ "AccessToken": access, "DeviceKey": key });
        let named = json!({ "Username": "dan", "DeviceKey": key });
        self.done("GetDevice", own.clone());
        self.done("ListDevices", json!({ "AccessToken": access }));
        self.done("UpdateDeviceStatus", own);
        self.of_pool("AdminGetDevice", named.clone());
        self.of_pool("AdminListDevices", json!({ "Username": "dan" }));
        let status = json!({ "Username": "dan", "DeviceKey": key, "DeviceRememberedStatus": "remembered" });
        self.of_pool("AdminUpdateDeviceStatus", status);
        self.of_pool("AdminForgetDevice", named);
        let tokens = &self.of_client("InitiateAuth", begin.clone())["AuthenticationResult"];
        let (access, key) = (&tokens["AccessToken"], &tokens["NewDeviceMetadata"]["DeviceKey"]);
        let again =
            json!({ "AccessToken": access, "DeviceKey": key, "DeviceSecretVerifierConfig": verifier });
        self.done("ConfirmDevice", again);
        self.done("ForgetDevice", json!({ "AccessToken": access, "DeviceKey": key }));
    }

    fn sign_up(&mut self, name: &str) -> String {
        let email = format!("{name}@example.com");
        let attributes = json!([{ "Name": "email", "Value": email }, { "Name": "nickname", "Value": name }]);
        let request = json!({ "Username": name, "Password": PASSWORD, "UserAttributes": attributes });
        self.of_client("SignUp", request);
        email
    }

    /// Users sign up, and look after their accounts.
    fn own_accounts(&mut self) {
        self.sign_up("eve");
        self.of_pool("AdminConfirmSignUp", json!({ "Username": "eve" }));
        let email = self.sign_up("dan");
        // Messages of one moment may arrive in any order.
        self.api.code(&email, 1);
        self.of_client("ResendConfirmationCode", json!({ "Username": "dan" }));
        let code = self.api.code(&email, 2);
        self.of_client("ConfirmSignUp", json!({ "Username": "dan", "ConfirmationCode": code }));
        self.of_client("ForgotPassword", json!({ "Username": "dan" }));
        let code = self.api.code(&email, 3);
        let reset = json!({ "Username": "dan", "ConfirmationCode": code, "Password": OTHER });
        self.of_client("ConfirmForgotPassword", reset);
        let parameters = json!({ "USERNAME": "dan", "PASSWORD": OTHER });
        let begin = json!({ "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters.clone() });
        self.devices(&begin);
        let tokens = self.of_client("InitiateAuth", begin)["AuthenticationResult"].clone();
        let refresh = json!({ "RefreshToken": tokens["RefreshToken"] });
        let tokens = self.of_client("GetTokensFromRefreshToken", refresh)["AuthenticationResult"].clone();
        let access = tokens["AccessToken"].clone();
        let with = |mut members: Value| {
            members["AccessToken"] = access.clone();
            members
        };
        self.done("GetUser", with(json!({})));
        self.second_factors(&with, &parameters);
        let passwords = json!({ "PreviousPassword": OTHER, "ProposedPassword": THIRD });
        self.done("ChangePassword", with(passwords));
        let new = json!([{ "Name": "email", "Value": "dan@new.example" }]);
        self.done("UpdateUserAttributes", with(json!({ "UserAttributes": new })));
        self.api.code("dan@new.example", 1);
        self.done("GetUserAttributeVerificationCode", with(json!({ "AttributeName": "email" })));
        let code = self.api.code("dan@new.example", 2);
        self.done("VerifyUserAttribute", with(json!({ "AttributeName": "email", "Code": code })));
        self.done("DeleteUserAttributes", with(json!({ "UserAttributeNames": ["nickname"] })));
        self.done("GlobalSignOut", with(json!({})));
        let parameters = json!({ "USERNAME": "dan", "PASSWORD": THIRD });
        let begin = json!({ "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
        let tokens = self.of_client("InitiateAuth", begin.clone())["AuthenticationResult"].clone();
        self.of_client("RevokeToken", json!({ "Token": tokens["RefreshToken"] }));
        let tokens = self.of_client("InitiateAuth", begin)["AuthenticationResult"].clone();
        self.done("DeleteUser", json!({ "AccessToken": tokens["AccessToken"] }));
    }
}

#[test]
fn the_answer_of_every_operation_fits_the_model_of_botocore() {
    let mut scene = Scene::start();
    scene.pools();
    scene.clients();
    scene.domains_servers_and_providers();
    scene.administered_users();
    scene.own_accounts();
    scene.of_pool("DeleteUserPool", json!({}));
    let implemented: BTreeSet<String> = narthex::aws::operations().map(|of| of.name.to_owned()).collect();
    let missing: Vec<&String> = implemented.difference(&scene.called).collect();
    assert!(missing.is_empty(), "operations without a call: {missing:?}");
}

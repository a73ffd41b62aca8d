//! Remembered devices of the Cognito API: libraries confirm them and sign in with them.

use crate::support::aws::{Api, ApiError, Boto, PASSWORD, claims, ok, text};
use crate::support::libraries::{self, InBrowser, Library};
use crate::support::orders::Orders;
use crate::support::totp::Authenticator;
use serde_json::{Value, json};

fn pool(devices: &str, replaces: bool) -> String {
    format!(
        r#"
[[user_pool]]
name = "people"
mfa = "optional"
mfa_factors = ["software_token"]
remembered_devices = "{devices}"
device_replaces_factor = {replaces}
[[user_pool.client]]
name = "plain"
id = "plainclient"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
"#
    )
}

struct Scene {
    api: Api,
    boto: Boto,
}

impl Scene {
    fn start(devices: &str, replaces: bool) -> Self {
        let api = Api::start(&pool(devices, replaces));
        let boto = api.boto();
        let mut scene = Self { api, boto };
        for name in ["ada", "bob"] {
            let new = scene.named(name, json!({ "MessageAction": "SUPPRESS" }));
            ok(&mut scene.boto, "AdminCreateUser", new);
            let set = scene.named(name, json!({ "Password": PASSWORD, "Permanent": true }));
            ok(&mut scene.boto, "AdminSetUserPassword", set);
        }
        scene
    }

    fn named(&self, name: &str, mut members: Value) -> Value {
        members["UserPoolId"] = json!(self.api.pool_id());
        members["Username"] = json!(name);
        members
    }

    /// Signs in by password, and returns the result.
    fn sign_in(&mut self, name: &str, device: Option<&str>) -> Result<Value, ApiError> {
        let mut parameters = json!({ "USERNAME": name, "PASSWORD": PASSWORD });
        if let Some(device) = device {
            parameters["DEVICE_KEY"] = json!(device);
        }
        let request = json!({ "ClientId": "plainclient", "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": parameters });
        self.boto.unsigned("InitiateAuth", request)
    }

    fn library(&self, library: &str) -> Orders {
        libraries::client(&self.api, library, "plainclient", None)
    }
}

fn sign_in() -> Value {
    json!({ "do": "signIn", "name": "ada", "password": PASSWORD })
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ApiError>) -> (String, String) {
    let error = result.unwrap_err();
    (error.code, error.message)
}

fn no_device() -> (String, String) {
    ("ResourceNotFoundException".to_owned(), "Device does not exist.".to_owned())
}

/// A verifier that clients could send: g^x for a small x.
fn verifier() -> Value {
    json!({ "PasswordVerifier": "AQAAAAA=", "Salt": "AQIDBAUGBwgJCgsMDQ4PEA==" })
}

fn forget_and_sign_in_again(scene: &mut Scene, client: &mut dyn Library, library: &str) {
    let first = client.done(sign_in());
    let device = text(&claims(&text(&first["access"]))["device_key"]);
    assert_eq!(client.done(json!({ "do": "devices" })), json!([device]), "{library}");
    let secret = text(&client.done(json!({ "do": "newToken" }))["secret"]);
    let app = Authenticator::new(&secret);
    client.done(json!({ "do": "confirmToken", "code": app.code(-1) }));
    client.done(json!({ "do": "preferToken" }));
    client.done(json!({ "do": "signOut" }));
    // Its sign-in was one without the factor: the device does not replace it.
    assert_eq!(client.done(sign_in())["challenge"], "SOFTWARE_TOKEN_MFA", "{library}");
    let tokens = client.done(json!({ "do": "mfaCode", "code": app.code(0) }));
    let device = text(&claims(&text(&tokens["access"]))["device_key"]);
    client.done(json!({ "do": "signOut" }));
    let again = client.done(sign_in());
    assert!(again["access"].is_string(), "{library}: {again}");
    assert_eq!(text(&claims(&text(&again["access"]))["device_key"]), device, "{library}");
    let refreshed = client.done(json!({ "do": "refresh" }));
    assert_eq!(text(&claims(&text(&refreshed["access"]))["device_key"]), device, "{library}");
    // Another client has no device.
    assert_eq!(scene.library("pycognito").done(sign_in())["challenge"], "SOFTWARE_TOKEN_MFA", "{library}");

    let forget = scene.named("ada", json!({ "DeviceKey": device }));
    ok(&mut scene.boto, "AdminForgetDevice", forget);
    client.done(json!({ "do": "signOut" }));
    assert_eq!(client.done(sign_in())["challenge"], "SOFTWARE_TOKEN_MFA", "{library}");
    let tokens = client.done(json!({ "do": "mfaCode", "code": app.code(1) }));
    let next = text(&claims(&text(&tokens["access"]))["device_key"]);
    assert_ne!(next, device, "{library}");
    client.done(json!({ "do": "signOut" }));
    assert!(client.done(sign_in())["access"].is_string(), "{library}");
}

#[test]
fn pain_14_a_remembered_device_replaces_the_second_factor_until_it_is_forgotten() {
    let mut scene = Scene::start("always", true);
    let mut client = scene.library("identityJs");
    forget_and_sign_in_again(&mut scene, &mut client, "identityJs");
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_14_amplify_in_a_browser_forgets_a_device_that_the_pool_has_forgotten() {
    let mut scene = Scene::start("always", true);
    let mut client = InBrowser::open(&scene.api, "amplify", "plainclient").await;
    forget_and_sign_in_again(&mut scene, &mut client, "amplify");
    client.close().await;
}

#[test]
fn a_client_without_sessions_signs_in_with_a_device_and_wrong_secrets_are_refused() {
    let scene = Scene::start("always", true);
    let mut client = scene.library("pycognito");
    let order = |members: Value| {
        let mut order = json!({ "do": "deviceSignIn", "name": "ada", "password": PASSWORD });
        order.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        order
    };
    let confirmed = client.done(order(json!({ "remember": true })));
    assert_eq!(confirmed, json!({ "UserConfirmationNecessary": false }));
    let tokens = client.done(order(json!({})));
    assert!(claims(&text(&tokens["access"]))["device_key"].is_string());
    assert_eq!(client.refused(order(json!({ "wrong": true }))), "NotAuthorizedException");
    assert!(client.done(order(json!({})))["access"].is_string());
    // Without a password the exchange of a device does not begin.
    let mut boto = scene.api.boto();
    let device = text(&claims(&text(&tokens["access"]))["device_key"]);
    let answer = json!({ "ClientId": "plainclient", "ChallengeName": "DEVICE_SRP_AUTH",
        "ChallengeResponses": { "USERNAME": "ada", "DEVICE_KEY": device, "SRP_A": "7" } });
    assert_eq!(refusal(boto.unsigned("RespondToAuthChallenge", answer)).0, "InvalidParameterException");
}

#[test]
fn only_the_device_of_a_sign_in_is_confirmed_and_a_user_has_own_devices() {
    let mut scene = Scene::start("opt_in", true);
    let ada = scene.sign_in("ada", None).unwrap()["AuthenticationResult"].clone();
    let bob = scene.sign_in("bob", None).unwrap()["AuthenticationResult"].clone();
    let key = text(&ada["NewDeviceMetadata"]["DeviceKey"]);
    assert!(key.starts_with("us-east-1_") && key.len() == 46, "{key}");
    let confirm = |of: &Value, key: &str, verifier: Value| {
        json!({ "AccessToken": of["AccessToken"], "DeviceKey": key, "DeviceName": "laptop",
            "DeviceSecretVerifierConfig": verifier })
    };
    let of_bob = scene.boto.unsigned("ConfirmDevice", confirm(&bob, &key, verifier()));
    assert_eq!(refusal(of_bob), no_device());
    for wrong in [json!({}), json!({ "PasswordVerifier": "AQ==", "Salt": "AQ==" })] {
        let refused = scene.boto.unsigned("ConfirmDevice", confirm(&ada, &key, wrong));
        assert_eq!(refusal(refused).0, "InvalidParameterException");
    }
    // Not yet confirmed.
    assert_eq!(refusal(scene.sign_in("ada", Some(&key))), no_device());
    let confirmed = scene.boto.unsigned("ConfirmDevice", confirm(&ada, &key, verifier())).unwrap();
    assert_eq!(confirmed, json!({ "UserConfirmationNecessary": true }));
    let twice = scene.boto.unsigned("ConfirmDevice", confirm(&ada, &key, verifier()));
    assert_eq!(refusal(twice).0, "DeviceKeyExistsException");

    let of_token = |of: &Value| json!({ "AccessToken": of["AccessToken"], "DeviceKey": key });
    assert_eq!(refusal(scene.boto.unsigned("GetDevice", of_token(&bob))), no_device());
    assert_eq!(refusal(scene.boto.unsigned("ForgetDevice", of_token(&bob))), no_device());
    assert_eq!(refusal(scene.sign_in("bob", Some(&key))), no_device());
    let device = scene.boto.unsigned("GetDevice", of_token(&ada)).unwrap()["Device"].clone();
    assert_eq!(device["DeviceAttributes"][1], json!({ "Name": "device_name", "Value": "laptop" }));
    assert_eq!(device["DeviceAttributes"][3]["Value"], "not_remembered");
    // A device that is not remembered is not asked for its proof, and no new one is made.
    let tokens = scene.sign_in("ada", Some(&key)).unwrap()["AuthenticationResult"].clone();
    assert!(tokens["AccessToken"].is_string() && tokens["NewDeviceMetadata"].is_null());
    assert!(claims(&text(&tokens["AccessToken"]))["device_key"].is_null());
    let status = scene.named("ada", json!({ "DeviceKey": key, "DeviceRememberedStatus": "remembered" }));
    ok(&mut scene.boto, "AdminUpdateDeviceStatus", status);
    let challenge = scene.sign_in("ada", Some(&key)).unwrap();
    assert_eq!(challenge["ChallengeName"], "DEVICE_SRP_AUTH");
    let mut not = of_token(&ada);
    not["DeviceRememberedStatus"] = json!("not_remembered");
    scene.boto.unsigned("UpdateDeviceStatus", not).unwrap();
    let answer = json!({ "ClientId": "plainclient", "ChallengeName": "DEVICE_SRP_AUTH",
        "Session": challenge["Session"],
        "ChallengeResponses": { "USERNAME": "ada", "DEVICE_KEY": key, "SRP_A": "7" } });
    assert_eq!(refusal(scene.boto.unsigned("RespondToAuthChallenge", answer)), no_device());
    let refresh = |device: &str| {
        json!({ "ClientId": "plainclient", "AuthFlow": "REFRESH_TOKEN_AUTH",
            "AuthParameters": { "REFRESH_TOKEN": ada["RefreshToken"], "DEVICE_KEY": device } })
    };
    let (own, other) = (refresh(&key), refresh("us-east-1_other"));
    assert_eq!(refusal(scene.boto.unsigned("InitiateAuth", other)).1, "Invalid Refresh Token");
    assert!(scene.boto.unsigned("InitiateAuth", own).is_ok());

    let listed = scene.named("ada", json!({ "Limit": 1 }));
    let listed = ok(&mut scene.boto, "AdminListDevices", listed);
    assert_eq!(listed["Devices"][0]["DeviceKey"], json!(key));
    assert!(listed["PaginationToken"].is_null());
    scene.boto.unsigned("ForgetDevice", of_token(&ada)).unwrap();
    let listed = scene.named("ada", json!({}));
    assert_eq!(ok(&mut scene.boto, "AdminListDevices", listed)["Devices"], json!([]));
}

#[test]
fn a_pool_that_remembers_no_devices_makes_none() {
    let mut scene = Scene::start("off", false);
    let tokens = scene.sign_in("ada", Some("us-east-1_any")).unwrap()["AuthenticationResult"].clone();
    assert!(tokens["NewDeviceMetadata"].is_null());
    let confirm = json!({ "AccessToken": tokens["AccessToken"], "DeviceKey": "us-east-1_0",
        "DeviceSecretVerifierConfig": verifier() });
    assert_eq!(refusal(scene.boto.unsigned("ConfirmDevice", confirm)).0, "InvalidParameterException");
}

#[test]
fn a_forgotten_device_has_no_tokens_and_is_not_confirmed_again() {
    let mut scene = Scene::start("always", true);
    let ada = scene.sign_in("ada", None).unwrap()["AuthenticationResult"].clone();
    let other = scene.sign_in("ada", None).unwrap()["AuthenticationResult"].clone();
    let key = text(&ada["NewDeviceMetadata"]["DeviceKey"]);
    let confirm = |access: &Value| json!({ "AccessToken": access, "DeviceKey": key, "DeviceSecretVerifierConfig": verifier() });
    scene.boto.unsigned("ConfirmDevice", confirm(&ada["AccessToken"])).unwrap();
    let refresh = |tokens: &Value| {
        json!({ "ClientId": "plainclient", "AuthFlow": "REFRESH_TOKEN_AUTH",
            "AuthParameters": { "REFRESH_TOKEN": tokens["RefreshToken"] } })
    };
    let refreshed =
        scene.boto.unsigned("InitiateAuth", refresh(&ada)).unwrap()["AuthenticationResult"].clone();
    let forget = scene.named("ada", json!({ "DeviceKey": key }));
    ok(&mut scene.boto, "AdminForgetDevice", forget);
    for access in [&ada["AccessToken"], &refreshed["AccessToken"]] {
        let again = refusal(scene.boto.unsigned("ConfirmDevice", confirm(access)));
        assert_eq!(again.0, "NotAuthorizedException");
    }
    assert_eq!(refusal(scene.boto.unsigned("InitiateAuth", refresh(&ada))).0, "NotAuthorizedException");
    // Other devices go on.
    assert!(scene.boto.unsigned("InitiateAuth", refresh(&other)).is_ok());
}

#[test]
fn a_device_of_a_sign_in_without_the_factor_does_not_replace_it() {
    let mut scene = Scene::start("always", true);
    let [thief, before, ada] =
        [(); 3].map(|()| scene.sign_in("ada", None).unwrap()["AuthenticationResult"].clone());
    let confirm = |of: &Value| {
        json!({ "AccessToken": of["AccessToken"], "DeviceKey": of["NewDeviceMetadata"]["DeviceKey"],
            "DeviceSecretVerifierConfig": verifier() })
    };
    scene.boto.unsigned("ConfirmDevice", confirm(&before)).unwrap();
    let access = &ada["AccessToken"];
    let token = scene.boto.unsigned("AssociateSoftwareToken", json!({ "AccessToken": access })).unwrap();
    let app = Authenticator::new(&text(&token["SecretCode"]));
    let verify = json!({ "AccessToken": access, "UserCode": app.code(-1) });
    scene.boto.unsigned("VerifySoftwareToken", verify).unwrap();
    let on = json!({ "AccessToken": access, "SoftwareTokenMfaSettings": { "Enabled": true } });
    scene.boto.unsigned("SetUserMFAPreference", on).unwrap();
    let devices = scene.named("ada", json!({}));
    assert_eq!(ok(&mut scene.boto, "AdminListDevices", devices)["Devices"], json!([]));
    for of in [&thief, &before] {
        let refused = refusal(scene.boto.unsigned("ConfirmDevice", confirm(of)));
        assert_eq!(refused.0, "NotAuthorizedException", "{refused:?}");
    }
}

//! Calls of Cognito's API that fail: each exception must be the class that SDKs have for it.

use super::aws::{Api, Boto, PASSWORD, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Pools and clients, and the exceptions that calls have raised.
pub struct Scene {
    pub api: Api,
    pub boto: Boto,
    /// The family of operations that is called.
    pub family: &'static str,
    /// The exceptions of each family.
    pub raised: BTreeMap<&'static str, BTreeSet<String>>,
    pub pool: String,
    pub client: String,
    /// The id of the pool in the file.
    pub declared: String,
}

impl Scene {
    pub fn start(tables: &str) -> Self {
        let api = Api::start(tables);
        let mut boto = api.boto();
        let settings = json!({ "PoolName": "people",
            "AliasAttributes": ["email", "preferred_username"], "AutoVerifiedAttributes": ["email"],
            "Policies": { "PasswordPolicy": { "MinimumLength": 12, "PasswordHistorySize": 2 } },
        });
        let pool = text(&boto.call("CreateUserPool", settings).unwrap()["UserPool"]["Id"]);
        let declared = api.pool_id();
        let mut scene =
            Self { api, boto, family: "", raised: BTreeMap::new(), pool, client: String::new(), declared };
        scene.client = scene.new_client(json!({}));
        scene
    }

    pub fn new_client(&mut self, members: Value) -> String {
        let mut client = json!({ "UserPoolId": self.pool, "ClientName": "app", "PreventUserExistenceErrors": "LEGACY",
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_ADMIN_USER_PASSWORD_AUTH"] });
        client.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        text(&self.boto.call("CreateUserPoolClient", client).unwrap()["UserPoolClient"]["ClientId"])
    }

    /// Calls an operation; the pool and the client are those of the scene unless the members say
    /// otherwise.
    fn call(&mut self, operation: &str, mut members: Value) -> Result<Value, (String, String)> {
        let is_signed = narthex::aws::operations().find(|of| of.name == operation).unwrap().is_signed;
        let input =
            &model()["shapes"][model()["operations"][operation]["input"].as_str().unwrap()]["members"];
        for (name, value) in [("UserPoolId", &self.pool), ("ClientId", &self.client)] {
            if members.get(name).is_none() && input.get(name).is_some() {
                members[name] = json!(value);
            }
        }
        let result = match is_signed {
            true => self.boto.call(operation, members),
            false => self.boto.unsigned(operation, members),
        };
        result.map_err(|error| {
            let listed = model()["operations"][operation]["errors"].as_array().unwrap();
            assert!(listed.contains(&json!(error.code)), "{operation} does not list {}", error.code);
            assert_eq!(error.class, error.code, "{operation}: boto3 has a class for it");
            (error.code.trim_end_matches("Exception").to_owned(), error.message)
        })
    }

    pub fn done(&mut self, operation: &str, members: Value) -> Value {
        let shown = members.to_string();
        self.call(operation, members).unwrap_or_else(|error| panic!("{operation} {shown}: {error:?}"))
    }

    /// Calls an operation that fails with `exception`.
    pub fn raise(&mut self, exception: &str, operation: &str, members: Value) {
        let shown = members.to_string();
        let error = self.call(operation, members).expect_err(&format!("{operation} {shown}"));
        assert_eq!(error.0, exception, "{operation} {shown}: {}", error.1);
        self.raised.entry(self.family).or_default().insert(exception.to_owned());
    }

    /// Repeats a call until it fails with `exception`.
    pub fn raise_in_time(&mut self, exception: &str, operation: &str, members: &Value) {
        let result = (0..250).find_map(|_| match self.call(operation, members.clone()) {
            Err(error) if error.0 == exception => Some(error),
            _ => None,
        });
        assert!(result.is_some(), "{operation} {members}");
        self.raised.entry(self.family).or_default().insert(exception.to_owned());
    }

    pub fn sign_up(&mut self, name: &str, attributes: &[(&str, &str)]) {
        let request =
            json!({ "Username": name, "Password": PASSWORD, "UserAttributes": attribute_list(attributes) });
        self.done("SignUp", request);
    }

    pub fn sign_in(&mut self, client: &str, name: &str, password: &str) -> Value {
        self.done("InitiateAuth", password_flow(client, name, password))
    }
}

fn model() -> &'static Value {
    static MODEL: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/aws/model/cognito_idp.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    });
    &MODEL
}

/// `AttributeListType`
pub fn attribute_list(attributes: &[(&str, &str)]) -> Value {
    attributes.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect()
}

/// A sign-in with a password.
pub fn password_flow(client: &str, name: &str, password: &str) -> Value {
    let parameters = json!({ "USERNAME": name, "PASSWORD": password });
    json!({ "ClientId": client, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters })
}

//! Cognito's API with unchanged clients: app clients, domains, resource servers, providers.

use crate::support::aws::{Api, Boto, POOL, create, describe, exception, ok, text};
use serde_json::{Value, json};

#[test]
fn pain_27_a_client_is_described_as_it_was_requested() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let pool = text(&create(&mut boto, json!({}))["Id"]);
    let rich = json!({
        "RefreshTokenValidity": 12, "AccessTokenValidity": 45, "IdTokenValidity": 1,
        "TokenValidityUnits": { "AccessToken": "minutes", "IdToken": "hours", "RefreshToken": "hours" },
        "ReadAttributes": ["email"], "WriteAttributes": ["email"],
        "ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        "SupportedIdentityProviders": ["COGNITO"],
        "CallbackURLs": ["https://app.example/cb"], "LogoutURLs": ["https://app.example/out"],
        "DefaultRedirectURI": "https://app.example/cb",
        "AllowedOAuthFlows": ["code"], "AllowedOAuthScopes": ["openid", "email"],
        "AllowedOAuthFlowsUserPoolClient": true, "PreventUserExistenceErrors": "LEGACY",
        "EnableTokenRevocation": true, "EnablePropagateAdditionalUserContextData": false,
        "AuthSessionValidity": 5,
        "RefreshTokenRotation": { "Feature": "ENABLED", "RetryGracePeriodSeconds": 10 },
        "AnalyticsConfiguration": { "ApplicationId": "abc123", "UserDataShared": false },
    });
    let lists = [
        "AllowedOAuthFlows",
        "AllowedOAuthScopes",
        "CallbackURLs",
        "ExplicitAuthFlows",
        "LogoutURLs",
        "ReadAttributes",
        "SupportedIdentityProviders",
        "WriteAttributes",
    ];
    let empty: Value = lists.iter().map(|name| ((*name).to_owned(), json!([]))).collect();
    let without_units = json!({ "AccessTokenValidity": 2, "RefreshTokenValidity": 7 });
    for requested in [rich, empty, without_units, json!({})] {
        let with = |id: Option<&str>| {
            let mut request = requested.clone();
            request["UserPoolId"] = json!(pool);
            request["ClientName"] = json!("app");
            if let Some(id) = id {
                request["ClientId"] = json!(id);
            }
            request
        };
        let made = ok(&mut boto, "CreateUserPoolClient", with(None))["UserPoolClient"].clone();
        for (member, value) in requested.as_object().unwrap() {
            assert_eq!(&made[member], value, "{member}");
        }
        let defaults = [
            ("RefreshTokenValidity", json!(30)),
            ("EnableTokenRevocation", json!(true)),
            ("AuthSessionValidity", json!(3)),
            ("PreventUserExistenceErrors", json!("ENABLED")),
            ("AllowedOAuthFlowsUserPoolClient", json!(false)),
        ];
        for (member, value) in defaults {
            if requested.get(member).is_none() {
                assert_eq!(made[member], value, "{member}");
            }
        }
        for member in lists.iter().chain(&["TokenValidityUnits", "AccessTokenValidity", "ClientSecret"]) {
            assert_eq!(made.get(member).is_some(), requested.get(member).is_some(), "{member}");
        }
        let id = text(&made["ClientId"]);
        let of = json!({ "UserPoolId": pool, "ClientId": id });
        let described = ok(&mut boto, "DescribeUserPoolClient", of.clone())["UserPoolClient"].clone();
        assert_eq!(described, made);
        let mut updated = ok(&mut boto, "UpdateUserPoolClient", with(Some(&id)))["UserPoolClient"].clone();
        updated["LastModifiedDate"] = made["LastModifiedDate"].clone();
        assert_eq!(updated, made);
        // Absent members are reset, and the name stays.
        let reset = ok(&mut boto, "UpdateUserPoolClient", of)["UserPoolClient"].clone();
        assert_eq!((&reset["ClientName"], &reset["RefreshTokenValidity"]), (&json!("app"), &json!(30)));
        assert!(lists.iter().all(|member| reset.get(member).is_none()), "{reset}");
    }
}

#[test]
fn clients_and_secrets_have_cognitos_rules() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let pool = text(&create(&mut boto, json!({}))["Id"]);
    let new = |members: Value| {
        let mut request = json!({ "UserPoolId": pool, "ClientName": "app" });
        request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        request
    };
    for (members, expected) in [
        (
            json!({ "AccessTokenValidity": 2, "TokenValidityUnits": { "AccessToken": "days" } }),
            "InvalidParameterException",
        ),
        (json!({ "GenerateSecret": true, "ClientSecret": "s".repeat(24) }), "InvalidParameterException"),
        (json!({ "PublishSecretsInAWSSecretsManager": true }), "InvalidParameterException"),
        (json!({ "AllowedOAuthFlowsUserPoolClient": true }), "InvalidParameterException"),
        (
            json!({ "AllowedOAuthFlows": ["client_credentials"], "AllowedOAuthScopes": ["a/b"] }),
            "InvalidOAuthFlowException",
        ),
        (json!({ "AllowedOAuthScopes": ["a/b"] }), "ScopeDoesNotExistException"),
        (json!({ "SupportedIdentityProviders": ["corp"] }), "InvalidParameterException"),
        (
            json!({ "ExplicitAuthFlows": ["ADMIN_NO_SRP_AUTH", "ALLOW_USER_SRP_AUTH"] }),
            "InvalidParameterException",
        ),
    ] {
        assert_eq!(exception(&mut boto, "CreateUserPoolClient", new(members.clone())), expected, "{members}");
    }
    let made =
        ok(&mut boto, "CreateUserPoolClient", new(json!({ "GenerateSecret": true })))["UserPoolClient"]
            .clone();
    let (id, first) = (text(&made["ClientId"]), text(&made["ClientSecret"]));
    let of = |members: Value| {
        let mut request = json!({ "UserPoolId": pool, "ClientId": id });
        request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        request
    };
    let added = ok(&mut boto, "AddUserPoolClientSecret", of(json!({})))["ClientSecretDescriptor"].clone();
    assert_ne!(text(&added["ClientSecretValue"]), first);
    assert_eq!(exception(&mut boto, "AddUserPoolClientSecret", of(json!({}))), "LimitExceededException");
    let listed = ok(&mut boto, "ListUserPoolClientSecrets", of(json!({})))["ClientSecrets"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(listed.as_array().unwrap().iter().all(|secret| secret.get("ClientSecretValue").is_none()));
    let oldest = of(json!({ "ClientSecretId": listed[0]["ClientSecretId"] }));
    ok(&mut boto, "DeleteUserPoolClientSecret", oldest.clone());
    assert_eq!(exception(&mut boto, "DeleteUserPoolClientSecret", oldest), "ResourceNotFoundException");
    let last = of(json!({ "ClientSecretId": listed[1]["ClientSecretId"] }));
    assert_eq!(exception(&mut boto, "DeleteUserPoolClientSecret", last), "InvalidParameterException");
    let given = ok(&mut boto, "AddUserPoolClientSecret", of(json!({ "ClientSecret": "g".repeat(24) })));
    assert!(given["ClientSecretDescriptor"].get("ClientSecretValue").is_none());
    let clients = ok(&mut boto, "ListUserPoolClients", json!({ "UserPoolId": pool, "MaxResults": 10 }));
    assert_eq!(
        clients["UserPoolClients"],
        json!([{ "ClientId": id, "UserPoolId": pool, "ClientName": "app" }])
    );
    let others = json!({ "UserPoolId": pool, "ClientType": "DCR" });
    assert_eq!(ok(&mut boto, "ListUserPoolClients", others)["UserPoolClients"], json!([]));
    // A client is of its pool alone.
    let other = text(&create(&mut boto, json!({}))["Id"]);
    for operation in [
        "DescribeUserPoolClient",
        "UpdateUserPoolClient",
        "DeleteUserPoolClient",
        "ListUserPoolClientSecrets",
    ] {
        let foreign = json!({ "UserPoolId": other, "ClientId": id });
        assert_eq!(exception(&mut boto, operation, foreign), "ResourceNotFoundException", "{operation}");
    }
    ok(&mut boto, "DeleteUserPoolClient", of(json!({})));
    assert_eq!(exception(&mut boto, "DescribeUserPoolClient", of(json!({}))), "ResourceNotFoundException");
}

#[test]
fn domains_belong_to_one_pool() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let pool = text(&create(&mut boto, json!({}))["Id"]);
    let named = |domain: &str, members: Value| {
        let mut request = json!({ "UserPoolId": pool, "Domain": domain });
        request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        request
    };
    let certificate = json!({ "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/x" });
    let config = json!({ "CustomDomainConfig": certificate, "ManagedLoginVersion": 2 });
    ok(&mut boto, "CreateUserPoolDomain", named("acme", json!({})));
    let custom = ok(&mut boto, "CreateUserPoolDomain", named("login.acme.example", config.clone()));
    assert_eq!(custom, json!({ "ManagedLoginVersion": 2, "CloudFrontDomain": "auth.localhost" }));
    for wrong in ["-a", "second", "b.acme.example", "acme"] {
        assert_eq!(
            exception(&mut boto, "CreateUserPoolDomain", named(wrong, json!({}))),
            "InvalidParameterException"
        );
    }
    let find = |boto: &mut Boto, domain: &str| {
        ok(boto, "DescribeUserPoolDomain", json!({ "Domain": domain }))["DomainDescription"].clone()
    };
    let found = find(&mut boto, "login.acme.example");
    assert_eq!((&found["UserPoolId"], &found["Status"]), (&json!(pool), &json!("ACTIVE")));
    assert_eq!((&found["CustomDomainConfig"], &found["ManagedLoginVersion"]), (&certificate, &json!(2)));
    assert_eq!(found["AWSAccountId"], "123456789012");
    assert_eq!(find(&mut boto, "nobody"), json!({}));
    let described = describe(&mut boto, &pool);
    assert_eq!(
        (&described["Domain"], &described["CustomDomain"]),
        (&json!("acme"), &json!("login.acme.example"))
    );
    ok(&mut boto, "UpdateUserPoolDomain", named("acme", json!({ "ManagedLoginVersion": 2 })));
    assert_eq!(find(&mut boto, "acme")["ManagedLoginVersion"], 2);
    assert_eq!(
        exception(&mut boto, "UpdateUserPoolDomain", named("nobody", json!({}))),
        "ResourceNotFoundException"
    );
    ok(&mut boto, "DeleteUserPoolDomain", named("acme", json!({})));
    assert_eq!(find(&mut boto, "acme"), json!({}));
    assert_eq!(
        exception(&mut boto, "DeleteUserPoolDomain", named("acme", json!({}))),
        "ResourceNotFoundException"
    );
}

#[test]
fn resource_servers_and_providers_are_managed() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let pool = text(&create(&mut boto, json!({}))["Id"]);
    let server = json!({
        "UserPoolId": pool, "Identifier": "photos", "Name": "Photos",
        "Scopes": [{ "ScopeName": "read", "ScopeDescription": "Read" }],
    });
    assert_eq!(ok(&mut boto, "CreateResourceServer", server.clone())["ResourceServer"], server);
    assert_eq!(exception(&mut boto, "CreateResourceServer", server.clone()), "InvalidParameterException");
    let of = json!({ "UserPoolId": pool, "Identifier": "photos" });
    assert_eq!(ok(&mut boto, "DescribeResourceServer", of.clone())["ResourceServer"], server);
    let bare = json!({ "UserPoolId": pool, "Identifier": "photos", "Name": "Pictures" });
    assert_eq!(ok(&mut boto, "UpdateResourceServer", bare.clone())["ResourceServer"], bare);
    let all = json!({ "UserPoolId": pool, "MaxResults": 50 });
    assert_eq!(ok(&mut boto, "ListResourceServers", all)["ResourceServers"], json!([bare]));
    ok(&mut boto, "DeleteResourceServer", of.clone());
    for operation in ["DescribeResourceServer", "DeleteResourceServer"] {
        assert_eq!(exception(&mut boto, operation, of.clone()), "ResourceNotFoundException");
    }
    let provider = json!({
        "UserPoolId": pool, "ProviderName": "corp", "ProviderType": "OIDC",
        "ProviderDetails": {
            "client_id": "a", "client_secret": "b", "oidc_issuer": "https://idp.example",
            "authorize_scopes": "openid", "attributes_request_method": "GET",
        },
        "AttributeMapping": { "email": "email" }, "IdpIdentifiers": ["corp.example"],
    });
    let made = ok(&mut boto, "CreateIdentityProvider", provider.clone())["IdentityProvider"].clone();
    for (member, value) in provider.as_object().unwrap() {
        assert_eq!(&made[member], value, "{member}");
    }
    assert_eq!(
        exception(&mut boto, "CreateIdentityProvider", provider.clone()),
        "DuplicateProviderException"
    );
    let of = json!({ "UserPoolId": pool, "ProviderName": "corp" });
    assert_eq!(ok(&mut boto, "DescribeIdentityProvider", of.clone())["IdentityProvider"], made);
    let by = |identifier: &str| json!({ "UserPoolId": pool, "IdpIdentifier": identifier });
    assert_eq!(
        ok(&mut boto, "GetIdentityProviderByIdentifier", by("corp.example"))["IdentityProvider"],
        made
    );
    let mut update = of.clone();
    update["IdpIdentifiers"] = json!(["other.example"]);
    let updated = ok(&mut boto, "UpdateIdentityProvider", update.clone())["IdentityProvider"].clone();
    assert_eq!(updated["ProviderDetails"], made["ProviderDetails"]);
    let gone = exception(&mut boto, "GetIdentityProviderByIdentifier", by("corp.example"));
    assert_eq!(gone, "ResourceNotFoundException");
    update["AcrMapping"] = json!({ "Level1": "x" });
    assert_eq!(exception(&mut boto, "UpdateIdentityProvider", update), "InvalidParameterException");
    let listed = ok(&mut boto, "ListIdentityProviders", json!({ "UserPoolId": pool }))["Providers"].clone();
    assert_eq!((&listed[0]["ProviderName"], &listed[0]["ProviderType"]), (&json!("corp"), &json!("OIDC")));
    ok(&mut boto, "DeleteIdentityProvider", of.clone());
    assert_eq!(exception(&mut boto, "DeleteIdentityProvider", of), "ResourceNotFoundException");
}

//! Cognito's API with unchanged clients: pools, and what becomes of their users.

use crate::support::aws::{Api, Boto, KEY, PASSWORD, POOL, create, describe, exception, ok, text};
use crate::support::engine::{Engine, count_occurrences, database_content};
use crate::support::mail::MailServer;
use crate::support::parties::Postgres;
use crate::support::process::wait_until;
use narthex::config::StoreUrl;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The id of a pool with a client that users sign up and in with, and the client's id.
fn pool_with_client(boto: &mut Boto) -> (String, String) {
    let pool = text(&create(boto, json!({ "AutoVerifiedAttributes": ["email"] }))["Id"]);
    let client = json!({
        "UserPoolId": pool, "ClientName": "app",
        "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    });
    let client = text(&ok(boto, "CreateUserPoolClient", client)["UserPoolClient"]["ClientId"]);
    (pool, client)
}

fn sign_up(api: &Api, boto: &mut Boto, client: &str, name: &str) {
    let email = format!("{name}@example.com");
    let attributes = json!([{ "Name": "email", "Value": email }]);
    let request =
        json!({ "ClientId": client, "Username": name, "Password": PASSWORD, "UserAttributes": attributes });
    boto.unsigned("SignUp", request).unwrap();
    let code = api.code(&email, 1);
    let confirm = json!({ "ClientId": client, "Username": name, "ConfirmationCode": code });
    boto.unsigned("ConfirmSignUp", confirm).unwrap();
}

fn password(client: &str, name: &str) -> Value {
    json!({
        "ClientId": client,
        "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": { "USERNAME": name, "PASSWORD": PASSWORD },
    })
}

/// The claims of a token.
fn claims(token: &Value) -> Value {
    let payload = text(token).split('.').nth(1).unwrap().to_owned();
    serde_json::from_slice(&narthex::base::base64url_decode(&payload).unwrap()).unwrap()
}

#[test]
fn a_pool_has_cognitos_defaults() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let pool = create(&mut boto, json!({}));
    let id = text(&pool["Id"]);
    assert_eq!(pool["Arn"], format!("arn:aws:cognito-idp:us-east-1:123456789012:userpool/{id}"));
    let policy = json!({
        "MinimumLength": 8, "RequireUppercase": true, "RequireLowercase": true, "RequireNumbers": true,
        "RequireSymbols": true, "TemporaryPasswordValidityDays": 7,
    });
    assert_eq!(pool["Policies"]["PasswordPolicy"], policy);
    for (member, expected) in [
        ("MfaConfiguration", json!("OFF")),
        ("DeletionProtection", json!("INACTIVE")),
        ("UserPoolTier", json!("ESSENTIALS")),
        ("EstimatedNumberOfUsers", json!(0)),
        ("LambdaConfig", json!({})),
        (
            "AdminCreateUserConfig",
            json!({ "AllowAdminCreateUserOnly": false, "UnusedAccountValidityDays": 7 }),
        ),
        ("EmailConfiguration", json!({ "EmailSendingAccount": "COGNITO_DEFAULT" })),
        ("VerificationMessageTemplate", json!({ "DefaultEmailOption": "CONFIRM_WITH_CODE" })),
    ] {
        assert_eq!(pool[member], expected, "{member}");
    }
    // Unset members are absent: an empty list would be a difference.
    for member in [
        "AutoVerifiedAttributes",
        "AliasAttributes",
        "UsernameAttributes",
        "UsernameConfiguration",
        "AccountRecoverySetting",
        "UserAttributeUpdateSettings",
        "UserPoolTags",
        "Domain",
        "SmsConfiguration",
    ] {
        assert!(pool.get(member).is_none(), "{member}");
    }
    let attributes = pool["SchemaAttributes"].as_array().unwrap();
    assert_eq!(attributes.len(), 20);
    let attribute = |name: &str| attributes.iter().find(|of| of["Name"] == name).unwrap().clone();
    let sub = json!({
        "Name": "sub", "AttributeDataType": "String", "DeveloperOnlyAttribute": false, "Mutable": false,
        "Required": true, "StringAttributeConstraints": { "MinLength": "1", "MaxLength": "2048" },
    });
    assert_eq!(attribute("sub"), sub);
    assert_eq!(attribute("updated_at")["NumberAttributeConstraints"], json!({ "MinValue": "0" }));
    assert!(attribute("email_verified").get("StringAttributeConstraints").is_none());
    assert_eq!(describe(&mut boto, &id), pool);
    let mfa = ok(&mut boto, "GetUserPoolMfaConfig", json!({ "UserPoolId": id }));
    assert_eq!(mfa, json!({ "MfaConfiguration": "OFF" }));
    assert_eq!(
        exception(&mut boto, "SetUserPoolMfaConfig", json!({ "UserPoolId": id, "MfaConfiguration": "ON" })),
        "InvalidParameterException"
    );
}

/// Members of a pool that `UpdateUserPool` has as well.
fn changeable() -> Value {
    json!({
        "Policies": { "PasswordPolicy": {
            "MinimumLength": 12, "RequireUppercase": false, "RequireLowercase": true, "RequireNumbers": true,
            "RequireSymbols": false, "PasswordHistorySize": 3, "TemporaryPasswordValidityDays": 3,
        } },
        "AutoVerifiedAttributes": ["email"],
        "VerificationMessageTemplate": {
            "DefaultEmailOption": "CONFIRM_WITH_CODE", "EmailMessage": "Code {####}", "EmailSubject": "Hello",
        },
        "SmsAuthenticationMessage": "Code {####}",
        "DeviceConfiguration": { "ChallengeRequiredOnNewDevice": false, "DeviceOnlyRememberedOnUserPrompt": true },
        "EmailConfiguration": { "EmailSendingAccount": "DEVELOPER", "From": "a@example.com" },
        "SmsConfiguration": { "SnsCallerArn": "arn:aws:iam::123456789012:role/sms", "ExternalId": "x" },
        "UserPoolTags": { "stage": "test" },
        "AdminCreateUserConfig": {
            "AllowAdminCreateUserOnly": true, "UnusedAccountValidityDays": 3,
            "InviteMessageTemplate": { "EmailSubject": "Welcome", "EmailMessage": "{username} {####}" },
        },
        "UserPoolAddOns": { "AdvancedSecurityMode": "AUDIT" },
        "AccountRecoverySetting": { "RecoveryMechanisms": [
            { "Priority": 2, "Name": "verified_email" }, { "Priority": 1, "Name": "verified_phone_number" },
        ] },
        "UserPoolTier": "PLUS",
        "DeletionProtection": "ACTIVE",
    })
}

#[test]
fn pain_27_a_pool_is_described_as_it_was_requested() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let mut requested = changeable();
    requested["UsernameConfiguration"] = json!({ "CaseSensitive": false });
    requested["UserAttributeUpdateSettings"] =
        json!({ "AttributesRequireVerificationBeforeUpdate": ["email"] });
    requested["AliasAttributes"] = json!(["email"]);
    let pool = create(&mut boto, requested.clone());
    let id = text(&pool["Id"]);
    let as_requested = |of: &Value, requested: &Value| {
        for (member, value) in requested.as_object().unwrap() {
            match member.as_str() {
                "Policies" => assert_eq!(of[member]["PasswordPolicy"], value["PasswordPolicy"]),
                _ => assert_eq!(&of[member], value, "{member}"),
            }
        }
    };
    as_requested(&pool, &requested);
    assert_eq!(
        (&pool["EmailVerificationMessage"], &pool["EmailVerificationSubject"]),
        (&json!("Code {####}"), &json!("Hello"))
    );
    assert_eq!(describe(&mut boto, &id), pool);
    // The same again changes nothing but the date.
    let mut update = changeable();
    update["UserPoolId"] = json!(id);
    ok(&mut boto, "UpdateUserPool", update);
    let mut updated = describe(&mut boto, &id);
    updated["LastModifiedDate"] = pool["LastModifiedDate"].clone();
    assert_eq!(updated, pool);
    // Absent members are reset, but for the name, what is fixed, and the updates of addresses.
    ok(&mut boto, "UpdateUserPool", json!({ "UserPoolId": id }));
    let reset = describe(&mut boto, &id);
    for member in ["UsernameConfiguration", "UserAttributeUpdateSettings", "AliasAttributes", "Name"] {
        assert_eq!(reset[member], pool[member], "{member}");
    }
    for member in ["SmsConfiguration", "UserPoolTags", "AccountRecoverySetting", "AutoVerifiedAttributes"] {
        assert!(reset.get(member).is_none(), "{member}");
    }
    assert_eq!(reset["DeletionProtection"], "INACTIVE");
    assert_eq!(reset["Policies"]["PasswordPolicy"]["MinimumLength"], 8);
    // An empty list takes the addresses away.
    let none = json!({ "UserPoolId": id, "UserAttributeUpdateSettings": { "AttributesRequireVerificationBeforeUpdate": [] } });
    ok(&mut boto, "UpdateUserPool", none);
    assert!(describe(&mut boto, &id).get("UserAttributeUpdateSettings").is_none());
}

#[test]
fn what_would_promise_a_protection_is_refused() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let id = text(&create(&mut boto, json!({}))["Id"]);
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:f";
    for (member, value, expected) in [
        ("LambdaConfig", json!({ "KMSKeyID": arn }), "InvalidParameterException"),
        (
            "UserPoolAddOns",
            json!({ "AdvancedSecurityMode": "ENFORCED" }),
            "FeatureUnavailableInTierException",
        ),
        ("IssuerConfiguration", json!({ "Type": "UPDATED" }), "InvalidParameterException"),
    ] {
        for request in [json!({ "PoolName": "x", member: value }), json!({ "UserPoolId": id, member: value })]
        {
            let operation =
                if request.get("PoolName").is_some() { "CreateUserPool" } else { "UpdateUserPool" };
            let refused = boto.call(operation, request).unwrap_err();
            assert_eq!(refused.code, expected, "{member}");
            assert!(refused.message.contains(member), "{}", refused.message);
        }
    }
    for wrong in [
        json!({ "PoolName": "x", "AliasAttributes": ["email"], "UsernameAttributes": ["email"] }),
        json!({ "PoolName": "x", "UserPoolTags": { "aws:x": "y" } }),
        json!({ "PoolName": "x", "Schema": [{ "Name": "n", "AttributeDataType": "Number",
            "NumberAttributeConstraints": { "MinValue": "many" } }] }),
        json!({ "PoolName": "x", "Schema": [{ "AttributeDataType": "String" }] }),
        json!({ "PoolName": "a/b" }),
    ] {
        assert_eq!(exception(&mut boto, "CreateUserPool", wrong), "InvalidParameterException");
    }
    for operation in ["DescribeUserPool", "UpdateUserPool", "DeleteUserPool", "GetUserPoolMfaConfig"] {
        let unknown = boto.call(operation, json!({ "UserPoolId": "us-east-1_000000000" })).unwrap_err();
        assert_eq!(unknown.code, "ResourceNotFoundException");
        assert_eq!(unknown.message, "User pool us-east-1_000000000 does not exist.");
    }
}

#[test]
fn pools_are_listed_by_pages() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let mut expected: Vec<String> = (0..3).map(|_| text(&create(&mut boto, json!({}))["Id"])).collect();
    let (mut found, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut request = json!({ "MaxResults": 2 });
        if !token.is_null() {
            request["NextToken"] = token;
        }
        let page = ok(&mut boto, "ListUserPools", request);
        found.extend(page["UserPools"].as_array().unwrap().iter().map(|pool| text(&pool["Id"])));
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    // The file's pool is among them.
    assert_eq!(found.len(), 4);
    expected.retain(|id| !found.contains(id));
    assert!(expected.is_empty());
    let wrong = json!({ "MaxResults": 2, "NextToken": "x" });
    assert_eq!(exception(&mut boto, "ListUserPools", wrong), "InvalidParameterException");
}

#[test]
fn pain_28_an_attribute_is_added_in_place_and_never_changed() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let pool = create(
        &mut boto,
        json!({ "Schema": [
        { "Name": "email", "AttributeDataType": "String", "Required": true, "Mutable": true },
        { "Name": "team", "AttributeDataType": "String", "Mutable": true },
    ] }),
    );
    let id = text(&pool["Id"]);
    let attribute = |of: &Value, name: &str| {
        of["SchemaAttributes"].as_array().unwrap().iter().find(|of| of["Name"] == name).cloned()
    };
    let email = attribute(&pool, "email").unwrap();
    assert_eq!(
        (&email["Required"], &email["StringAttributeConstraints"]["MaxLength"]),
        (&json!(true), &json!("2048"))
    );
    let level = json!({ "Name": "level", "AttributeDataType": "Number",
        "NumberAttributeConstraints": { "MinValue": "1", "MaxValue": "9" } });
    let add = |attribute: Value| json!({ "UserPoolId": id, "CustomAttributes": [attribute] });
    ok(&mut boto, "AddCustomAttributes", add(level));
    let grown = describe(&mut boto, &id);
    let level = json!({
        "Name": "custom:level", "AttributeDataType": "Number", "DeveloperOnlyAttribute": false, "Mutable": false,
        "Required": false, "NumberAttributeConstraints": { "MinValue": "1", "MaxValue": "9" },
    });
    assert_eq!(attribute(&grown, "custom:level"), Some(level));
    assert_eq!((&grown["Id"], &grown["CreationDate"]), (&pool["Id"], &pool["CreationDate"]));
    let refused = boto
        .call("AddCustomAttributes", add(json!({ "Name": "team", "AttributeDataType": "Number" })))
        .unwrap_err();
    assert_eq!(
        (&*refused.code, &*refused.message),
        ("InvalidParameterException", "custom:team: Existing attribute already has name custom:team.")
    );
    let secret = json!({ "Name": "x", "AttributeDataType": "String", "DeveloperOnlyAttribute": true });
    assert_eq!(exception(&mut boto, "AddCustomAttributes", add(secret)), "InvalidParameterException");
    let required = json!({ "Name": "x", "AttributeDataType": "String", "Required": true });
    assert_eq!(exception(&mut boto, "AddCustomAttributes", add(required)), "InvalidParameterException");
    assert_eq!(describe(&mut boto, &id)["SchemaAttributes"], grown["SchemaAttributes"]);
}

/// A key whose policy allows the operations on one pool and its tags.
const NARROW: (&str, &str) = ("AKIANARROWPOLICY0001", "narrowSecretKeynarrowSecretKeynarrowSecr");

#[test]
fn tags_and_policies_are_about_the_arn_of_a_pool() {
    let policy = r#"{ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "cognito-idp:*", "Resource": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/*" }
    ] }"#;
    let mail = MailServer::start("starttls", &[]);
    let (id, secret) = NARROW;
    let tables = format!(
        "{POOL}\n[[administrator]]\nname = \"narrow\"\naccess_key_id = \"{id}\"\nsecret_access_key = \"{secret}\"\n\
         policies = [\"narrow.json\"]\n"
    );
    let narthex = Api::builder(&mail, &tables).file("narrow.json", policy).start();
    let api = Api { narthex, mail };
    let mut boto = api.boto();
    let pool = create(&mut boto, json!({ "UserPoolTags": { "a": "1" } }));
    let arn = text(&pool["Arn"]);
    ok(&mut boto, "TagResource", json!({ "ResourceArn": arn, "Tags": { "b": "2", "c": "" } }));
    ok(&mut boto, "UntagResource", json!({ "ResourceArn": arn, "TagKeys": ["a", "none"] }));
    let of = json!({ "ResourceArn": arn });
    assert_eq!(ok(&mut boto, "ListTagsForResource", of.clone())["Tags"], json!({ "b": "2", "c": "" }));
    let tags = json!({ "ResourceArn": arn, "Tags": { "aws:x": "y" } });
    assert_eq!(exception(&mut boto, "TagResource", tags), "InvalidParameterException");
    let foreign = arn.replace("us-east-1:", "eu-west-1:");
    let foreign = exception(&mut boto, "ListTagsForResource", json!({ "ResourceArn": foreign }));
    assert_eq!(foreign, "InvalidParameterException");
    // Its statement names pools: creating and listing them are about no resource.
    let mut narrow = Boto::new(&api.narthex, NARROW);
    ok(&mut narrow, "ListTagsForResource", of);
    ok(&mut narrow, "DescribeUserPool", json!({ "UserPoolId": pool["Id"] }));
    for (operation, request) in [
        ("CreateUserPool", json!({ "PoolName": "x" })),
        ("ListUserPools", json!({ "MaxResults": 1 })),
        ("DescribeUserPoolDomain", json!({ "Domain": "acme" })),
    ] {
        let refused = narrow.call(operation, request).unwrap_err();
        assert_eq!(refused.code, "AccessDeniedException", "{operation}");
        assert!(refused.message.contains("on resource: * "), "{}", refused.message);
    }
}

#[test]
fn a_new_pool_signs_users_up_and_in_and_its_tokens_name_it() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let (pool, client) = pool_with_client(&mut boto);
    sign_up(&api, &mut boto, &client, "alice");
    let tokens = boto.unsigned("InitiateAuth", password(&client, "alice")).unwrap();
    let tokens = &tokens["AuthenticationResult"];
    let issuer = format!("{}/{pool}", api.narthex.origin("auth"));
    let access = claims(&tokens["AccessToken"]);
    assert_eq!((&access["iss"], &access["client_id"]), (&json!(issuer), &json!(client)));
    assert_eq!(claims(&tokens["IdToken"])["aud"], json!(client));
    assert_eq!(describe(&mut boto, &pool)["EstimatedNumberOfUsers"], 1);
    // A change of the client is in effect at once.
    let narrowed =
        json!({ "UserPoolId": pool, "ClientId": client, "ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH"] });
    ok(&mut boto, "UpdateUserPoolClient", narrowed);
    let refused = boto.unsigned("InitiateAuth", password(&client, "alice")).unwrap_err();
    assert_eq!(refused.code, "InvalidParameterException");
    ok(&mut boto, "DeleteUserPoolClient", json!({ "UserPoolId": pool, "ClientId": client }));
    let refused = boto.unsigned("InitiateAuth", password(&client, "alice")).unwrap_err();
    assert_eq!(refused.code, "ResourceNotFoundException");
    let access_token = json!({ "AccessToken": tokens["AccessToken"] });
    assert_eq!(boto.unsigned("GetUser", access_token).unwrap_err().code, "NotAuthorizedException");
}

#[test]
fn another_node_finds_a_new_pool_at_once() {
    let mail = MailServer::start("starttls", &[]);
    let builder = Api::builder(&mail, POOL).postgres(&Postgres::shared().database());
    let one = builder.clone().start();
    let two = one.share_authority(&builder).start_at("127.0.0.2");
    let api = Api { narthex: one, mail };
    let (mut here, mut there) = (api.boto(), Boto::at(&two, KEY, "127.0.0.2"));
    // Both have looked for pools and clients before.
    assert_eq!(
        there.unsigned("InitiateAuth", password("none", "alice")).unwrap_err().code,
        "ResourceNotFoundException"
    );
    let (pool, client) = pool_with_client(&mut here);
    sign_up(&api, &mut there, &client, "alice");
    let tokens = here.unsigned("InitiateAuth", password(&client, "alice")).unwrap();
    let issuer = format!("{}/{pool}", api.narthex.origin("auth"));
    assert_eq!(claims(&tokens["AuthenticationResult"]["AccessToken"])["iss"], json!(issuer));
    let there_too = there.unsigned("InitiateAuth", password(&client, "alice")).unwrap();
    assert!(there_too["AuthenticationResult"]["AccessToken"].is_string());
    assert_eq!(describe(&mut there, &pool), describe(&mut here, &pool));
    ok(&mut here, "DeleteUserPoolClient", json!({ "UserPoolId": pool, "ClientId": client }));
    wait_until("the other node to read the change", || {
        there
            .unsigned("InitiateAuth", password(&client, "alice"))
            .is_err_and(|e| e.code == "ResourceNotFoundException")
    });
}

#[test]
fn what_the_file_declares_is_read_only() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let pools = ok(&mut boto, "ListUserPools", json!({ "MaxResults": 10 }));
    let pool = text(&pools["UserPools"][0]["Id"]);
    assert_eq!(describe(&mut boto, &pool)["Name"], "declared");
    let client = json!({ "UserPoolId": pool, "ClientId": "webclient" });
    let described = ok(&mut boto, "DescribeUserPoolClient", client.clone())["UserPoolClient"].clone();
    assert_eq!(
        described["ExplicitAuthFlows"],
        json!(["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"])
    );
    let arn = describe(&mut boto, &pool)["Arn"].clone();
    for (operation, request) in [
        ("UpdateUserPool", json!({ "UserPoolId": pool })),
        ("DeleteUserPool", json!({ "UserPoolId": pool })),
        (
            "AddCustomAttributes",
            json!({ "UserPoolId": pool, "CustomAttributes": [{ "Name": "x", "AttributeDataType": "String" }] }),
        ),
        ("TagResource", json!({ "ResourceArn": arn, "Tags": { "a": "b" } })),
        ("UpdateUserPoolClient", client.clone()),
        ("DeleteUserPoolClient", client.clone()),
        ("AddUserPoolClientSecret", client),
    ] {
        let refused = boto.call(operation, request).unwrap_err();
        let expected = match operation {
            // The model lists no other exception for it.
            "AddUserPoolClientSecret" => "InvalidParameterException",
            _ => "OperationNotEnabledException",
        };
        assert_eq!(refused.code, expected, "{operation}");
        assert!(refused.message.contains("configuration file"), "{}", refused.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_deleted_pool() {
    let (engine, mail) = (Engine::postgres(), MailServer::start("starttls", &[]));
    let StoreUrl::Postgres(database) = &engine.url else { unreachable!() };
    let narthex = Api::builder(&mail, POOL).postgres(database.expose()).start();
    let api = Api { narthex, mail };
    let mut boto = api.boto();
    let (pool, client) = pool_with_client(&mut boto);
    sign_up(&api, &mut boto, &client, "leaving-person");
    let tokens = boto.unsigned("InitiateAuth", password(&client, "leaving-person")).unwrap();
    assert!(count_occurrences(&database_content(&engine).await, "leaving-person") > 0);
    let of = json!({ "UserPoolId": pool });
    ok(&mut boto, "UpdateUserPool", json!({ "UserPoolId": pool, "DeletionProtection": "ACTIVE" }));
    let refused = boto.call("DeleteUserPool", of.clone()).unwrap_err();
    assert_eq!(refused.code, "InvalidParameterException");
    assert!(refused.message.contains("deletion protection is activated"), "{}", refused.message);
    ok(&mut boto, "UpdateUserPool", json!({ "UserPoolId": pool, "DeletionProtection": "INACTIVE" }));
    ok(&mut boto, "DeleteUserPool", of.clone());
    for operation in ["DescribeUserPool", "DeleteUserPool", "ListUserPoolClients"] {
        assert_eq!(exception(&mut boto, operation, of.clone()), "ResourceNotFoundException");
    }
    let refused = boto.unsigned("InitiateAuth", password(&client, "leaving-person")).unwrap_err();
    assert_eq!(refused.code, "ResourceNotFoundException");
    let token = json!({ "AccessToken": tokens["AuthenticationResult"]["AccessToken"] });
    assert_eq!(boto.unsigned("GetUser", token).unwrap_err().code, "NotAuthorizedException");
    let begun = Instant::now();
    while count_occurrences(&database_content(&engine).await, "leaving-person") > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the purge leaves an address");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The milliseconds that the start, a reload, a sign-in and a page of the list of pools take.
fn costs(api: &mut Api, client: &str) -> [(&'static str, u128); 4] {
    let mut boto = api.boto();
    let signed_in = median(9, || drop(boto.unsigned("InitiateAuth", password(client, "ada")).unwrap()));
    let listed = median(9, || drop(ok(&mut boto, "ListUserPools", json!({ "MaxResults": 1 }))));
    let reload = median(3, || {
        let reloads = api.narthex.audit("reload").len();
        api.narthex.edit(|text| text + "\n# A comment.\n");
        api.narthex.signal("HUP");
        wait_until("the reload", || api.narthex.audit("reload").len() > reloads);
    });
    let start = median(3, || {
        api.narthex.kill();
        api.narthex.start();
    });
    [("start", start), ("reload", reload), ("sign-in", signed_in), ("list", listed)]
}

/// The median time of `rounds` calls, in milliseconds.
fn median(rounds: usize, mut call: impl FnMut()) -> u128 {
    let mut times: Vec<u128> = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            call();
            begun.elapsed().as_millis()
        })
        .collect();
    times.sort_unstable();
    times[rounds / 2]
}

#[test]
fn pain_35_a_thousand_pools_cost_what_one_costs() {
    const POOLS: usize = 1000;
    let mut api = Api::start(POOL);
    let mut boto = api.boto();
    let (_, client) = pool_with_client(&mut boto);
    sign_up(&api, &mut boto, &client, "ada");
    let one = costs(&mut api, &client);
    let mut boto = api.boto();
    for _ in 0..POOLS {
        pool_with_client(&mut boto);
    }
    let thousand = costs(&mut api, &client);
    println!("one pool: {one:?}; {POOLS} pools: {thousand:?}");
    for ((name, one), (_, thousand)) in one.into_iter().zip(thousand) {
        // Half as much again, and what a busy machine adds to a single measurement.
        assert!(thousand * 2 <= one * 3 + 200, "{name}: {one} ms with one pool, {thousand} ms with {POOLS}");
    }
}

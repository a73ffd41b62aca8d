//! Cognito's `ListUsers` with boto3, against a naive reference over the users that were created.

use crate::support::aws::{Api, Boto, PASSWORD, create, ok, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const POOL: &str = "[[user_pool]]\nname = \"declared\"\nsigning_algorithm = \"ES256\"\n";
/// Users of the pool.
const USERS: usize = 300;
/// Attributes that users are searched by, besides the user name, the `sub` and both states.
const ATTRIBUTES: [&str; 6] =
    ["email", "phone_number", "name", "given_name", "family_name", "preferred_username"];
/// Values with quotation marks, backslashes, other scripts, and mixed case.
const NAMES: [&str; 12] = [
    "Ann",
    "ann",
    "ANNA",
    "O\"Brien",
    "o\"BRIEN",
    "O\"Brien \"Bo\"",
    "back\\slash",
    "back\\\"both",
    "Zoë",
    "ZOË Ω",
    "a = \"b\"",
    "50% _of",
];

/// A user, as the test knows it: each searchable value by the name of its attribute.
type Known = BTreeMap<&'static str, String>;

struct Scene {
    _api: Api,
    boto: Boto,
    pool: String,
    users: Vec<Known>,
}

impl Scene {
    fn start() -> Self {
        let api = Api::start(POOL);
        let mut boto = api.boto();
        let settings = json!({ "UsernameConfiguration": { "CaseSensitive": true } });
        let pool = text(&create(&mut boto, settings)["Id"]);
        let users = (0..USERS).map(|number| add(&mut boto, &pool, number)).collect();
        Self { _api: api, boto, pool, users }
    }

    /// Returns the names of the users in all pages of a list, in its order.
    fn list(&mut self, filter: &str, page_size: u32) -> Vec<String> {
        let request = json!({ "UserPoolId": self.pool, "Filter": filter });
        let pages = self.boto.pages("ListUsers", request, page_size);
        let users = pages.iter().flat_map(|page| page["Users"].as_array().unwrap());
        users.map(|user| text(&user["Username"])).collect()
    }
}

/// Creates a user, some without an attribute, some confirmed and some disabled.
fn add(boto: &mut Boto, pool: &str, number: usize) -> Known {
    let username = ["User", "uSER", "O\"user", "tail"][number % 4].to_owned() + &number.to_string();
    let name = |shift: usize| NAMES[(number * 7 + shift * 5) % NAMES.len()];
    let mut user = Known::new();
    for (shift, attribute) in ATTRIBUTES.into_iter().enumerate() {
        let value = match attribute {
            "email" => {
                format!("{}{number}@Example.COM", if number.is_multiple_of(2) { "Mail" } else { "mail" })
            }
            "phone_number" => format!("+49151{number:07}"),
            _ => name(shift).to_owned(),
        };
        if !(number + shift).is_multiple_of(5) {
            user.insert(attribute, value);
        }
    }
    let attributes: Vec<Value> =
        user.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect();
    let of_user = json!({ "UserPoolId": pool, "Username": username });
    let mut request = of_user.clone();
    request["UserAttributes"] = json!(attributes);
    request["MessageAction"] = json!("SUPPRESS");
    let created = ok(boto, "AdminCreateUser", request)["User"].clone();
    let sub = created["Attributes"].as_array().unwrap().iter().find(|one| one["Name"] == "sub").unwrap();
    user.insert("sub", text(&sub["Value"]));
    user.insert("username", username);
    user.insert("cognito:user_status", "FORCE_CHANGE_PASSWORD".to_owned());
    user.insert("status", "Enabled".to_owned());
    if number % 30 == 1 {
        let mut request = of_user.clone();
        request["Password"] = json!(PASSWORD);
        request["Permanent"] = json!(true);
        ok(boto, "AdminSetUserPassword", request);
        user.insert("cognito:user_status", "CONFIRMED".to_owned());
    }
    if number % 20 == 3 {
        ok(boto, "AdminDisableUser", of_user);
        user.insert("status", "Disabled".to_owned());
    }
    user
}

/// The rules of AWS's reference: user name and `status` are compared with their case.
fn matches(user: &Known, attribute: &str, prefix: bool, value: &str) -> bool {
    let Some(own) = user.get(attribute) else { return false };
    let form = |text: &str| match attribute {
        "username" | "status" => text.to_owned(),
        _ => text.to_lowercase(),
    };
    match prefix {
        true => form(own).starts_with(&form(value)),
        false => form(own) == form(value),
    }
}

/// Values to search for: those of some users, in other cases, cut, longer, and of nobody.
fn values(users: &[Known], attribute: &str) -> Vec<String> {
    let mut values: Vec<String> = users.iter().filter_map(|user| user.get(attribute).cloned()).collect();
    if ATTRIBUTES[2..].contains(&attribute) || attribute.ends_with("status") {
        values.sort();
        values.dedup();
    } else {
        values = values.into_iter().step_by(60).collect();
    }
    let variants = values.iter().flat_map(|value| {
        let cut: String = value.chars().take(3).collect();
        [value.clone(), value.to_uppercase(), value.to_lowercase(), cut, format!("{value}x")]
    });
    let mut all: Vec<String> = variants.chain([String::new(), "\"".to_owned(), "\\".to_owned()]).collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn pain_15_list_users_finds_exactly_the_users_of_a_naive_reference() {
    let mut scene = Scene::start();
    let attributes = ["username", "sub", "cognito:user_status", "status"].into_iter().chain(ATTRIBUTES);
    let (mut queries, mut hits) = (0_u32, 0);
    for attribute in attributes {
        for value in values(&scene.users, attribute) {
            for prefix in [false, true] {
                let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
                let filter = format!("{attribute} {} \"{escaped}\"", if prefix { "^=" } else { "=" });
                let expected = scene.users.iter().filter(|user| matches(user, attribute, prefix, &value));
                let mut expected: Vec<String> = expected.map(|user| user["username"].clone()).collect();
                let mut found = scene.list(&filter, [60, 7][(queries % 2) as usize]);
                expected.sort();
                found.sort();
                assert_eq!(found, expected, "{filter}");
                (queries, hits) = (queries + 1, hits + found.len());
            }
        }
    }
    assert!(queries > 300 && hits > 3000, "{queries} queries found {hits}");
}

#[test]
fn pain_15_a_chain_of_pages_has_nobody_twice_and_nobody_missing() {
    let mut scene = Scene::start();
    let mut expected: Vec<String> = scene.users.iter().map(|user| user["username"].clone()).collect();
    expected.sort();
    for page_size in [60, 41, 1] {
        let mut found = scene.list("", page_size);
        found.sort();
        assert_eq!(found, expected, "{page_size}");
    }
    // Users come and go between the pages.
    let mut request = json!({ "UserPoolId": scene.pool, "Limit": 50 });
    let (mut found, mut gone) = (Vec::new(), Vec::new());
    for round in 0.. {
        let page = ok(&mut scene.boto, "ListUsers", request.clone());
        found.extend(page["Users"].as_array().unwrap().iter().map(|user| text(&user["Username"])));
        let Some(token) = page.get("PaginationToken") else { break };
        request["PaginationToken"] = token.clone();
        let leaving = found[found.len() - 1].clone();
        ok(&mut scene.boto, "AdminDeleteUser", json!({ "UserPoolId": scene.pool, "Username": leaving }));
        gone.push(leaving);
        add(&mut scene.boto, &scene.pool, USERS + round);
    }
    let of_start: Vec<&String> = found.iter().filter(|name| expected.contains(name)).collect();
    let mut once = of_start.clone();
    once.sort();
    once.dedup();
    assert_eq!((of_start.len(), once.len()), (USERS, USERS));
    let total = found.len();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), total, "nobody twice");
    assert!(gone.len() >= 5);
}

#[test]
fn lists_are_refused_as_on_aws() {
    let api = Api::start(POOL);
    let (mut boto, pool) = (api.boto(), api.pool_id());
    for (members, message) in [
        (json!({ "Filter": "email" }), "Error while parsing filter."),
        (json!({ "Filter": "custom:x = \"1\"" }), "Invalid search attribute: custom:x"),
        (json!({ "PaginationToken": "bm9uZQ" }), "Invalid pagination token."),
        (
            json!({ "Limit": 61 }),
            "1 validation error detected: Value '61' at 'limit' failed to satisfy constraint: \
             Member must have value less than or equal to 60",
        ),
        (json!({ "AttributesToGet": ["shoe"] }), "One or more requested attributes do not exist."),
    ] {
        let mut request = members.clone();
        request["UserPoolId"] = json!(pool);
        let refused = boto.call("ListUsers", request).expect_err(&members.to_string());
        let expected = ("InvalidParameterException", "InvalidParameterException", message);
        assert_eq!((&*refused.code, &*refused.class, &*refused.message), expected);
    }
    // A token is of one filter and one operation.
    for name in ["ann", "bob"] {
        let user = json!({ "UserPoolId": pool, "Username": name, "MessageAction": "SUPPRESS" });
        ok(&mut boto, "AdminCreateUser", user);
    }
    let first = ok(&mut boto, "ListUsers", json!({ "UserPoolId": pool, "Limit": 1 }));
    let token = &first["PaginationToken"];
    let other = json!({ "UserPoolId": pool, "PaginationToken": token, "Filter": "username = \"bob\"" });
    assert_eq!(boto.call("ListUsers", other).unwrap_err().message, "Invalid pagination token.");
    let groups = json!({ "UserPoolId": pool, "NextToken": token });
    assert_eq!(boto.call("ListGroups", groups).unwrap_err().code, "InvalidParameterException");
    let next = ok(&mut boto, "ListUsers", json!({ "UserPoolId": pool, "PaginationToken": token }));
    assert_eq!(next["Users"].as_array().unwrap().len(), 1);
    let nobody = ok(&mut boto, "ListUsers", json!({ "UserPoolId": pool, "Filter": "name = \"x\"" }));
    assert_eq!(nobody["Users"], json!([]));
}

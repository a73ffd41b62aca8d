//! Two nodes on one PostgreSQL, either killed with -9 during sign-ups and changes by the Cognito
//! API. `NARTHEX_SIGN_UPS=1000` sets the number of users.

use crate::support::aws::{Api, Boto, KEY, PASSWORD};
use crate::support::engine::Engine;
use crate::support::mail::MailServer;
use narthex::config::StoreUrl;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const POOL: &str = r#"
[[user_pool]]
name = "people"
alias_attributes = ["email"]
sign_up = true
auto_verified = ["email"]
[[user_pool.client]]
name = "web"
id = "webclient"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH"]
[messages]
per_address = 1000000
"#;
/// Threads that call, half of them each node.
const CALLERS: usize = 6;

/// Rows that belong to a user who is not there, and users who lack what each has. Each statement
/// returns a number that must be 0.
const HALVES: [(&str, &str); 9] = [
    ("names", "SELECT count(*) FROM sign_in_names WHERE user_no NOT IN (SELECT no FROM users)"),
    ("keys", "SELECT count(*) FROM user_keys WHERE user_no NOT IN (SELECT no FROM users)"),
    ("memberships", "SELECT count(*) FROM group_members WHERE user_no NOT IN (SELECT no FROM users)"),
    ("passwords", "SELECT count(*) FROM passwords WHERE user_no NOT IN (SELECT no FROM users)"),
    ("verifiers", "SELECT count(*) FROM srp_verifiers WHERE user_no NOT IN (SELECT no FROM users)"),
    (
        "codes",
        "SELECT count(*) FROM account_codes WHERE user_no > 0 AND user_no NOT IN (SELECT no FROM users)",
    ),
    (
        "users without a name",
        "SELECT count(*) FROM users WHERE no NOT IN (SELECT user_no FROM sign_in_names)",
    ),
    (
        "users without a password",
        "SELECT count(*) FROM users WHERE no NOT IN (SELECT user_no FROM passwords)",
    ),
    (
        "the count of users",
        "SELECT abs((SELECT count(*) FROM users) - (SELECT coalesce(sum(value), 0)::bigint FROM pool_counters WHERE kind = 'users'))",
    ),
];

/// The calls about one user that were answered; `None` for one that was not made.
#[derive(Clone, Debug, Default)]
struct Answered {
    name: String,
    sign_up: Option<bool>,
    renamed: Option<bool>,
    grouped: Option<bool>,
    deleted: Option<bool>,
}

struct Callers {
    pool: String,
    count: usize,
    next: AtomicUsize,
    answered: Mutex<Vec<Answered>>,
}

impl Callers {
    /// Makes the calls of one user after another through `boto`.
    fn run(&self, mut boto: Boto) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return;
            }
            let of = self.calls(&mut boto, number);
            let is_answered = of.sign_up == Some(true);
            self.answered.lock().unwrap().push(of);
            if !is_answered {
                // The node is being started again.
                std::thread::sleep(Duration::from_millis(300));
            }
        }
    }

    fn calls(&self, boto: &mut Boto, number: usize) -> Answered {
        let name = format!("user{number}");
        let attributes = json!([{ "Name": "email", "Value": format!("{name}@example.com") }]);
        let sign_up = json!({ "ClientId": "webclient", "Username": name, "Password": PASSWORD, "UserAttributes": attributes });
        let mut answered = Answered { name: name.clone(), ..Answered::default() };
        answered.sign_up = Some(boto.unsigned("SignUp", sign_up).is_ok());
        if answered.sign_up == Some(false) {
            return answered;
        }
        let user = json!({ "UserPoolId": self.pool, "Username": name });
        let with = |more: Value| {
            let mut request = user.clone();
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            request
        };
        let renamed =
            with(json!({ "UserAttributes": [{ "Name": "name", "Value": format!("Person {number}") }] }));
        answered.renamed = Some(boto.call("AdminUpdateUserAttributes", renamed).is_ok());
        answered.grouped =
            Some(boto.call("AdminAddUserToGroup", with(json!({ "GroupName": "staff" }))).is_ok());
        if number % 5 == 4 {
            answered.deleted = Some(boto.call("AdminDeleteUser", user).is_ok());
        }
        answered
    }

    fn done(&self) -> usize {
        self.answered.lock().unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_node_dies_and_what_was_answered_is_there() {
    let count = std::env::var("NARTHEX_SIGN_UPS").map_or(150, |count| count.parse().unwrap());
    let (engine, mail) = (Engine::postgres(), MailServer::start("starttls", &[]));
    let StoreUrl::Postgres(database) = &engine.url else { unreachable!() };
    let builder = Api::builder(&mail, POOL).postgres(database.expose());
    let one = builder.clone().start();
    let mut two = one.share_authority(&builder).start_at("127.0.0.2");
    let mut api = Api { narthex: one, mail };
    let pool = api.pool_id();
    api.boto().call("CreateGroup", json!({ "UserPoolId": pool, "GroupName": "staff" })).unwrap();
    let callers = Arc::new(Callers { pool, count, next: AtomicUsize::new(0), answered: Mutex::default() });
    let threads: Vec<_> = (0..CALLERS)
        .map(|number| {
            let boto = match number % 2 {
                0 => api.boto(),
                _ => Boto::at(&two, KEY, "127.0.0.2"),
            };
            let callers = callers.clone();
            std::thread::spawn(move || callers.run(boto))
        })
        .collect();
    wait_until_done(&callers, count / 3);
    api.narthex.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    api.narthex.start();
    wait_until_done(&callers, count * 2 / 3);
    two.kill();
    for thread in threads {
        thread.join().unwrap();
    }
    // The first node answers for both.
    let mut boto = api.boto();
    let answered = callers.answered.lock().unwrap().clone();
    let signed_up = answered.iter().filter(|of| of.sign_up == Some(true)).count();
    println!("{signed_up} of {count} sign-ups were answered");
    assert!(signed_up * 2 > count && signed_up < count);
    for of in &answered {
        check(&mut boto, &callers.pool, of);
    }
    let connection = sqlx::postgres::PgPool::connect(database.expose()).await.unwrap();
    let begun = Instant::now();
    for (what, statement) in HALVES {
        let number = || sqlx::query_scalar::<_, i64>(statement).fetch_one(&connection);
        // What is left of a deleted user is purged in batches.
        while number().await.unwrap() != 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}: {}", number().await.unwrap());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    connection.close().await;
}

/// Waits until the calls of so many users were made.
fn wait_until_done(callers: &Callers, count: usize) {
    let begun = Instant::now();
    while callers.done() < count {
        assert!(begun.elapsed() < Duration::from_secs(900), "{} of {count}", callers.done());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Checks that what was answered about a user is there, and that the rest is there or not.
fn check(boto: &mut Boto, pool: &str, of: &Answered) {
    let user = json!({ "UserPoolId": pool, "Username": of.name });
    let found = boto.call("AdminGetUser", user.clone());
    match (of.sign_up, of.deleted) {
        (_, Some(true)) => return assert_eq!(found.unwrap_err().code, "UserNotFoundException", "{of:?}"),
        (Some(true), None) => assert!(found.is_ok(), "{of:?}"),
        _ => {}
    }
    let Ok(found) = found else { return };
    let attributes = found["UserAttributes"].as_array().unwrap();
    let has = |name: &str, value: &str| attributes.iter().any(|a| a["Name"] == name && a["Value"] == value);
    assert!(has("email", &format!("{}@example.com", of.name)), "{of:?}");
    if of.renamed == Some(true) {
        assert!(has("name", &of.name.replace("user", "Person ")), "{of:?}: {attributes:?}");
    }
    if of.grouped == Some(true) {
        let groups = boto.call("AdminListGroupsForUser", user).unwrap();
        assert_eq!(groups["Groups"][0]["GroupName"], "staff", "{of:?}");
    }
}

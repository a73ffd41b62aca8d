//! E-mail and text messages against a real mail server, and an SMS service of the test.

use crate::support::config_errors::{assert_each_reported, config_errors};
use crate::support::mail::{MailServer, message_id};
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::Postgres;
use crate::support::process::{free_port, wait_until};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use narthex::base::{Duration, KeyRing, MasterKey, Secret, SystemClock, SystemEntropy, Timestamp, uuid};
use narthex::catalogue::{Catalogue, CatalogueCell};
use narthex::config::{Channel, Config, MessageEvent, StoreUrl};
use narthex::message::{Delivery, EnqueueError, Limit, Message, MessageSettings, enqueue, verify_server};
use narthex::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::JoinHandle;

fn ring() -> Arc<KeyRing> {
    Arc::new(KeyRing::new(&MasterKey::parse(&"A".repeat(43)).unwrap()))
}

fn config(tables: &str) -> Config {
    let text = format!("public_url = \"https://auth.localhost\"\n{tables}");
    Config::parse(&text, "test", Path::new("."), &|_| None).unwrap_or_else(|found| panic!("{found}"))
}

/// A store, and the delivery of its outbox in this process.
struct Outbox {
    store: Store,
    config: Config,
    stop: watch::Sender<bool>,
    running: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl Outbox {
    async fn new(tables: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::of(StoreUrl::Sqlite(folder.path().join("a.db")), tables, folder).await
    }

    async fn of(url: StoreUrl, tables: &str, folder: tempfile::TempDir) -> Self {
        let store = Store::open(&url, ring()).await.unwrap();
        let (stop, _) = watch::channel(false);
        Self { store, config: config(tables), stop, running: None, folder }
    }

    async fn deliver(&mut self) {
        let catalogue = Catalogue::build(self.config.clone(), &self.store, &SystemEntropy, 1).await;
        let catalogue = Arc::new(CatalogueCell::new(catalogue.unwrap_or_else(|error| panic!("{error}"))));
        let delivery =
            Delivery::new(self.store.clone(), catalogue, Arc::new(SystemClock), Arc::new(SystemEntropy));
        self.running = Some(tokio::spawn(Arc::new(delivery).run(self.stop.subscribe())));
    }

    async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
        self.store.close().await;
    }

    async fn add(&self, to: &str) -> Result<String, EnqueueError> {
        let key = uuid(&SystemEntropy);
        self.add_with(to, &key, &key, 600).await
    }

    async fn add_with(&self, to: &str, key: &str, user: &str, seconds: u64) -> Result<String, EnqueueError> {
        add(&self.store, &self.config, to, key, user, seconds).await
    }

    /// Waits until no message is pending.
    async fn wait(&self) {
        self.wait_for(Duration::from_secs(60)).await;
    }

    /// Waits until no message is pending, for at most this time.
    async fn wait_for(&self, longest: Duration) {
        let begun = std::time::Instant::now();
        while begun.elapsed() < longest {
            let pending = [self.store.oldest_message("email").await, self.store.oldest_message("sms").await];
            if pending.into_iter().all(|oldest| oldest.unwrap().is_none()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("messages are pending after {longest:?}");
    }
}

async fn add(
    store: &Store,
    config: &Config,
    to: &str,
    key: &str,
    user: &str,
    seconds: u64,
) -> Result<String, EnqueueError> {
    let now = store.time().await.unwrap();
    let code = Secret::new("424242");
    let channel = if to.contains('@') { Channel::Email } else { Channel::Sms };
    let message = Message {
        key,
        pool: "pool",
        event: MessageEvent::SignUp,
        channel,
        recipient: to,
        language: None,
        user,
        user_no: 0,
        is_simulated: false,
        username: "ada",
        code: &code,
        link: None,
        follows_first_factor: false,
        client: None,
        expires_at: now.plus(Duration::from_secs(seconds)),
    };
    let (message, settings) = (&message, MessageSettings::of(config, &config.user_pool.messages));
    store
        .transaction(|tx| Box::pin(async move { enqueue(tx, settings, message, now, &SystemEntropy).await }))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_sent_encrypted_and_leaves_nothing() {
    for mode in ["starttls", "implicit"] {
        let server = MailServer::start(mode, &["narthex", "a-password-of-the-server"]);
        let mut outbox = Outbox::new(&server.toml("")).await;
        assert_eq!(outbox.add("ada@example.com").await, Ok("a***@e***".to_owned()));
        outbox.deliver().await;
        outbox.wait().await;
        let accepted = server.accepted();
        assert_eq!(accepted.len(), 1, "{mode}");
        let message = &accepted[0];
        assert_eq!(message["from"], "no-reply@example.com");
        assert!(message["text"].as_str().unwrap().contains("Your confirmation code is 424242."), "{message}");
        assert_eq!(message["user"], "narthex");
        if mode == "starttls" {
            assert_eq!(message["tls"], true);
        }
        assert!(outbox.store.dead_messages(1).await.unwrap().is_empty());
        let database = outbox.folder.path().join("a.db");
        for text in ["ada@example.com", "424242"] {
            assert!(!MailServer::store_contains(&database, text), "{text}");
        }
        outbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_trusted_gets_no_message_and_no_password() {
    let verify = async |tables: &str| {
        let mail = config(tables).mail.unwrap();
        verify_server(&mail).await.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let good = MailServer::start("starttls", &["narthex", "right-password"]);
    assert_eq!(verify(&good.toml("")).await, "");
    let wrong = good.toml("").replace("right-password", "other-password");
    let refused = verify(&wrong).await;
    assert!(refused.contains("refuses the user `narthex`") && refused.contains("535"), "{refused}");
    assert!(!refused.contains("other-password"), "{refused}");
    let plain = MailServer::start("plain", &[]);
    let no_tls = verify(&plain.toml("")).await;
    assert!(no_tls.contains("no STARTTLS at") && no_tls.contains("does not offer it"), "{no_tls}");
    // By decision of the operator, on this machine.
    assert_eq!(verify(&plain.toml("tls = \"off\"")).await, "");
    let unknown =
        good.toml("").lines().filter(|line| !line.starts_with("ca =")).collect::<Vec<_>>().join("\n");
    let untrusted = verify(&unknown).await;
    assert!(untrusted.contains("the TLS handshake failed"), "{untrusted}");
    let other_name = verify(&good.toml("").replace("localhost:", "127.0.0.1:")).await;
    assert!(other_name.contains("the TLS handshake failed"), "{other_name}");
    let inject = MailServer::start("inject", &[]);
    let injected = verify(&inject.toml("timeout = \"5s\"")).await;
    assert!(injected.contains("the TLS handshake failed"), "{injected}");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let silent =
        format!("[mail]\nsmtp = \"smtps://127.0.0.1:{port}\"\nfrom = \"a@b.example\"\ntimeout = \"1s\"");
    assert_eq!(verify(&silent).await, "no answer within 1 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_recipient_or_a_hanging_server_blocks_no_other() {
    let server = MailServer::start("starttls", &[]);
    let mut outbox = Outbox::new(&server.toml("timeout = \"3s\"")).await;
    let strange = ["reject", "refuse-text", "later", "close", "hang", "tarpit"];
    for name in strange {
        outbox.add_with(&format!("{name}@example.com"), name, name, 25).await.unwrap();
    }
    for number in 0..20 {
        outbox.add(&format!("user{number}@example.com")).await.unwrap();
    }
    outbox.deliver().await;
    let begun = std::time::Instant::now();
    wait_until("the other messages", || server.count("user19@example.com") == 1);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    // `hang` and `tarpit` are tried until they expire.
    outbox.wait().await;
    for number in 0..20 {
        assert_eq!(server.count(&format!("user{number}@example.com")), 1);
    }
    assert_eq!((server.count("later@example.com"), server.count("hang@example.com")), (1, 0));
    // The outcome was unknown: the second copy has the same Message-ID.
    let accepted = server.accepted();
    let closed = accepted.iter().filter(|message| message["to"] == "close@example.com");
    let ids: Vec<String> = closed.map(message_id).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert_eq!(ids[0], ids[1]);
    let dead = outbox.store.dead_messages(10).await.unwrap();
    let failures: Vec<&str> = dead.iter().map(|message| message.failure.as_str()).collect();
    assert!(failures.is_empty() || failures.len() == 2, "{failures:?}");
    for failure in failures {
        assert!(
            !failure.contains("reject@") && (failure.contains("550") || failure.contains("554")),
            "{failure}"
        );
    }
    outbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_kept_without_the_recipient_until_its_code_expires() {
    let server = MailServer::start("starttls", &[]);
    let mut outbox = Outbox::new(&server.toml("")).await;
    outbox.add_with("reject@example.com", "key", "user", 600).await.unwrap();
    outbox.add_with("reject2@example.com", "short", "user", 5).await.unwrap();
    outbox.deliver().await;
    outbox.wait().await;
    let dead = outbox.store.dead_messages(10).await.unwrap();
    assert!(
        dead.iter().all(|message| message.failure.contains("550") && !message.failure.contains("reject"))
    );
    tokio::time::sleep(Duration::from_secs(8)).await;
    let dead = outbox.store.dead_messages(10).await.unwrap();
    assert_eq!(dead.len(), 1);
    let now = outbox.store.time().await.unwrap();
    assert!(outbox.store.retry_dead_message(&dead[0].id, now).await.unwrap());
    outbox.wait().await;
    assert_eq!(outbox.store.dead_messages(10).await.unwrap().len(), 1);
    assert!(outbox.store.drop_dead_message(&dead[0].id).await.unwrap());
    assert!(!outbox.store.drop_dead_message(&dead[0].id).await.unwrap());
    outbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_for_a_server_that_is_down_and_expire_with_their_codes() {
    let mut server = MailServer::start("starttls", &[]);
    server.stop();
    let mut outbox = Outbox::new(&server.toml("")).await;
    for number in 0..20 {
        outbox.add(&format!("user{number}@example.com")).await.unwrap();
    }
    outbox.add_with("late@example.com", "late", "late", 2).await.unwrap();
    outbox.deliver().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(server.accepted().is_empty());
    server.restart();
    outbox.wait().await;
    let accepted: Vec<_> = server.accepted().iter().map(|message| message["to"].to_string()).collect();
    assert_eq!(accepted.len(), 20, "{accepted:?}");
    assert_eq!(accepted.iter().collect::<BTreeSet<_>>().len(), 20);
    assert_eq!(server.count("late@example.com"), 0);
    outbox.stop().await;
}

/// 26: `NARTHEX_MESSAGES` is the number of messages.
#[tokio::test(flavor = "multi_thread")]
async fn pain_26_all_messages_leave_at_the_rate_of_the_file_and_none_is_lost_in_an_outage() {
    const RATE: usize = 200;
    let count: usize = std::env::var("NARTHEX_MESSAGES").map_or(600, |count| count.parse().unwrap());
    let mut server = MailServer::start("starttls", &[]);
    let tables = server.toml("").replace("rate = 1000", &format!("rate = {RATE}"));
    let mut outbox = Outbox::new(&tables).await;
    for number in 0..count {
        let user = format!("user{number}");
        outbox.add_with(&format!("{user}@example.com"), &user, &user, 3600).await.unwrap();
    }
    // On a machine that does other things, too.
    let longest = Duration::from_secs(60 + count as u64 / 20);
    let begun = std::time::Instant::now();
    outbox.deliver().await;
    while server.accepted().len() < count / 3 {
        assert!(begun.elapsed() < longest, "a third of the messages");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop();
    let before = server.accepted().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.accepted().len(), before);
    let resumed = std::time::Instant::now();
    server.restart();
    outbox.wait_for(longest).await;
    let accepted = server.accepted();
    let recipients: BTreeSet<_> = accepted.iter().map(|message| message["to"].to_string()).collect();
    assert_eq!(recipients.len(), count, "a message is lost");
    // The server stopped between a message and its answer, which the sender cannot distinguish from
    // a message that was lost. It is sent again with the same id.
    let ids: BTreeSet<_> = accepted.iter().map(message_id).collect();
    assert_eq!(ids.len(), count, "a message has two ids");
    assert!(accepted.len() - count <= 4, "{} messages were sent twice", accepted.len() - count);
    let (sent, seconds) = (accepted.len() - before, resumed.elapsed().as_secs_f64());
    assert!(sent as f64 <= (RATE as f64) * (seconds + 2.0), "{sent} messages in {seconds} s");
    println!(
        "{count} messages in {:.1} s, {sent} of them in {seconds:.1} s after the outage",
        begun.elapsed().as_secs_f64()
    );
    outbox.stop().await;
}

async fn a_key_adds_one_message_and_limits_hold(url: StoreUrl) {
    const TABLES: &str = "[mail]\nsmtp = \"log\"\nfrom = \"a@b.example\"\n[messages]\nper_user = 3\n[sms]\nshape = \"json\"\n\
                          url = \"https://sms.example.com\"\nfrom = \"a\"\nallowed_prefixes = \"+49\"";
    let outbox = Outbox::of(url, TABLES, tempfile::tempdir().unwrap()).await;
    for _ in 0..2 {
        outbox.add_with("ada@example.com", "key", "ada", 600).await.unwrap();
    }
    outbox.add_with("ada@example.com", "other", "ada", 600).await.unwrap();
    let refused = outbox.add_with("ada@example.com", "third", "ada", 600).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::TooMany(Limit::User, _)), "{refused}");
    outbox.add_with("+4915112345678", "sms", "eve", 600).await.unwrap();
    assert!(matches!(
        outbox.add_with("+8811234567", "sms2", "eve", 600).await,
        Err(EnqueueError::CountryNotAllowed("+881"))
    ));
    let now = outbox.store.time().await.unwrap().plus(Duration::from_secs(1));
    let claim = async |from: Timestamp| {
        outbox.store.claim_messages("email", 10, from, from.plus(Duration::from_secs(30))).await.unwrap()
    };
    assert_eq!(claim(now).await.len(), 2);
    assert!(claim(now).await.is_empty());
    // The lease has ended: the messages are another node's, and the first has lost them.
    let first = claim(now.plus(Duration::from_secs(31))).await;
    assert_eq!(first.len(), 2);
    let second = claim(now.plus(Duration::from_secs(62))).await;
    assert!(!outbox.store.begin_transmission(&first[0], now).await.unwrap());
    assert!(!outbox.store.finish_message(&first[0]).await.unwrap());
    assert!(outbox.store.begin_transmission(&second[0], now).await.unwrap());
    assert!(outbox.store.finish_message(&second[0]).await.unwrap());
    let left = claim(now.plus(Duration::from_secs(93))).await;
    assert_eq!(left.len(), 1);
    assert!(!left[0].is_doubtful);
    outbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_adds_one_message_and_limits_hold_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    a_key_adds_one_message_and_limits_hold(StoreUrl::Sqlite(folder.path().join("a.db"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_adds_one_message_and_limits_hold_on_postgres() {
    let url = StoreUrl::Postgres(Secret::new(Postgres::shared().database()));
    a_key_adds_one_message_and_limits_hold(url).await;
}

const GOOD: &str = r#"public_url = "https://auth.example.com"
[mail]
smtp = "smtps://narthex@mail.example.com"
password = "hunter2"
from = "Example <no-reply@example.com>"
tls = "required"
[sms]
shape = "vonage"
account = "key"
secret = "word"
from = "Example"
allowed_prefixes = "+49"
[[user_pool]]
[[user_pool.message]]
event = "admin_create_user"
language = "de"
subject = "Hallo"
text = "{username} {####}"
"#;

#[test]
fn mistakes_in_the_file_are_reported_with_the_remedy() {
    assert_each_reported(
        GOOD,
        &[
            ("smtps://narthex@mail.example.com", "mail.example.com", "is not a URL"),
            (
                "smtps://narthex@mail.example.com",
                "imap://mail.example.com",
                "does not begin with smtps: or smtp:",
            ),
            (
                "smtps://narthex@mail.example.com",
                "smtps://narthex:word@mail.example.com",
                "`smtp` contains a password",
            ),
            (
                "smtps://narthex@mail.example.com",
                "smtps://mail.example.com/x",
                "has more than a host and a port",
            ),
            (
                "smtps://narthex@mail.example.com",
                "smtps://mail.example.com",
                "`password` is not used without a user",
            ),
            ("smtps://narthex@mail.example.com", "log", "prints codes in the log"),
            ("password = \"hunter2\"", "", "`password` is missing in [mail]"),
            ("\"required\"", "\"off\"", "`tls` is off, and `smtp` begins with smtps:"),
            ("Example <no-reply@example.com>", "Example", "is no e-mail address"),
            ("Example <no-reply@example.com>", "zo\u{eb}@example.com", "not ASCII"),
            ("\"vonage\"", "\"json\"", "`url` is missing in [sms]"),
            ("account = \"key\"", "", "`account` and `secret` are required"),
            ("\"+49\"", "\"0049\"", "is not the beginning of a telephone number"),
            ("{username} {####}", "{username}", "has no `{####}`"),
            ("{username} {####}", "{####}", "has no `{username}`"),
            ("{username} {####}", "{username} {##go##}", "has a link"),
            ("\"Hallo\"", "\"Ha\\nllo\"", "has a line break"),
            ("subject = \"Hallo\"", "", "`subject` is missing"),
            ("language = \"de\"", "language = \"german!\"", "is not a language"),
            ("language = \"de\"", "channel = \"sms\"", "a text message has no `subject`"),
            ("admin_create_user", "mfa2", "`event` cannot be"),
        ],
    );
    let plain = GOOD
        .replace("smtps://narthex@mail.example.com", "smtp://192.0.2.1")
        .replace("password = \"hunter2\"\n", "");
    let found = config_errors(&plain.replace("\"required\"", "\"off\"")).unwrap();
    assert!(found.contains("no address of a private network"), "{found}");
    let with_user = GOOD
        .replace("smtps://narthex@mail.example.com", "smtp://narthex@10.0.0.1")
        .replace("\"required\"", "\"off\"");
    assert!(config_errors(&with_user).unwrap().contains("the password would be sent in plain text"));
}

const SHARED: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_the_messages_and_one_dies() {
    let server = MailServer::start("starttls", &[]);
    let database = Postgres::shared().database();
    let mail = server.toml("timeout = \"5s\"");
    let builder = NarthexBuilder::new().postgres(&database).tables(&mail);
    let mut one: Narthex = builder.clone().start();
    let two = one.share_authority(&builder).start_at("127.0.0.2");
    let url = StoreUrl::Postgres(Secret::new(database));
    let outbox = Outbox::of(url, &mail, tempfile::tempdir().unwrap()).await;
    for number in 0..SHARED {
        outbox.add(&format!("user{number}@example.com")).await.unwrap();
        if number == SHARED / 2 {
            one.kill();
        }
    }
    outbox.wait().await;
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let accepted = server.accepted();
    for message in &accepted {
        ids.entry(message["to"].to_string()).or_default().insert(message_id(message));
    }
    assert_eq!(ids.len(), SHARED);
    assert!(ids.values().all(|ids| ids.len() == 1), "a second copy has the same Message-ID");
    // At most those that were on the connections of the node that was killed.
    assert!(accepted.len() <= SHARED + 4, "{} messages", accepted.len());
    assert!(
        two.admin("/metrics")
            .contains("narthex_messages_total{channel=\"email\",event=\"sign_up\",result=\"sent\"}")
    );
    outbox.stop().await;
}

type Requests = Arc<Mutex<Vec<(String, HeaderMap, String)>>>;

/// An SMS service that answers with this status and body.
async fn sms_service(status: u16, body: &'static str) -> (u16, Requests) {
    let requests = Requests::default();
    let answer = move |State(requests): State<Requests>, uri: Uri, headers: HeaderMap, text: String| async move {
        requests.lock().unwrap().push((uri.to_string(), headers, text));
        (StatusCode::from_u16(status).unwrap(), body)
    };
    let router = axum::Router::new().fallback(answer).with_state(requests.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (port, requests)
}

fn sms(shape: &str, port: u16) -> String {
    format!(
        "[sms]\nshape = \"{shape}\"\nurl = \"http://127.0.0.1:{port}/send\"\naccount = \"account\"\nsecret = \"word\"\n\
         from = \"Example\"\nallowed_prefixes = \"+49\"\ntimeout = \"3s\"\nsecret_headers = {{ \"X-Key\" = \"k\" }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn text_messages_are_sent_in_the_form_of_each_service() {
    for (shape, answer, contains) in [
        ("twilio", "{}", "To=%2B4915112345678&From=Example&Body=Your+confirmation+code+is+424242."),
        (
            "vonage",
            r#"{"messages":[{"status":"0"}]}"#,
            "to=4915112345678&text=Your+confirmation+code+is+424242.&type=text",
        ),
        ("sns", "<PublishResponse/>", "Action=Publish&Version=2010-03-31&PhoneNumber=%2B4915112345678"),
        ("json", "", r#""to":"+4915112345678""#),
    ] {
        let (port, requests) = sms_service(200, answer).await;
        let mut outbox = Outbox::new(&sms(shape, port)).await;
        assert_eq!(outbox.add("+4915112345678").await, Ok("+*********5678".to_owned()));
        outbox.deliver().await;
        outbox.wait().await;
        let requests = std::mem::take(&mut *requests.lock().unwrap());
        assert_eq!(requests.len(), 1, "{shape}");
        let (uri, headers, body) = &requests[0];
        assert_eq!(uri, "/send");
        assert!(body.contains(contains), "{shape}: {body}");
        assert_eq!(headers["x-key"], "k");
        match shape {
            "sns" => assert!(
                headers["authorization"]
                    .to_str()
                    .unwrap()
                    .starts_with("AWS4-HMAC-SHA256 Credential=account/")
            ),
            "vonage" => assert!(!headers.contains_key("authorization")),
            _ => assert_eq!(headers["authorization"], "Basic YWNjb3VudDp3b3Jk"),
        }
        assert!(outbox.store.dead_messages(1).await.unwrap().is_empty());
        outbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_message_with_an_unknown_outcome_is_not_sent_again() {
    for (status, count) in [(502, 1), (400, 1)] {
        let (port, requests) = sms_service(status, "no").await;
        let mut outbox = Outbox::new(&sms("json", port)).await;
        outbox.add("+4915112345678").await.unwrap();
        outbox.deliver().await;
        outbox.wait().await;
        assert_eq!(requests.lock().unwrap().len(), count, "{status}");
        let dead = outbox.store.dead_messages(1).await.unwrap();
        assert!(dead[0].failure.contains(&status.to_string()), "{}", dead[0].failure);
        outbox.stop().await;
    }
    // Nothing listens: nothing was sent, and the message waits.
    let mut outbox = Outbox::new(&sms("json", free_port())).await;
    outbox.add("+4915112345678").await.unwrap();
    outbox.deliver().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(outbox.store.oldest_message("sms").await.unwrap().is_some());
    outbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_list_retry_drop_test_and_check() {
    let server = MailServer::start("starttls", &["narthex", "right-password"]);
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let store =
        format!("[store]\nurl = \"sqlite:{}\"\nmaster_key = \"{}\"\n", database.display(), "A".repeat(43));
    let file = folder.path().join("narthex.toml");
    let text = format!("public_url = \"https://auth.localhost\"\n{store}{}", server.toml(""));
    std::fs::write(&file, &text).unwrap();
    let mut outbox =
        Outbox::of(StoreUrl::Sqlite(database), &server.toml(""), tempfile::tempdir().unwrap()).await;
    outbox.add("reject@example.com").await.unwrap();
    outbox.add("reject@example.org").await.unwrap();
    outbox.deliver().await;
    outbox.wait().await;
    outbox.stop().await;
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(words)
            .arg("--config")
            .arg(&file)
            .output()
            .unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    };
    let (good, listed) = run(&["messages", "list", "--json"]);
    assert!(good, "{listed}");
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let id = |at: usize| listed[at]["id"].as_str().unwrap().to_owned();
    assert_eq!(listed[0]["event"], "sign_up");
    assert!(listed[0]["failure"].as_str().unwrap().contains("550"), "{listed}");
    assert!(run(&["messages", "retry", &id(0)]).0);
    assert!(run(&["messages", "drop", &id(1)]).0);
    assert!(!run(&["messages", "drop", &id(1)]).0);
    let (good, listed) = run(&["messages", "list"]);
    assert!(good && listed.contains("no messages were refused"), "{listed}");
    let (good, said) = run(&["messages", "test", "--to", "ada@example.com"]);
    assert!(good && said.contains("the server accepted the message"), "{said}");
    assert_eq!(server.count("ada@example.com"), 1);
    let (good, said) = run(&["messages", "test", "--to", "reject@example.com"]);
    assert!(!good && said.contains("the server refuses the message") && said.contains("550"), "{said}");
    let (_, said) = run(&["check"]);
    assert!(said.contains(&format!("ok       localhost:{} accepts messages", server.port)), "{said}");
    std::fs::write(&file, text.replace("right-password", "other-password")).unwrap();
    let (good, said) = run(&["check"]);
    assert!(
        !good && said.contains("problem  [mail]:") && said.contains("refuses the user `narthex`"),
        "{said}"
    );
}

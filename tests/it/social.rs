//! The providers that people know by name, each against a stand-in that speaks as it is documented.

use crate::support::browser::{self, DESK};
use crate::support::documented::{
    AMAZON, APPLE, DISCORD, FACEBOOK, GITHUB, GITLAB, GOOGLE, LINKEDIN, MICROSOFT, OTHER, SLACK,
};
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::stand_in::{CLIENT, Documented, KEY_ID, Person, Pkce, SECRET, StandIn, TEAM, ec_key};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, location, redirect_target};
use narthex::base::{SystemClock, SystemEntropy};
use narthex::config::Config;
use narthex::model::Identity;
use narthex::provider::{
    BrowserAction, Callback, ExternalIdentity, LoginHints, Provider, ProviderError, ProviderHttpClient,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use url::Url;

/// What a deployment knows of a stand-in.
struct Scene {
    stand_in: Arc<StandIn>,
    narthex: Narthex,
    upstream: Upstream,
}

/// A provider of the file: the right one, and one of the same kind whose secret is wrong.
fn provider(stand_in: &StandIn, name: &str, right: bool, more: &str) -> String {
    let (preset, base) = (stand_in.documented.name, stand_in.base());
    let secret = match (stand_in.documented.signed_secret, right) {
        (true, right) => {
            let pem = if right { stand_in.client_key() } else { ec_key().0 };
            format!("team_id = \"{TEAM}\"\nkey_id = \"{KEY_ID}\"\nprivate_key = '''{pem}'''")
        }
        (false, true) => format!("client_secret = \"{SECRET}\""),
        (false, false) => "client_secret = \"a guess\"".to_owned(),
    };
    let place = match preset {
        "oauth2" => format!(
            "authorization_endpoint = \"{base}/authorize\"\ntoken_endpoint = \"{base}/token\"\nuserinfo_endpoint = \"{base}/me\""
        ),
        _ => format!("base_url = \"{base}\""),
    };
    format!(
        "[[provider]]\ntype = \"{preset}\"\nname = \"{name}\"\nclient_id = \"{CLIENT}\"\n{place}\n{secret}\n{more}\n"
    )
}

async fn scene(documented: &'static Documented, more: &str) -> Scene {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let name = documented.name;
    let stand_in = StandIn::start(documented, vec![builder.callback(name), builder.callback("other")]).await;
    let narthex = builder
        .tables(&provider(&stand_in, name, true, more))
        .tables(&provider(&stand_in, "other", false, more))
        .route("app", upstream.port, "")
        .start();
    Scene { stand_in, narthex, upstream }
}

/// What comes back from the provider: an address, or a form to one.
struct Back {
    url: Url,
    form: Option<HashMap<String, String>>,
}

impl Back {
    fn field(&self, name: &str) -> Option<String> {
        match &self.form {
            Some(form) => form.get(name).cloned(),
            None => {
                self.url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
            }
        }
    }

    /// The same, bringing another code.
    fn with_code(&self, code: &str) -> Self {
        let mut url = self.url.clone();
        let mut form = self.form.clone();
        match &mut form {
            Some(form) => drop(form.insert("code".into(), code.into())),
            None => {
                let pairs: Vec<_> = self.url.query_pairs().filter(|(name, _)| name != "code").collect();
                url.query_pairs_mut().clear().extend_pairs(pairs).append_pair("code", code);
            }
        }
        Self { url, form }
    }
}

impl Scene {
    /// A visitor on the way to a provider, agreed there, and not yet back.
    async fn go(&self, provider: &str) -> (Visitor, Back) {
        let visitor = Visitor::new(&self.narthex);
        let asked = visitor.get(&format!("{}/", self.narthex.origin("app"))).await;
        let sent = visitor.get(&format!("{}&identity_provider={provider}", location(&asked))).await;
        let answer = visitor.get(location(&sent).as_str()).await;
        if let Some(url) = redirect_target(&answer) {
            return (visitor, Back { url: url.parse().unwrap(), form: None });
        }
        assert_status(&answer, 200);
        let page = answer.text().await.unwrap();
        let part = |text: &str, name: &str| {
            text.split(&format!("{name}=\"")).nth(1).map(|rest| rest.split('"').next().unwrap().to_owned())
        };
        let fields = page.split("<input").skip(1).map(|input| {
            let value = part(input, "value").unwrap().replace("&quot;", "\"").replace("&amp;", "&");
            (part(input, "name").unwrap(), value)
        });
        let url = part(&page, "action").unwrap().parse().unwrap();
        (visitor, Back { url, form: Some(fields.collect()) })
    }

    async fn deliver(&self, visitor: &Visitor, back: &Back) -> reqwest::Response {
        let Some(form) = &back.form else { return visitor.follow(back.url.as_str()).await };
        let answer = visitor.client.post(back.url.clone()).form(form).send().await.unwrap();
        visitor.follow(&redirect_target(&answer).expect("the form leads to an address")).await
    }

    async fn sign_in(&self, provider: &str) -> reqwest::Response {
        let (visitor, back) = self.go(provider).await;
        self.deliver(&visitor, &back).await
    }

    /// Why the last login was refused.
    fn why(&self) -> (String, String) {
        let failed = self.narthex.audit("login_failed");
        let last = failed.last().expect("a login was refused");
        (last["reason"].as_str().unwrap().to_owned(), last["detail"].as_str().unwrap().to_owned())
    }

    /// Brings something that must be refused: the page shows the request id of the audit line, and
    /// no user is created. Returns the check that failed, and the detail.
    async fn refused(&self, visitor: &Visitor, back: &Back, status: u16) -> (String, String) {
        let (before, told) =
            (self.narthex.count_login_rows().await, self.narthex.audit("login_failed").len());
        let answer = self.deliver(visitor, back).await;
        assert_status(&answer, status);
        let failed = self.narthex.audit("login_failed");
        assert_eq!(failed.len(), told + 1);
        let page = answer.text().await.unwrap();
        assert!(page.contains(failed[told]["request_id"].as_str().unwrap()), "{page}");
        assert_eq!(
            self.narthex.count_login_rows().await,
            before,
            "something was written: {:?}",
            failed[told]
        );
        self.why()
    }

    /// What each client must hold against: each attack differs from a login that comes about in one
    /// thing.
    async fn withstands(&self) {
        let documented = self.stand_in.documented;
        assert!(documented.pages.iter().all(|page| page.starts_with("https://")));
        let name = documented.name;
        let token_endpoint =
            |told: (String, String)| assert_eq!(told.0, "token endpoint", "{name}: {}", told.1);
        let logins = self.narthex.audit("login").len();

        // A code that was redeemed already.
        let (visitor, back) = self.go(name).await;
        assert_status(&self.deliver(&visitor, &back).await, 200);
        let used = back.field("code").unwrap();
        let (visitor, back) = self.go(name).await;
        token_endpoint(self.refused(&visitor, &back.with_code(&used), 400).await);

        // A code that was given out for another redirect URI.
        let (_, elsewhere) = self.go("other").await;
        let (visitor, back) = self.go(name).await;
        let code = elsewhere.field("code").unwrap();
        token_endpoint(self.refused(&visitor, &back.with_code(&code), 400).await);

        // A code that was given out to another browser, which has another verifier and another
        // nonce.
        let (_, others) = self.go(name).await;
        let (visitor, back) = self.go(name).await;
        let others = back.with_code(&others.field("code").unwrap());
        match documented.pkce {
            Pkce::Checked => token_endpoint(self.refused(&visitor, &others, 400).await),
            Pkce::Ignored => assert_eq!(self.refused(&visitor, &others, 400).await.0, "nonce", "{name}"),
            // It has no such claim.
            Pkce::Refused => assert_status(&self.deliver(&visitor, &others).await, 200),
        }

        // A secret that is not ours.
        let (visitor, back) = self.go("other").await;
        token_endpoint(self.refused(&visitor, &back, 400).await);

        // Somebody who says no.
        self.stand_in.set_person(Person::Unwilling);
        let (visitor, back) = self.go(name).await;
        let (reason, detail) = self.refused(&visitor, &back, 403).await;
        assert_eq!(reason, "provider_refused", "{name}");
        let word = documented.refusal.iter().find(|(name, _)| *name == "error").unwrap().1;
        assert!(detail.contains(word), "{detail}");
        self.stand_in.set_person(Person::Verified);

        let came_about = if documented.pkce == Pkce::Refused { 2 } else { 1 };
        assert_eq!(self.narthex.audit("login").len(), logins + came_about, "{name}: a session was left");
    }

    /// Somebody whose address nobody has verified is not let in by it.
    async fn refuses_unverified(&self) {
        self.stand_in.set_person(Person::Unverified);
        let (visitor, back) = self.go(self.stand_in.documented.name).await;
        let (reason, detail) = self.refused(&visitor, &back, 403).await;
        assert_eq!(reason, "not_allowed", "{detail}");
        self.stand_in.set_person(Person::Verified);
    }

    /// The identity that the app gets, and the stored user.
    async fn told(&self) -> Value {
        let answer = self.sign_in(self.stand_in.documented.name).await;
        assert_eq!(answer.status(), 200, "{:?}", self.narthex.audit("login_failed"));
        let mut claims = self.upstream.seen().last().unwrap().claims();
        for (name, value) in self.narthex.attributes(claims["sub"].as_str().unwrap()).await.iter() {
            if claims.get(name).is_none() {
                claims[name] = value.into();
            }
        }
        claims
    }
}

const BY_DOMAIN: &str = "allow = { domains = [\"corp.example\"] }";

/// The claims of these names that the app gets.
fn of(claims: &Value, names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| ((*name).to_owned(), claims[*name].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn amazon_signs_people_in() {
    let scene = scene(&AMAZON, "allow = \"anyone\"").await;
    let told = scene.told().await;
    assert_eq!(
        of(&told, &["email", "email_verified", "name"]),
        json!({"email": "alice@corp.example", "email_verified": false, "name": "Alice"})
    );
    scene.withstands().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apple_signs_people_in() {
    let scene = scene(&APPLE, BY_DOMAIN).await;
    let told = scene.told().await;
    let expected = json!({"email": "alice@corp.example", "email_verified": true, "name": "Alice Appleseed", "family_name": "Appleseed"});
    let names = ["email", "email_verified", "name", "family_name"];
    assert_eq!(of(&told, &names), expected);
    // Apple does not send the name the second time; the stored one stays.
    assert_eq!(of(&scene.told().await, &names), expected);
    scene.withstands().await;
    scene.refuses_unverified().await;

    // The form may bring nothing but what a login needs, and comes only from who uses forms.
    let visitor = Visitor::new(&scene.narthex);
    let post = async |name: &str, body: String| {
        visitor
            .client
            .post(format!("{}/oauth2/idpresponse/{name}", scene.narthex.origin("auth")))
            .body(body)
            .send()
            .await
            .unwrap()
    };
    let sent = post("apple", "state=a&code=b&id_token=c&evil=d".into()).await;
    assert_eq!(location(&sent).query(), Some("code=b&state=a"));
    assert_status(&post("apple", "state=a&state=b".into()).await, 400);
    assert_status(&post("apple", format!("state={}", "a".repeat(5000))).await, 400);
    assert_status(&post("nobody", "state=a".into()).await, 404);
    let long = format!("state=a&code=b&user={}", "n".repeat(5000));
    assert_eq!(location(&post("apple", long).await).query(), Some("code=b&state=a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_required_of_everybody_may_be_known_already_but_not_be_missing() {
    let more = format!("{BY_DOMAIN}\nrequired_attributes = [\"name\", \"email\"]");
    let scene = scene(&APPLE, &more).await;
    // Somebody who has consented before, or whose browser leaves the name out.
    let (visitor, back) = scene.go("apple").await;
    let nameless =
        Back { form: back.form.clone().map(|mut form| form.remove("user").map(|_| form).unwrap()), ..back };
    assert_status(&scene.deliver(&visitor, &nameless).await, 400);
    assert_eq!(
        scene.why(),
        ("unmappable".into(), "`name` is required of everybody, and the provider does not send it".into())
    );
    assert!(scene.narthex.audit("user_created").is_empty());

    let again = self::scene(&APPLE, &more).await;
    assert_eq!(again.told().await["name"], "Alice Appleseed");
    assert_eq!(again.told().await["name"], "Alice Appleseed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_a_browser_comes_back_from_apple_by_its_form() {
    let scene = scene(&APPLE, BY_DOMAIN).await;
    let (app, browser) = (format!("{}/", scene.narthex.origin("app")), browser::open(DESK).await);
    browser.goto(&app).await.unwrap();
    let button = browser.find(fantoccini::Locator::Css("a[href*='identity_provider=apple']")).await.unwrap();
    button.click().await.unwrap();
    for _ in 0..600 {
        if browser.current_url().await.unwrap().as_str() == app {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(
        browser.current_url().await.unwrap().as_str(),
        app,
        "{:?}",
        scene.narthex.audit("login_failed")
    );
    assert_eq!(scene.upstream.seen()[0].claims()["name"], "Alice Appleseed");
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn discord_signs_people_in() {
    let scene = scene(&DISCORD, BY_DOMAIN).await;
    assert_eq!(
        of(&scene.told().await, &["email", "email_verified", "name", "preferred_username"]),
        json!({"email": "alice@corp.example", "email_verified": true, "name": "Alice", "preferred_username": "alice"})
    );
    scene.withstands().await;
    scene.refuses_unverified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn facebook_signs_people_in() {
    let scene = scene(&FACEBOOK, "allow = \"anyone\"").await;
    assert_eq!(
        of(&scene.told().await, &["email", "email_verified", "name", "family_name", "picture"]),
        json!({
            "email": "alice@corp.example", "email_verified": false, "name": "Alice Example",
            "family_name": "Example", "picture": "https://platform.example/alice.jpg",
        })
    );
    scene.withstands().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn github_signs_people_in() {
    let scene = scene(&GITHUB, "allow = { groups = [\"guild\"], domains = [\"corp.example\"] }").await;
    assert_eq!(
        of(&scene.told().await, &["email", "email_verified", "name", "preferred_username", "cognito:groups"]),
        json!({
            "email": "alice@corp.example", "email_verified": true, "name": "Alice", "preferred_username": "alice",
            "cognito:groups": ["corp", "guild", "corp/owners"],
        })
    );
    scene.withstands().await;
    // The address that the profile shows counts for nothing; the group is enough.
    scene.stand_in.set_person(Person::Unverified);
    assert_eq!(
        of(&scene.told().await, &["email", "email_verified"]),
        json!({"email": null, "email_verified": null})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gitlab_signs_people_in() {
    let scene = scene(&GITLAB, BY_DOMAIN).await;
    assert_eq!(
        of(&scene.told().await, &["email", "email_verified", "name", "preferred_username", "cognito:groups"]),
        json!({
            "email": "alice@corp.example", "email_verified": true, "name": "Alice", "preferred_username": "alice",
            "cognito:groups": ["corp", "corp/platform"],
        })
    );
    scene.withstands().await;
    scene.refuses_unverified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn google_signs_people_in() {
    let scene = scene(&GOOGLE, BY_DOMAIN).await;
    let form = format!("{}/oauth2/idpresponse/google", scene.narthex.origin("auth"));
    let posted = Visitor::new(&scene.narthex).client.post(form).body("state=a&code=b").send().await.unwrap();
    assert_status(&posted, 404);
    assert_eq!(
        of(&scene.told().await, &["email", "email_verified", "name"]),
        json!({"email": "alice@corp.example", "email_verified": true, "name": "Alice"})
    );
    scene.withstands().await;
    scene.refuses_unverified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn linkedin_signs_people_in() {
    let scene = scene(&LINKEDIN, BY_DOMAIN).await;
    assert_eq!(
        of(&scene.told().await, &["email", "email_verified", "name"]),
        json!({"email": "alice@corp.example", "email_verified": true, "name": "Alice Example"})
    );
    scene.withstands().await;
    scene.refuses_unverified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn microsoft_signs_people_in() {
    const MINE: &str = "11111111-2222-3333-4444-555555555555";
    let more = format!("{BY_DOMAIN}\ntenant = \"organizations\"\ntenants = [\"{MINE}\"]");
    let scene = scene(&MICROSOFT, &more).await;
    assert_eq!(
        of(&scene.told().await, &["email", "email_verified", "name", "preferred_username"]),
        json!({
            "email": "alice@corp.example", "email_verified": true, "name": "Alice",
            "preferred_username": "alice@corp.example",
        })
    );
    scene.withstands().await;
    scene.refuses_unverified().await;

    // Another tenant's people do not come, whatever their tokens say.
    *scene.stand_in.tenant.lock().unwrap() = "99999999-2222-3333-4444-555555555555";
    assert_status(&scene.sign_in("microsoft").await, 400);
    assert_eq!(scene.why().0, "tenant");
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_signs_people_in() {
    let scene = scene(&SLACK, "allow = { groups = [\"T0RR\"] }").await;
    assert_eq!(
        of(&scene.told().await, &["email", "email_verified", "name", "cognito:groups"]),
        json!({"email": "alice@corp.example", "email_verified": true, "name": "Alice", "cognito:groups": ["T0RR"]})
    );
    scene.withstands().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_that_speaks_oauth2_signs_people_in() {
    let more = "subject = \"/data/user/uid\"\nscopes = [\"profile\"]\nallow = { domains = [\"corp.example\"] }\n\
                [provider.attributes]\nemail = \"/data/user/mail\"\nemail_verified = \"/data/user/checked\"\n\
                groups = \"/data/user/roles\"\nname = \"/display~1name\"\n";
    let scene = scene(&OTHER, more).await;
    assert_eq!(
        of(&scene.told().await, &["email", "email_verified", "name", "cognito:groups"]),
        json!({"email": "alice@corp.example", "email_verified": true, "name": "Alice", "cognito:groups": ["staff"]})
    );
    scene.withstands().await;
    scene.refuses_unverified().await;
}

/// The provider of a file, without a gateway about it.
fn connected(stand_in: &StandIn, more: &str) -> Arc<dyn Provider> {
    let name = stand_in.documented.name;
    let file = format!("public_url = \"https://auth.example\"\n{}", provider(stand_in, name, true, more));
    let config = Config::parse(&file, "test", std::path::Path::new("."), &|_| None).unwrap();
    let outbound = ProviderHttpClient::new().unwrap();
    narthex::provider::connect(
        &config.providers[0],
        None,
        outbound,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
    )
}

const CALLBACK: &str = "https://auth.example/oauth2/idpresponse/it";

/// A login, as far as the provider has a part in it.
async fn log_in(provider: &dyn Provider) -> Result<ExternalIdentity, ProviderError> {
    let begun = provider.begin(CALLBACK, "state", LoginHints::default()).await.unwrap();
    let BrowserAction::Redirect(url) = begun.action else { panic!("a form") };
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let back = location(&client.get(url).send().await.unwrap());
    let parameters = back.query_pairs().into_owned().collect();
    let pending = Some(&begun.pending);
    provider
        .finish(Callback { parameters: &parameters, redirect_uri: CALLBACK, pending, started_at: None })
        .await
}

fn account(identity: &ExternalIdentity) -> Identity {
    let (issuer, subject) = (identity.issuer.clone(), identity.subject.clone());
    Identity { issuer, subject, provider: "it".into(), saml: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_an_app_back_is_heard_of_whatever_kind_of_token_there_was() {
    const ANYONE: &str = "allow = \"anyone\"";
    for (documented, more) in [
        (&AMAZON, ANYONE),
        (&DISCORD, ANYONE),
        (&GITHUB, "allow = { groups = [\"corp\"] }"),
        (&GITLAB, ANYONE),
        (&MICROSOFT, "allow = \"anyone\"\ntenant = \"organizations\""),
    ] {
        let stand_in = StandIn::start(documented, vec![CALLBACK.into()]).await;
        let provider = connected(&stand_in, more);
        let identity = log_in(&*provider).await.unwrap();
        let renewed = provider.renew(&identity.tokens, &account(&identity)).await.unwrap();
        let again = renewed.identity.unwrap();
        assert_eq!(
            (&again.subject, &again.issuer),
            (&identity.subject, &identity.issuer),
            "{}",
            documented.name
        );
        assert_eq!(again.claims.get("groups"), identity.claims.get("groups"), "{}", documented.name);

        // Tokens that speak for somebody else are not this person's.
        let somebody = Identity { subject: "somebody".into(), ..account(&identity) };
        let other = provider.renew(&renewed.tokens, &somebody).await.unwrap();
        assert!(
            matches!(other.identity, Err(ProviderError::Invalid { check: "sub", .. })),
            "{:?}",
            other.identity
        );

        stand_in.revoke();
        let refused = provider.renew(&other.tokens, &account(&identity)).await;
        let refused = refused.and_then(|renewed| renewed.identity);
        assert!(matches!(refused, Err(ProviderError::Refused { .. })), "{}: {refused:?}", documented.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_what_its_issuer_and_its_keys_say() {
    const MINE: &str = "11111111-2222-3333-4444-555555555555";
    const OTHER_TENANT: &str = "99999999-2222-3333-4444-555555555555";
    let stand_in = StandIn::start(&MICROSOFT, vec![CALLBACK.into()]).await;
    let all = connected(&stand_in, "allow = \"anyone\"\ntenant = \"organizations\"");
    let issuer = |identity: Result<ExternalIdentity, ProviderError>| identity.unwrap().issuer;
    let check = |identity: Result<ExternalIdentity, ProviderError>| match identity {
        Err(ProviderError::Invalid { check, .. }) => check,
        other => panic!("{other:?}"),
    };
    assert_eq!(issuer(log_in(&*all).await), format!("{}/{MINE}/v2.0", stand_in.base()));
    // The same subject of another tenant is somebody else.
    *stand_in.tenant.lock().unwrap() = OTHER_TENANT;
    assert_eq!(issuer(log_in(&*all).await), format!("{}/{OTHER_TENANT}/v2.0", stand_in.base()));
    // Accounts of nobody's but the person's own are not an organization's.
    *stand_in.tenant.lock().unwrap() = "9188040d-6c67-4c5b-b112-36a304b66dad";
    assert_eq!(check(log_in(&*all).await), "tenant");

    // A token that says one tenant, and comes from another's issuer.
    *stand_in.tenant.lock().unwrap() = MINE;
    *stand_in.said_tenant.lock().unwrap() = Some(OTHER_TENANT);
    assert_eq!(check(log_in(&*all).await), "issuer");
    *stand_in.said_tenant.lock().unwrap() = None;
    log_in(&*all).await.unwrap();

    // A key of one tenant's own signs for no other.
    *stand_in.key_of.lock().unwrap() = Some(OTHER_TENANT);
    let strict = connected(&stand_in, "allow = \"anyone\"\ntenant = \"organizations\"");
    assert_eq!(check(log_in(&*strict).await), "signature");
    *stand_in.tenant.lock().unwrap() = OTHER_TENANT;
    log_in(&*strict).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_adds_to_a_request_goes_along() {
    let stand_in = StandIn::start(&GITHUB, vec![CALLBACK.into()]).await;
    let more =
        "allow = { groups = [\"corp\"] }\n[provider.authorization_parameters]\nallow_signup = \"false\"";
    let begun = connected(&stand_in, more).begin(CALLBACK, "state", LoginHints::default()).await.unwrap();
    let BrowserAction::Redirect(url) = begun.action else { panic!("a form") };
    assert!(url.query_pairs().any(|(name, value)| name == "allow_signup" && value == "false"), "{url}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_to_nobody_but_its_own_provider() {
    let (here, there) = (
        StandIn::start(&GITHUB, vec![CALLBACK.into()]).await,
        StandIn::start(&GITHUB, vec![CALLBACK.into()]).await,
    );
    let provider = connected(&here, "allow = { groups = [\"corp\"] }");
    let groups = async || log_in(&*provider).await.unwrap().claims["groups"].clone();
    assert_eq!(groups().await, json!(["corp", "guild", "corp/owners"]));
    *here.elsewhere.lock().unwrap() = Some(there.base());
    assert_eq!(groups().await, json!(["corp", "corp/owners"]));
    assert_eq!(there.asked.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn facebook_says_in_its_own_way_that_a_token_is_over() {
    let stand_in = StandIn::start(&FACEBOOK, vec![CALLBACK.into()]).await;
    let provider = connected(&stand_in, "allow = \"anyone\"");
    let mut tokens = log_in(&*provider).await.unwrap().tokens;
    // As a token without an end is asked with again.
    tokens.refresh_token = Some(tokens.access_token.clone());
    let alice = Identity {
        issuer: stand_in.base(),
        subject: "10219876543210".into(),
        provider: "it".into(),
        saml: false,
    };
    provider.renew(&tokens, &alice).await.unwrap().identity.unwrap();
    stand_in.revoke();
    let refused = provider.renew(&tokens, &alice).await.unwrap().identity;
    assert!(matches!(refused, Err(ProviderError::Refused { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_was_asked_too_often_takes_nobody_s_groups_away() {
    let stand_in = StandIn::start(&GITHUB, vec![CALLBACK.into()]).await;
    let provider = connected(&stand_in, "allow = { groups = [\"corp\"] }");
    let identity = log_in(&*provider).await.unwrap();
    stand_in.limited.store(true, std::sync::atomic::Ordering::Relaxed);
    let renewed = provider.renew(&identity.tokens, &account(&identity)).await.unwrap().identity;
    assert!(matches!(renewed, Err(ProviderError::Unavailable(_))), "{renewed:?}");
}

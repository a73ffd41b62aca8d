//! Routes of several hosts and of wildcards, and the health answer of every host.

use crate::support::config_errors::assert_each_reported;
use crate::support::narthex::NarthexBuilder;
use crate::support::parties::OpenIdProvider;
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, assert_status, location};
use reqwest::Method;
use reqwest::cookie::CookieStore as _;
use reqwest::header::{COOKIE, HOST};

#[test]
fn mistakes_in_hosts_are_told() {
    let good = "public_url = \"https://auth.example.com\"\n[[route]]\nhost = [\"a.example.com\", \"*.example.com\"]\n\
                upstream = \"http://127.0.0.1:1\"\naccess = \"public\"\n[[route]]\nhost = \"*.example.org\"\npath = \"/x\"\n\
                upstream = \"http://127.0.0.1:2\"\naccess = \"public\"\n";
    assert_each_reported(
        good,
        &[
            ("[\"a.example.com\", \"*.example.com\"]", "[]", "`host` is empty"),
            ("a.example.com", "*.example.com", "two routes are for *.example.com/"),
            ("a.example.com", "auth.example.com", "auth.example.com serves the sign-in pages"),
            ("*.example.org", "*.*.example.org", "is not a host"),
            ("*.example.org", "a*.example.org", "is not a host"),
            ("*.example.org", "*", "is not a host"),
            (
                "*.example.org\"\npath = \"/x\"",
                "*.example.com\"\npath = \"/x\"\nsame_site = \"none\"",
                "differ in `same_site`",
            ),
        ],
    );
    assert_each_reported(
        &format!("{good}[listen]\nunix_socket = \"unix:///run/narthex/http.sock\"\n"),
        &[
            ("unix:///run/narthex/http.sock", "/run/narthex/http.sock", "is not a Unix socket"),
            ("unix:///run/narthex/http.sock", "unix://narthex.sock", "is not the absolute path of a socket"),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_host_of_a_wildcard_is_a_host_of_its_own() {
    let (tenants, own) = (Upstream::start().await, Upstream::start().await);
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("*.tenant", tenants.port, "")
        .route("*.tenant", tenants.port, "path = \"/open\"\naccess = \"public\"")
        .route("own.tenant", own.port, "path = \"/only\"")
        .tables(&format!(
            "[[route]]\nhost = [\"one.localhost\", \"two.localhost\"]\nupstream = \"http://127.0.0.1:{}\"\n",
            tenants.port
        ))
        .start();
    let visitor = Visitor::new(&narthex);
    let url = |host: &str, path: &str| format!("{}{path}", narthex.origin(host));
    for host in ["a.tenant", "b.tenant", "one", "two"] {
        // A session is one host's: each asks for its own, which the provider gives without a
        // question.
        assert_status(&visitor.get(&url(host, "/")).await, 303);
        let seen: Seen = visitor.sign_in(&url(host, "/"), "alice").await.json().await.unwrap();
        assert_eq!(seen.claims()["aud"], url(host, "/"));
        assert_eq!(seen.header("x-forwarded-host"), format!("{host}.localhost:{}", narthex.https));
        assert_eq!(seen.header("host"), format!("{host}.localhost:{}", narthex.https));
    }
    // What was signed for one host is not sent to another, whichever comes first.
    for host in ["b.tenant", "a.tenant", "B.TENANT"] {
        let seen: Seen = visitor.get(&url(host, "/x")).await.json().await.unwrap();
        assert_eq!(seen.claims()["aud"], url(&host.to_lowercase(), "/"));
    }
    // The cookie of one host is nothing to another.
    let cookie = visitor.jar.cookies(&url("a.tenant", "/").parse().unwrap()).unwrap();
    let stranger = Visitor::new(&narthex);
    let stolen =
        stranger.client.get(url("c.tenant", "/")).header("accept", "text/html").header(COOKIE, cookie);
    assert_status(&stolen.send().await.unwrap(), 303);
    assert_status(&stranger.request_json(Method::GET, &url("c.tenant", "/open")).await, 200);
    // A host that is named has its own routes, and no others.
    let seen: Seen = visitor.sign_in(&url("own.tenant", "/only/x"), "alice").await.json().await.unwrap();
    assert_eq!(seen.claims()["aud"], url("own.tenant", "/only"));
    assert_eq!(own.seen().len(), 1);
    assert_status(&visitor.get(&url("own.tenant", "/open")).await, 404);
    assert_status(&visitor.get(&url("own.tenant", "/")).await, 404);
    // One label, and not none or two. Nothing has a certificate there, so the name is only said.
    for host in ["tenant.localhost", "x.a.tenant.localhost", ".tenant.localhost", "atenant.localhost"] {
        let answer = stranger.client.get(url("a.tenant", "/open")).header(HOST, host).send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 400 | 404), "{host}: {}", answer.status());
    }
    // Nor is a code sent to such a host.
    let asked = location(&stranger.get(&url("c.tenant", "/")).await).to_string();
    assert!(asked.contains("c.tenant.localhost"), "{asked}");
    assert_status(&stranger.get(&asked.replace("c.tenant", "x.c.tenant")).await, 400);
    assert_status(&stranger.get(&asked.replace("c.tenant", "tenant")).await, 400);
    assert_status(&stranger.get(&asked.replace("c.tenant", "d.tenant")).await, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_callback_leads_to_no_wildcard() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder.tables(&provider.toml("\"anyone\"")).route("*.tenant", upstream.port, "").start();
    // The tag in the state is not authenticated: anyone can write one that names the pattern.
    let origin = narthex.origin("*.tenant");
    let host = origin.rsplit_once(':').unwrap().0.split_once("//").unwrap().1;
    let state = narthex::base::base64url_encode([&[0; 24][..], &narthex::base::sha256(host)[..3]].concat());
    let callback = format!("{}/oauth2/idpresponse/corp?state={state}&code=x", narthex.origin("auth"));
    let page = Visitor::new(&narthex).get(&callback).await;
    assert_status(&page, 400);
    let text = page.text().await.unwrap();
    assert!(!text.contains("//*."), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_does_not_reach_the_sign_in_pages() {
    let app = Upstream::start().await;
    let narthex = NarthexBuilder::new()
        .public_url("auth.corp", "/.narthex/pages")
        .route("*.corp", app.port, "access = \"public\"")
        .start();
    let visitor = Visitor::new(&narthex);
    assert_status(&visitor.get(&format!("{}/", narthex.origin("any.corp"))).await, 200);
    assert_status(&visitor.get(&format!("{}/", narthex.origin("auth.corp"))).await, 404);
    assert_eq!(app.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_asks_the_serving_port_whether_it_serves() {
    let app = Upstream::start().await;
    let narthex = NarthexBuilder::new().route("app", app.port, "access = \"public\"").start();
    let visitor = Visitor::new(&narthex);
    let tls = format!("{}/.narthex/healthz", narthex.origin("app"));
    let plain = format!("http://127.0.0.1:{}/.narthex/healthz", narthex.http);
    for url in [&tls, &plain] {
        let answer = visitor.request_json(Method::GET, url).await;
        assert_status(&answer, 200);
        assert!(answer.headers().contains_key("x-request-id"));
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.text().await.unwrap(), "alive\n");
        assert_status(&visitor.request_json(Method::HEAD, url).await, 200);
    }
    let old = Visitor::with_client(&narthex, |builder| builder.http1_only());
    let by_address = old.client.get(&tls).header(HOST, "10.0.0.1:8443").send().await.unwrap();
    assert_status(&by_address, 200);
    // Nothing else is answered so.
    assert_status(&visitor.request_json(Method::POST, &tls).await, 404);
    assert_status(&visitor.request_json(Method::GET, &format!("{tls}/x")).await, 404);
    assert_status(&visitor.request_json(Method::GET, &plain.replace("healthz", "other")).await, 404);
    assert!(app.seen().is_empty());
}

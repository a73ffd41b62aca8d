//! Existing apps behind Narthex, unchanged.

use crate::support::narthex::NarthexBuilder;
use crate::support::parties::OpenIdProvider;
use crate::support::process::{Party, free_port, parties, wait_for_port};
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, is};
use reqwest::Method;

#[tokio::test(flavor = "multi_thread")]
async fn radicale_believes_the_header_and_keeps_each_persons_calendars_apart() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _radicale = Party::start(
        parties().join("venv/bin/radicale"),
        &[
            "--config",
            "",
            &format!("--server-hosts=127.0.0.1:{port}"),
            "--auth-type=http_x_remote_user",
            &format!("--storage-filesystem-folder={}", folder.path().display()),
            "--rights-type=owner_only",
        ],
    );
    wait_for_port(port);
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("calendar", port, "[route.headers]\nX-Remote-User = \"${name}\"")
        .start();
    let origin = narthex.origin("calendar");
    let (alice, bob) = (Visitor::new(&narthex), Visitor::new(&narthex));
    for (visitor, login) in [(&alice, "alice"), (&bob, "bob")] {
        is(&visitor.land(&format!("{origin}/.web/"), login).await, 200);
    }
    let make = Method::from_bytes(b"MKCALENDAR").unwrap();
    let propfind = Method::from_bytes(b"PROPFIND").unwrap();
    is(&alice.program(make.clone(), &format!("{origin}/alice/work/")).await, 201);
    is(&alice.program(propfind.clone(), &format!("{origin}/alice/work/")).await, 207);
    is(&bob.program(propfind.clone(), &format!("{origin}/alice/work/")).await, 403);
    is(&bob.program(make, &format!("{origin}/alice/theft/")).await, 403);
    let liar = bob.client.request(propfind, format!("{origin}/alice/work/")).header("X-Remote-User", "alice");
    is(&liar.send().await.unwrap(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_for_a_load_balancer_verifies_the_assertion_with_the_keys_that_we_publish() {
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let (port, other) = (free_port(), Upstream::start().await);
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", port, "name = \"photos\"")
        .route("other", other.port, "")
        .start();
    let visitor = Visitor::new(&narthex);
    let landed = visitor.land(&format!("{}/", narthex.origin("other")), "alice").await;
    is(&landed, 200);
    let elsewhere: Seen = landed.json().await.unwrap();
    let header = elsewhere.one("x-amzn-oidc-data").split('.').next().unwrap().to_owned();
    let header: serde_json::Value = {
        use base64::Engine as _;
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap())
            .unwrap()
    };
    let (client, signer) = (header["client"].as_str().unwrap(), header["signer"].as_str().unwrap());
    let signer = signer.replace("/other-localhost-/", "/photos/");
    let app = narthex.origin("app");
    let arguments = [&port.to_string(), &narthex.origin("auth"), &signer, client, &format!("{app}/")];
    let authority = narthex.folder().join("certs/local-authority.pem");
    let _app = Party::node_with("assertion-app.mjs", &arguments, &[("NODE_EXTRA_CA_CERTS", &authority)]);

    let landed = visitor.follow(&format!("{app}/")).await;
    is(&landed, 200);
    let told: serde_json::Value = landed.json().await.unwrap();
    assert_eq!(told["byPem"], "alice@corp.example");
    assert_eq!(told["byKeySet"], "alice@corp.example");
    assert_eq!(told["sub"], elsewhere.one("x-amzn-oidc-identity"));

    // ALBeast: an assertion for another route is none for this one, whoever brings it.
    let direct = reqwest::Client::new().get(format!("http://127.0.0.1:{port}/"));
    let stolen = direct.header("x-amzn-oidc-data", elsewhere.one("x-amzn-oidc-data")).send().await.unwrap();
    is(&stolen, 403);
    let why = stolen.text().await.unwrap();
    assert!(why.contains("ALB ARN"), "{why}");
}

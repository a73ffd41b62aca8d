//! The look of the sign-in pages, from the configuration file and from the API.

use crate::support::aws::{Api, create, exception, ok, text};
use crate::support::branding::{CSS, LOGO, declared};
use crate::support::hosted::{HostedScene, POOL, Page};
use crate::support::visitor::{Visitor, assert_status};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// A PNG of one pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// Returns the errors of a configuration with these keys in `[user_pool.branding]`.
fn errors(keys: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("brand")).unwrap();
    for (name, content) in [("logo.svg", LOGO), ("page.html", "<html>"), ("wrong.css", "body { color: red }")]
    {
        std::fs::write(folder.path().join("brand").join(name), content).unwrap();
    }
    std::fs::write(folder.path().join("brand/large.svg"), format!("{LOGO}{}", " ".repeat(102_400))).unwrap();
    let text =
        format!("public_url = \"https://auth.example.com\"\n[[user_pool]]\n[user_pool.branding]\n{keys}\n");
    let read = narthex::config::Config::parse(&text, "narthex.toml", folder.path(), &|_| None);
    read.err().map(|found| found.to_string()).unwrap_or_default()
}

#[test]
fn colors_must_be_readable_and_files_what_they_are_named() {
    for keys in
        ["accent = \"#0b5cad\"\nbackground = \"#fff\"", "name = \"A\"", "logo = \"brand/logo.svg\"", ""]
    {
        assert_eq!(errors(keys), "", "{keys}");
    }
    for (keys, message) in [
        ("accent = \"#ffdd00\"", "text has a contrast of 1.2 with `accent` \"#ffdd00\", and needs 4.5"),
        ("accent_dark = \"#000080\"", "with `accent_dark` \"#000080\""),
        ("background = \"#808080\"", "with `background` \"#808080\""),
        ("background_dark = \"#ffffff\"", "with `background_dark` \"#ffffff\""),
        // A link below the card stands on the background.
        ("accent = \"#0b5cad\"\nbackground = \"#a9a9a9\"", "with `accent` \"#0b5cad\""),
        ("accent = \"blue\"", "\"blue\" is not a color"),
        ("logo = \"brand/page.html\"", "is no image of a known format"),
        ("logo = \"brand/large.svg\"", "larger than 102400 bytes"),
        ("logo = \"brand/none.svg\"", "cannot read"),
        ("css = \"brand/wrong.css\"", "`body` is not one of the classes"),
        ("support_url = \"javascript:alert(1)\"", "is not https"),
        ("terms_url = \"http://example.com\"", "is not https"),
        ("name = \"\"", "is not a name"),
    ] {
        let found = errors(keys);
        assert!(found.contains(message) && found.contains("help: "), "{keys}:\n{found}");
    }
    // The color that the message names is good enough.
    let found = errors("accent = \"#ffdd00\"");
    let better = found.split("such as accent = \"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(errors(&format!("accent = \"{better}\"")), "", "{better}");
}

/// Returns the addresses after `before` in a page.
fn addresses(page: &Page, before: &str) -> Vec<String> {
    let after = page.html.split(before).skip(1).map(|rest| rest.split('"').next().unwrap());
    after.map(|href| page.url.join(href).unwrap().to_string()).collect()
}

fn style(page: &Page) -> String {
    addresses(page, "<link rel=\"stylesheet\" href=\"").remove(0)
}

/// Returns the address of a client's sign-in page.
fn login(auth: &str, client: &str, callback: &str) -> String {
    format!(
        "{auth}/login?response_type=code&client_id={client}&redirect_uri={callback}&scope=openid&state=s\
         &code_challenge={CHALLENGE}&code_challenge_method=S256"
    )
}

async fn body(visitor: &Visitor, url: &str, media_type: &str) -> String {
    let response = visitor.get(url).await;
    assert_status(&response, 200);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        (header("content-type"), header("x-content-type-options")),
        (media_type.into(), "nosniff".into())
    );
    assert_eq!(header("cache-control"), "public, max-age=31536000, immutable", "{url}");
    String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_the_look_of_their_client_or_pool() {
    let scene = declared("").await;
    let visitor = scene.visitor();
    let auth = scene.api.narthex.origin("auth");
    let page = visitor.open(&scene.app).await;
    page.assert_shows("alt=\"Example &#60;Photos&#62;\"");
    page.assert_shows("href=\"https://example.com/help\"");
    let css = body(&visitor, &style(&page), "text/css; charset=utf-8").await;
    assert!(
        css.contains(":root { --accent: #0b5cad;") && css.starts_with(":root {\n  color-scheme"),
        "{css}"
    );
    assert!(page.html.len() + css.len() <= 30_000, "{} + {}", page.html.len(), css.len());
    let logo = addresses(&page, "<img class=\"logo-customizable\" src=\"").remove(0);
    assert_eq!(addresses(&page, "<link rel=\"icon\" href=\""), std::slice::from_ref(&logo));
    assert_eq!(body(&visitor, &logo, "image/svg+xml").await, LOGO);
    let policy = visitor.get(&logo).await.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
    let forgot = visitor.open(&page.link("Forgot your password?")).await;
    assert_eq!(style(&forgot), style(&page));
    // A client's keys replace those of the pool.
    let of_client = visitor.open(&login(&auth, "photos", "https://photos.example/callback")).await;
    of_client.assert_shows("alt=\"Example &#60;Photos&#62;\"");
    of_client.assert_shows("href=\"mailto:terms@example.com\"");
    let css = body(&visitor, &style(&of_client), "text/css; charset=utf-8").await;
    assert!(css.contains("--accent: #1b6b3a;") && css.contains(CSS), "{css}");
    // Another name is no file; a stylesheet of another version is the standard one, for this once.
    assert_status(&visitor.get(&logo.replace(".svg", ".png")).await, 404);
    let other = visitor.get(&style(&page).replace(".css", "x.css")).await;
    assert_eq!(other.headers()["cache-control"], "no-store");
    assert!(!other.text().await.unwrap().contains("#0b5cad"));
    // The API does not change what the file declares.
    let pool = scene.api.pool_id();
    let request = json!({ "UserPoolId": pool, "CSS": CSS });
    let refused = exception(&mut scene.api.boto(), "SetUICustomization", request);
    assert_eq!(refused, "OperationNotEnabledException");
}

fn png() -> Value {
    json!({ "base64": PNG })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_sets_css_and_a_logo_for_a_client_or_the_pool() {
    let scene = HostedScene::start(POOL).await;
    let (visitor, auth) = (scene.visitor(), scene.api.narthex.origin("auth"));
    let mut boto = scene.api.boto();
    let pool = text(&create(&mut boto, json!({}))["Id"]);
    let client = json!({
        "UserPoolId": pool, "ClientName": "app", "CallbackURLs": ["https://app.example/in"],
        "AllowedOAuthFlows": ["code"], "AllowedOAuthScopes": ["openid"], "AllowedOAuthFlowsUserPoolClient": true,
        "SupportedIdentityProviders": ["COGNITO"],
    });
    let client = text(&ok(&mut boto, "CreateUserPoolClient", client)["UserPoolClient"]["ClientId"]);
    let login = login(&auth, &client, "https://app.example/in");
    let get = json!({ "UserPoolId": pool, "ClientId": client });
    assert_eq!(ok(&mut boto, "GetUICustomization", get.clone())["UICustomization"], json!({}));
    assert!(style(&visitor.open(&login).await).ends_with("/.narthex/style.css"));
    // The pool's look applies to each of its clients.
    let set = json!({ "UserPoolId": pool, "CSS": CSS, "ImageFile": png() });
    let of_pool = ok(&mut boto, "SetUICustomization", set)["UICustomization"].clone();
    assert_eq!((&of_pool["ClientId"], &of_pool["CSS"]), (&json!("ALL"), &json!(CSS)));
    assert_eq!(ok(&mut boto, "GetUICustomization", get.clone())["UICustomization"], of_pool);
    let page = visitor.open(&login).await;
    let logo = addresses(&page, "<img class=\"logo-customizable\" src=\"").remove(0);
    assert_eq!(logo, of_pool["ImageUrl"]);
    body(&visitor, &logo, "image/png").await;
    assert_eq!(visitor.get(&logo).await.bytes().await.unwrap(), STANDARD.decode(PNG).unwrap());
    assert!(body(&visitor, &style(&page), "text/css; charset=utf-8").await.contains(CSS));
    // A client's look replaces it, and a change of the client leaves it.
    let own = ".label-customizable { color: red }";
    ok(&mut boto, "SetUICustomization", json!({ "UserPoolId": pool, "ClientId": client, "CSS": own }));
    let rename = json!({
        "UserPoolId": pool, "ClientId": client, "ClientName": "renamed",
        "CallbackURLs": ["https://app.example/in"], "AllowedOAuthFlows": ["code"], "AllowedOAuthScopes": ["openid"],
        "AllowedOAuthFlowsUserPoolClient": true, "SupportedIdentityProviders": ["COGNITO"],
    });
    ok(&mut boto, "UpdateUserPoolClient", rename);
    let page = visitor.open(&login).await;
    assert!(!page.html.contains("logo-customizable"), "{}", page.html);
    let css = body(&visitor, &style(&page), "text/css; charset=utf-8").await;
    assert!(css.contains(own) && !css.contains(CSS), "{css}");
    // Without CSS and image the pool's look applies again.
    ok(&mut boto, "SetUICustomization", json!({ "UserPoolId": pool, "ClientId": client }));
    assert_eq!(ok(&mut boto, "GetUICustomization", get)["UICustomization"], of_pool);
    // The look of another pool is not found here.
    let other = text(&create(&mut boto, json!({}))["Id"]);
    let foreign = json!({ "UserPoolId": other, "ClientId": client });
    assert_eq!(exception(&mut boto, "GetUICustomization", foreign.clone()), "ResourceNotFoundException");
    assert_eq!(exception(&mut boto, "SetUICustomization", foreign), "ResourceNotFoundException");
    assert_status(&visitor.get(&logo.replace(&pool, &other)).await, 404);
    ok(&mut boto, "DeleteUserPool", json!({ "UserPoolId": pool }));
    assert_status(&visitor.get(&logo).await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_takes_no_css_and_no_image_that_reach_further() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let pool = api.pool_id();
    let svg = STANDARD.encode(LOGO);
    let html = STANDARD.encode("<html><script>alert(1)</script>");
    let large = STANDARD.encode([&STANDARD.decode(PNG).unwrap()[..], &[0; 100 * 1024]].concat());
    for wrong in [
        json!({ "CSS": ".logo-customizable { background: url(https://evil.example/a) }" }),
        json!({ "CSS": "body { color: red }" }),
        json!({ "CSS": "@import 'https://evil.example/a.css';" }),
        json!({ "CSS": ".logo-customizable { color: red } </style><script>alert(1)</script>" }),
        json!({ "CSS": ".logo-customizable { position: fixed }" }),
        json!({ "CSS": " ".repeat(131_073) }),
        json!({ "ImageFile": { "base64": svg } }),
        json!({ "ImageFile": { "base64": html } }),
        json!({ "ImageFile": { "base64": large } }),
    ] {
        let mut request = wrong.clone();
        request["UserPoolId"] = json!(pool);
        let raised = exception(&mut boto, "SetUICustomization", request);
        assert_eq!(raised, "InvalidParameterException", "{wrong:.200}");
    }
    // The largest customization fits into a request.
    let full = STANDARD.encode([&STANDARD.decode(PNG).unwrap()[..], &[0; 100 * 1000]].concat());
    let css = format!("{CSS}{}", " ".repeat(131_072 - CSS.len()));
    let set = json!({ "UserPoolId": pool, "CSS": css, "ImageFile": { "base64": full } });
    ok(&mut boto, "SetUICustomization", set);
}

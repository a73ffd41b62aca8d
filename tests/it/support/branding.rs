//! A pool whose pages have a look of their own.

use super::aws::Api;
use super::hosted::{HostedScene, POOL};
use super::mail::MailServer;
use super::upstream::Upstream;

/// An image with a script, which runs nowhere.
pub const LOGO: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"48\" height=\"48\"><rect width=\"48\" height=\"48\" fill=\"#0b5cad\"/><script>alert(1)</script></svg>";
/// The look of a pool and of a client.
const BRANDING: &str = r##"
[user_pool.branding]
name = "Example <Photos>"
logo = "brand/logo.svg"
favicon = "brand/logo.svg"
accent = "#0b5cad"
support_url = "https://example.com/help"
[[user_pool.client]]
name = "photos"
id = "photos"
allowed_oauth_flows = ["code"]
allowed_oauth_scopes = ["openid"]
callback_urls = ["https://photos.example/callback"]
[user_pool.client.branding]
accent = "#1b6b3a"
css = "brand/photos.css"
terms_url = "mailto:terms@example.com"
"##;
/// The stylesheet of the client.
pub const CSS: &str = ".submitButton-customizable { border-radius: 4px }";

/// A pool in the file with a look, and an app behind the gateway.
pub async fn declared(tables: &str) -> HostedScene {
    let (upstream, mail) = (Upstream::start().await, MailServer::start("starttls", &[]));
    let builder = Api::builder(&mail, &format!("{POOL}{BRANDING}{tables}"));
    let builder = builder.file("brand/logo.svg", LOGO).file("brand/photos.css", CSS);
    let narthex = builder.route("app", upstream.port, "").start();
    let app = format!("{}/", narthex.origin("app"));
    HostedScene { api: Api { narthex, mail }, upstream, app }
}

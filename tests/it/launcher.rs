//! The home page: the apps that a user may open, with their names and icons.

use crate::support::aws::{Api, ok};
use crate::support::hosted::{HostedScene, PASSWORD, POOL, Page};
use crate::support::mail::MailServer;
use crate::support::upstream::Upstream;
use crate::support::visitor::assert_status;
use serde_json::json;

const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"8\" height=\"8\"/>";
const TABLES: &str = r#"
[[role]]
name = "reader"
policies = ["reader.json"]
[[identity_pool]]
name = "main"
authenticated_role = "reader"
"#;

fn policy(resources: &[&str]) -> String {
    let arn = |what: &&str| format!("arn:aws:execute-api:*:*:{what}");
    let resources: Vec<_> = resources.iter().map(arn).collect();
    json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resources },
    ] })
    .to_string()
}

async fn scene() -> HostedScene {
    let (upstream, mail) = (Upstream::start().await, MailServer::start("starttls", &[]));
    let port = upstream.port;
    let narthex = Api::builder(&mail, &format!("{POOL}{TABLES}"))
        .file("reader.json", policy(&["drafts/$default/GET/public/*", "desk/$default/GET/desk/*"]))
        .file("brand/news.svg", ICON)
        .route("app", port, "title = \"Albums\"\nicon = \"photo\"")
        .route("news", port, "title = \"News <daily>\"\nicon = \"brand/news.svg\"\naccess = \"public\"")
        .route("staff", port, "allowed_groups = [\"staff\"]")
        .route("staff", port, "path = \"/tools/\"\nallowed_groups = [\"staff\"]")
        .route("drafts", port, "name = \"drafts\"\ntitle = \"Drafts\"\naccess = \"policy\"\nidentity_pool = \"main\"")
        .route(
            "desk",
            port,
            "name = \"desk\"\npath = \"/desk/\"\ntitle = \"Desk\"\naccess = \"policy\"\nidentity_pool = \"main\"",
        )
        .start();
    let app = format!("{}/", narthex.origin("app"));
    HostedScene { api: Api { narthex, mail }, upstream, app }
}

/// Signs a member of these groups in, and opens the home page.
async fn home(scene: &HostedScene, name: &str, groups: &[&str]) -> Page {
    let mut boto = scene.api.boto();
    scene.create_user(&mut boto, name);
    for group in groups {
        let member = json!({ "UserPoolId": scene.api.pool_id(), "Username": name, "GroupName": group });
        if boto.call("AdminAddUserToGroup", member.clone()).is_err() {
            ok(&mut boto, "CreateGroup", json!({ "UserPoolId": scene.api.pool_id(), "GroupName": group }));
            ok(&mut boto, "AdminAddUserToGroup", member);
        }
    }
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    let back = visitor.submit_onward(&page, &[("username", name), ("password", PASSWORD)]).await;
    assert_status(&visitor.follow(&back).await, 200);
    let page = visitor.open(&scene.api.narthex.origin("auth")).await;
    // What is listed opens.
    for href in page.html.split("<a class=\"button\" href=\"").skip(1) {
        let href = href.split('"').next().unwrap();
        assert_status(&visitor.follow(href).await, 200);
    }
    page
}

/// Returns the names of the listed apps.
fn names(page: &Page) -> Vec<String> {
    let list = page.html.split("<ul class=\"choices\">").nth(1).unwrap().split("</ul>").next().unwrap();
    let names = list.split("<span>").skip(1).map(|rest| rest.split("</span>").next().unwrap().to_owned());
    names.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_the_apps_that_open_and_no_others() {
    let scene = scene().await;
    let page = home(&scene, "ada", &[]).await;
    assert_eq!(names(&page), ["Albums", "Desk", "News &#60;daily&#62;"]);
    // An icon is one of the built-in ones, or a file.
    page.assert_shows("<svg class=\"icon\"");
    let icon = page.html.split("<img class=\"icon\" src=\"").nth(1).unwrap().split('"').next().unwrap();
    let response = scene.visitor().get(icon).await;
    assert_eq!(response.headers()["content-type"], "image/svg+xml");
    assert!(response.headers()["content-security-policy"].to_str().unwrap().contains("sandbox"));
    assert_eq!(response.text().await.unwrap(), ICON);
    assert_status(&scene.visitor().get(&icon.replace(".svg", ".png")).await, 404);
    let page = home(&scene, "bob", &["staff"]).await;
    assert_eq!(names(&page), ["Albums", "Desk", "News &#60;daily&#62;", "staff.localhost"]);
}

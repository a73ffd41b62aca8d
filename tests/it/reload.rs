//! Changes of the configuration without a restart.

use crate::support::certificates;
use crate::support::client_credentials::oauth2_request;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::OpenIdProvider;
use crate::support::process::wait_until;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, get_with_token};
use serde_json::Value;
use std::os::unix::fs::symlink;
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_takes_effect_and_a_bad_one_is_told_and_forgotten() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder.tables(&provider.toml("\"anyone\"")).route("app", upstream.port, "").start();
    let visitor = Visitor::new(&narthex);
    let app = format!("{}/", narthex.origin("app"));
    assert_status(&visitor.sign_in(&app, "alice").await, 200);

    narthex.edit(|text| text.replace("host = \"app.localhost\"", "hots = \"app.localhost\""));
    narthex.wait_for_log("did you mean `host`?");
    assert_status(&visitor.get(&app).await, 200);

    narthex.edit(|text| text.replace("hots", "host") + "upstream_ca = \"absent.pem\"\n");
    narthex.wait_for_log("an upstream's authority or client certificate cannot be used");
    assert_status(&visitor.get(&app).await, 200);
    narthex.edit(|text| text.replace("upstream_ca = \"absent.pem\"\n", ""));

    let new = format!(
        "[[route]]\nhost = \"new.localhost\"\naccess = \"public\"\nupstream = \"http://127.0.0.1:{}\"\n",
        upstream.port
    );
    narthex.edit(|text| text + &new);
    narthex.signal("HUP");
    wait_until("the reload", || !narthex.audit("reload").is_empty());
    assert_status(&visitor.get(&format!("{}/", narthex.origin("new"))).await, 200);
    // Sessions continue.
    assert_status(&visitor.get(&app).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_serves_the_next_handshake() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("app.pem"), folder.path().join("app.key"));
    let make = |organization: &str| certificates::make(&cert, &key, organization, "app.localhost", 2);
    make("first");
    let tls = format!(
        "[[tls]]\nhosts = [\"app.localhost\"]\ncert = \"{}\"\nkey = \"{}\"\n",
        cert.display(),
        key.display()
    );
    let narthex =
        NarthexBuilder::new().tables(&tls).route("app", upstream.port, "access = \"public\"").start();
    let organization = || {
        let command = format!(
            "openssl s_client -connect 127.0.0.1:{} -servername app.localhost </dev/null 2>/dev/null | openssl x509 -noout -subject",
            narthex.https
        );
        String::from_utf8(Command::new("sh").args(["-c", &command]).output().unwrap().stdout).unwrap()
    };
    assert!(organization().contains("first"));
    make("second");
    wait_until("the second certificate", || organization().contains("second"));

    // A file of which a part cannot be used changes nothing, and a pipe that nobody writes to stops
    // nothing.
    let third = folder.path().join("third.pem");
    certificates::make(&third, &folder.path().join("third.key"), "third", "app.localhost", 2);
    let exchanged = |text: String| text.replace("app.pem", "third.pem").replace("app.key", "third.key");
    let dead = "[[role]]\nname = \"dead\"\npolicies = [\"dead.json\"]\n";
    let deny = serde_json::json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Deny", "Action": "execute-api:Invoek", "Resource": "*" } ] });
    std::fs::write(narthex.folder().join("dead.json"), deny.to_string()).unwrap();
    narthex.edit(|text| exchanged(text) + dead);
    narthex.wait_for_log("the policies cannot be used");
    assert!(organization().contains("second"));
    narthex.edit(|text| text.replace(dead, "").replace("third.", "app."));
    let pipe = folder.path().join("pipe.pem");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    narthex.edit(|text| text.replace("app.pem", "pipe.pem"));
    narthex.wait_for_log("it is no regular file");
    assert!(organization().contains("second"));
    narthex.edit(|text| text.replace("pipe.pem", "app.pem"));
    wait_until("the good file", || narthex.audit("reload").len() > 1);

    // A key of another certificate is reported, and the good pair goes on serving.
    let arguments = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let unrelated = Command::new("openssl").args(arguments).output().unwrap();
    std::fs::write(&key, unrelated.stdout).unwrap();
    narthex.wait_for_log("certificates cannot be used");
    assert!(organization().contains("second"));
}

/// A folder as Kubernetes mounts a secret: the files are links into a folder that one link names.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(secret: &str) -> Self {
        let mount = Self(tempfile::tempdir().unwrap());
        mount.exchange("first", secret);
        symlink("..data/secret", mount.0.path().join("secret")).unwrap();
        mount
    }

    fn exchange(&self, version: &str, secret: &str) {
        let folder = self.0.path();
        std::fs::create_dir(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join("secret"), secret).unwrap();
        symlink(version, folder.join("..new")).unwrap();
        std::fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    }

    fn file(&self) -> String {
        self.0.path().join("secret").display().to_string()
    }
}

/// Waits until a token is had by `secret`, and answers it.
async fn token_by(narthex: &Narthex, secret: &str) -> String {
    let begun = std::time::Instant::now();
    loop {
        let answer = asked_by(narthex, secret).await;
        if answer.status() == 200 {
            return answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
        }
        assert!(begun.elapsed().as_secs() < 20, "{secret} is not taken");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn asked_by(narthex: &Narthex, secret: &str) -> reqwest::Response {
    let form = [("grant_type", "client_credentials")];
    oauth2_request(narthex, "token").basic_auth("reporter", Some(secret)).form(&form).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_exchanged_takes_effect_by_itself() {
    const SECRETS: [&str; 3] =
        ["first-of-the-secrets-012345", "second-of-the-secrets-01234", "third-of-the-secrets-012345"];
    let (upstream, mount) = (Upstream::start().await, Mount::new(SECRETS[0]));
    let pool = format!(
        "[[user_pool]]\nname = \"people\"\n[[user_pool.resource_server]]\nidentifier = \"photos\"\nscopes = [\"read\"]\n\
         [[user_pool.client]]\nname = \"reporter\"\nid = \"reporter\"\nsecret = {{ file = \"{}\" }}\n\
         allowed_oauth_flows = [\"client_credentials\"]\nallowed_oauth_scopes = [\"photos/read\"]\n",
        mount.file()
    );
    let narthex = NarthexBuilder::new().tables(&pool).route("app", upstream.port, "bearer = true").start();
    assert_status(&get_with_token(&narthex, &token_by(&narthex, SECRETS[0]).await).await, 200);
    mount.exchange("second", SECRETS[1]);
    token_by(&narthex, SECRETS[1]).await;
    assert_status(&asked_by(&narthex, SECRETS[0]).await, 401);
    let reloads = narthex.audit("reload");
    assert_eq!(reloads.len(), 1);
    assert_eq!(reloads[0]["files"], mount.file(), "the log names it");

    // An empty file is reported by name, and the previous content stays in use.
    let written = mount.0.path().join("second/secret");
    std::fs::write(&written, "").unwrap();
    narthex.wait_for_log("has no content");
    let failed = narthex.audit("reload_failed");
    assert!(failed[0]["error"].as_str().unwrap().contains(&mount.file()), "{failed:?}");
    assert_status(&asked_by(&narthex, SECRETS[1]).await, 200);
    std::fs::write(&written, SECRETS[2]).unwrap();
    token_by(&narthex, SECRETS[2]).await;
    assert_status(&asked_by(&narthex, SECRETS[1]).await, 401);
}

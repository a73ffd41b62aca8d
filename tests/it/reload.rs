//! Changes without a restart.

use crate::support::certificates;
use crate::support::narthex::NarthexBuilder;
use crate::support::parties::OpenIdProvider;
use crate::support::process::wait_until;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, is};
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_takes_effect_and_a_bad_one_is_told_and_forgotten() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder.tables(&provider.toml("\"anyone\"")).route("app", upstream.port, "").start();
    let visitor = Visitor::new(&narthex);
    let app = format!("{}/", narthex.origin("app"));
    is(&visitor.land(&app, "alice").await, 200);

    narthex.edit(|text| text.replace("host = \"app.localhost\"", "hots = \"app.localhost\""));
    narthex.wait_for_log("did you mean `host`?");
    is(&visitor.get(&app).await, 200);

    narthex.edit(|text| text.replace("hots", "host") + "upstream_ca = \"absent.pem\"\n");
    narthex.wait_for_log("an upstream's authority cannot be used");
    is(&visitor.get(&app).await, 200);
    narthex.edit(|text| text.replace("upstream_ca = \"absent.pem\"\n", ""));

    let new = format!(
        "[[route]]\nhost = \"new.localhost\"\naccess = \"public\"\nupstream = \"http://127.0.0.1:{}\"\n",
        upstream.port
    );
    narthex.edit(|text| text + &new);
    narthex.signal("HUP");
    wait_until("the reload", || !narthex.audit("reload").is_empty());
    is(&visitor.get(&format!("{}/", narthex.origin("new"))).await, 200);
    // Whoever was signed in still is.
    is(&visitor.get(&app).await, 200);
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

    // A key that does not belong to the certificate is told, and the good pair goes on serving.
    let arguments = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let unrelated = Command::new("openssl").args(arguments).output().unwrap();
    std::fs::write(&key, unrelated.stdout).unwrap();
    narthex.wait_for_log("certificates cannot be used");
    assert!(organization().contains("second"));
}

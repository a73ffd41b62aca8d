//! `narthex check`: certificates, providers and listeners, its warnings and its exit code.

use crate::support::certificates;
use crate::support::config_errors::run_check;
use crate::support::parties::OpenIdProvider;
use crate::support::process::free_port;
use std::path::Path;
use std::process::Command;

#[test]
fn what_would_keep_people_out_is_found_before_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = |name: &str, days: u32, host: &str| {
        let path = |kind: &str| folder.path().join(format!("{name}.{kind}"));
        certificates::make(&path("pem"), &path("key"), "corp", host, days);
    };
    certificate("good", 90, "*.example.com");
    certificate("soon", 5, "*.example.com");
    certificate("other", 90, "other.example");
    let provider = OpenIdProvider::start("corp", "https://auth.example.com/oauth2/idpresponse/corp");
    let file = |cert: &str, key: &str, provider: &str| {
        format!(
            "public_url = \"https://auth.example.com\"\n[[tls]]\nhosts = [\"*.example.com\"]\n\
             cert = \"{cert}.pem\"\nkey = \"{key}.key\"\n{provider}[[route]]\nhost = \"app.example.com\"\n\
             upstream = \"http://127.0.0.1:3000\"\n"
        )
    };
    let up = provider.toml("\"anyone\"");
    let down = crate::support::parties::provider_toml("corp", free_port(), "\"anyone\"");
    let other_name = up.replace("http://127.0.0.1", "http://localhost");

    let (good, said, _) = run_check(folder.path(), &file("good", "good", &up));
    assert!(good, "{said}");
    assert!(said.contains("corp answers"), "{said}");
    assert!(said.contains("aud            https://app.example.com/\n"), "{said}");
    assert!(
        said.contains("redirect URI               https://auth.example.com/oauth2/idpresponse/corp"),
        "{said}"
    );
    let (good, said, _) = run_check(folder.path(), &file("soon", "soon", &up));
    assert!(good && said.contains("warning") && said.contains("it expires soon"), "{said}");
    for (text, problem) in [
        (file("other", "other", &up), "it is for other.example, not for *.example.com"),
        (file("good", "other", &up), "it is not the key of"),
        (file("absent", "good", &up), "absent.pem"),
        (file("good", "good", &up) + "upstream_ca = \"absent-ca.pem\"\n", "absent-ca.pem"),
        (file("good", "good", &up) + "upstream_ca = \"narthex.toml\"\n", "it holds no certificate"),
        (file("good", "good", &down), "corp: the provider is not available"),
        (
            file("good", "good", &other_name),
            "corp: the provider's answer cannot be read: its discovery document says the issuer is",
        ),
    ] {
        let (good, said, _) = run_check(folder.path(), &text);
        assert!(!good && said.contains(problem), "{problem}\nbut it said:\n{said}");
    }
}

/// What a command says in `folder`, and its exit code.
fn narthex(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_narthex")).args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

/// A file whose listeners are free, with these tables.
fn free(tables: &str) -> String {
    format!(
        "public_url = \"https://auth.example.com\"\n[listen]\nhttps = \"127.0.0.1:{}\"\nhttp = \"off\"\n\
         admin = \"127.0.0.1:{}\"\n{tables}",
        free_port(),
        free_port()
    )
}

#[test]
fn what_is_odd_is_a_warning_and_fails_where_it_is_to() {
    let folder = tempfile::tempdir().unwrap();
    let provider = OpenIdProvider::start("corp", "https://auth.example.com/oauth2/idpresponse/corp");
    let app = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = app.local_addr().unwrap().port();
    let route = |port: u16, more: &str| {
        format!(
            "[[route]]\nname = \"app\"\nhost = \"app.example.com\"\nupstream = \"http://127.0.0.1:{port}\"\n{more}\n"
        )
    };
    certificates::make(
        &folder.path().join("all.pem"),
        &folder.path().join("all.key"),
        "corp",
        "*.example.com",
        90,
    );
    let tls = "[[tls]]\nhosts = [\"*.example.com\"]\ncert = \"all.pem\"\nkey = \"all.key\"\n";
    let good = format!("{tls}{}", provider.toml("\"anyone\""));
    let run = |text: &str, strict: bool| {
        std::fs::write(folder.path().join("narthex.toml"), text).unwrap();
        narthex(folder.path(), if strict { &["check", "--strict"] } else { &["check"] })
    };
    let (code, said) = run(&free(&format!("{good}{}", route(port, ""))), true);
    assert_eq!(code, 0, "{said}");
    for words in [
        "there is no database yet",
        "`https` can listen on",
        "corp answers",
        "corp takes the client `narthex`",
        &format!("127.0.0.1:{port} answers"),
    ] {
        assert!(said.contains(words), "{words}:\n{said}");
    }
    let unused = free_port();
    for (text, words) in [
        (
            format!("{good}{}", route(unused, "")),
            format!("cannot connect to the upstream 127.0.0.1:{unused}"),
        ),
        (
            format!("{good}{}", route(port, "[route.headers]\nX-Dept = \"${custom:departmen}\"")),
            "no provider supplies the attribute `custom:departmen`".to_owned(),
        ),
        (
            format!("{tls}{}{}", provider.toml("{ groups = [\"team-*\"] }"), route(port, "")),
            "the `*` in \"team-*\" is compared literally".to_owned(),
        ),
    ] {
        let text = free(&text);
        let (code, said) = run(&text, false);
        assert!(code == 0 && said.contains("warning") && said.contains(&words), "{words}:\n{said}");
        let (code, said) = run(&text, true);
        assert!(code == 1 && said.contains("1 warning(s)"), "{said}");
    }
}

#[test]
fn a_public_provider_that_lets_anyone_in_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let provider = |kind: &str, more: &str| {
        format!(
            "[[provider]]\ntype = \"{kind}\"\nclient_id = \"x\"\nclient_secret = \"y\"\nallow = \"anyone\"\n{more}\n"
        )
    };
    for (text, is_warned) in [
        (provider("github", ""), true),
        (provider("oidc", "issuer = \"https://accounts.google.com\""), true),
        (provider("microsoft", "tenant = \"common\""), true),
        (provider("microsoft", "tenant = \"9188040d-6c67-4c5b-b112-36a304b66dae\""), false),
        (provider("gitlab", "base_url = \"https://gitlab.corp.example\""), false),
        (provider("oidc", "issuer = \"https://idp.corp.example\""), false),
    ] {
        std::fs::write(folder.path().join("narthex.toml"), free(&text)).unwrap();
        // No server is reachable here; other tests check those warnings.
        let (_, said) = narthex(folder.path(), &["check"]);
        assert_eq!(
            said.contains("allow = \"anyone\" lets in everybody with an account"),
            is_warned,
            "{text}\n{said}"
        );
    }
}

#[test]
fn what_cannot_work_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let provider = OpenIdProvider::start("corp", "https://auth.example.com/oauth2/idpresponse/corp");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let good = provider.toml("\"anyone\"");
    let (port, admin) = (free_port(), free_port());
    let listening = |https: &str, admin: u16| {
        format!(
            "public_url = \"https://auth.example.com\"\n[listen]\nhttps = \"{https}\"\nhttp = \"off\"\nadmin = \"127.0.0.1:{admin}\"\n{good}"
        )
    };
    for (text, words) in [
        (free(&good.replace("corp-secret", "other-secret")), "it does not take the client `narthex`"),
        (listening(&address, admin), "`https` cannot listen on"),
        (listening(&format!("127.0.0.1:{port}"), port), "another listener has the address"),
        (
            free(&format!("{good}[store]\nurl = \"sqlite:narthex.toml/x.db\"\n")),
            "the database cannot be made",
        ),
    ] {
        std::fs::write(folder.path().join("narthex.toml"), text).unwrap();
        let (code, said) = narthex(folder.path(), &["check"]);
        assert!(code == 1 && said.contains("problem") && said.contains(words), "{words}:\n{said}");
    }
}

#[test]
fn a_reader_that_is_gone_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("narthex.toml"), free("")).unwrap();
    for arguments in [&["check"][..], &["explain", "--guest", "GET", "https://auth.example.com/"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(arguments)
            .current_dir(folder.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !said.contains("panicked"), "{arguments:?}: {said}");
    }
}

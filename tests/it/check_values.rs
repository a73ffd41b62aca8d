//! `narthex check`: values from the environment and from files, and secrets that no message shows.

use crate::support::config_errors::{VALID_FILE, run_check};
use std::path::Path;

#[test]
fn any_value_may_be_in_the_environment_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("issuer"), "https://idp.example.com \n\n").unwrap();
    let text = r#"public_url = { env = "URL" }
state_dir = { env = "STATE" }
[listen]
connections = { env = "COUNT" }
trusted_proxies = ["10.0.0.1", { env = "PROXY" }]
[session]
idle = { env = "IDLE" }
persistent = { env = "FLAG" }
[[provider]]
type = "oidc"
issuer = { file = "issuer" }
client_id = { env = "ID" }
allow = { domains = [{ env = "DOMAIN" }] }
[[route]]
host = { env = "HOST" }
upstream = "http://127.0.0.1:3000"
[route.headers]
X-Of-The-Team = { env = "TEMPLATE" }
"#;
    let value = |name: &str| {
        Some(match name {
            "URL" => "https://auth.example.com",
            "STATE" => "/var/lib/narthex",
            "COUNT" => "77",
            "PROXY" => "10.0.0.2",
            "IDLE" => "30m",
            "FLAG" => "false",
            "ID" => "from ${somewhere}",
            "DOMAIN" => "example.com",
            "HOST" => "app.example.com",
            "TEMPLATE" => "${email}",
            _ => return None,
        })
    };
    let parse = |environment: &dyn Fn(&str) -> Option<String>| {
        narthex::config::Config::parse(text, "narthex.toml", folder.path(), environment)
    };
    let config =
        parse(&|name| value(name).map(str::to_owned)).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.state_dir, Path::new("/var/lib/narthex"));
    assert_eq!((config.listen.connections, config.listen.trusted_proxies.len()), (77, 2));
    assert_eq!((config.session.idle.as_secs(), config.session.persistent), (1800, false));
    let client = config.providers[0].client().unwrap();
    assert_eq!(client.id, "from ${somewhere}", "a value of the environment is taken as it is");
    assert_eq!(config.routes[0].headers[0].value.pieces(), [], "a value of the environment is no template");
    let issuer = folder.path().join("issuer");
    assert!(config.files.contains_key(&issuer), "it is read again when it changes");

    // Each that is missing is one mistake, whatever follows from its absence.
    for missing in ["URL", "STATE", "COUNT", "PROXY", "IDLE", "FLAG", "ID", "DOMAIN", "HOST", "TEMPLATE"] {
        let mistakes = parse(&|name| value(name).filter(|_| name != missing).map(str::to_owned)).unwrap_err();
        assert_eq!(mistakes.diagnostics.len(), 1, "{missing}:\n{mistakes}");
        assert!(mistakes.to_string().contains(&format!("no variable `{missing}`")), "{mistakes}");
    }
    for (name, wrong) in [("COUNT", "0"), ("COUNT", "many"), ("FLAG", "yes"), ("IDLE", ""), ("IDLE", "long")]
    {
        let with = |asked: &str| value(asked).map(|good| if asked == name { wrong } else { good }.to_owned());
        assert!(parse(&with).is_err(), "{name} = {wrong}");
    }
}

#[test]
fn an_unset_secret_is_one_mistake_however_many_keys_name_it() {
    let folder = tempfile::tempdir().unwrap();
    let provider = |name: &str| {
        format!(
            "[[provider]]\nname = \"{name}\"\ntype = \"oidc\"\nissuer = \"https://{name}.example.com\"\nclient_id = \"x\"\n\
             client_secret = {{ env = \"NOT_SET\" }}\nallow = \"anyone\"\n"
        )
    };
    let route = "[[route]]\nhost = \"app.example.com\"\nupstream = \"http://127.0.0.1:3000\"\n";
    let text =
        format!("public_url = \"https://auth.example.com\"\n{}{}{route}", provider("a"), provider("b"));
    let (good, _, said) = run_check(folder.path(), &text);
    assert!(!good);
    assert_eq!(said.matches("narthex.toml:").count(), 1, "{said}");
    // Without any provider it is another mistake.
    let (_, _, said) =
        run_check(folder.path(), &format!("public_url = \"https://auth.example.com\"\n{route}"));
    assert!(said.contains("no user can sign in for route"), "{said}");
}

#[test]
fn a_mistake_beside_a_secret_does_not_show_it() {
    let folder = tempfile::tempdir().unwrap();
    for wrong in [
        "[store]\nurl = \"postgres://narthex:hidden@db/narthex\"",
        "[store]\nurl = \"mysql://narthex:hidden@db/narthex\"",
        "[store]\nmaster_key = \"hidden\"",
        "[store]\nmaster_key = \"hidden-in-an-envelope-or-a-file\"",
        "[store]\nmaster_key = { value = \"hidden\" }",
        "[[provider]]\nclient_secret = \"hidden",
    ] {
        let (good, _, said) = run_check(folder.path(), &format!("{VALID_FILE}\n{wrong}\n"));
        assert!(!good && !said.contains("hidden"), "{said}");
    }
}

#[test]
fn no_message_shows_a_value_of_the_environment_or_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file("lines", "TOPSECRET-LINE1\nTOPSECRET-LINE2\n");
    file("control", "TOPSECRET\u{1}");
    file("open", "TOPSECRET ${");
    let environment = |name: &str| match name {
        "SECRET" => Some("TOPSECRET".to_owned()),
        "OPEN" => Some("${TOPSECRET".to_owned()),
        "LINES" => Some("TOPSECRET\nTOPSECRET".to_owned()),
        _ => None,
    };
    let errors = |head: &str, route: &str| {
        let text = format!(
            "{head}\n[[route]]\nhost = \"app.example.com\"\naccess = \"public\"\n{}{route}\n",
            if route.contains("upstream =") { "" } else { "upstream = \"http://127.0.0.1:3000\"\n" }
        );
        match narthex::config::Config::parse(&text, "narthex.toml", folder.path(), &environment) {
            Ok(_) => String::new(),
            Err(errors) => errors.to_string(),
        }
    };
    const URL: &str = "public_url = \"https://auth.example.com\"\n";
    let secret = "{ env = \"SECRET\" }";
    for (head, route) in [
        (format!("public_url = {secret}"), String::new()),
        (format!("{URL}region = {secret}"), String::new()),
        (format!("{URL}account_id = {secret}"), String::new()),
        (format!("{URL}[listen]\nhttps = {secret}"), String::new()),
        (format!("{URL}[listen]\ntrusted_proxies = [{secret}]"), String::new()),
        (format!("{URL}[listen]\nconnections = {secret}"), String::new()),
        (format!("{URL}[session]\nidle = {secret}"), String::new()),
        (format!("{URL}[session]\nsigned_out_url = {secret}"), String::new()),
        (format!("{URL}[log]\naccess = {secret}"), String::new()),
        (URL.to_owned(), format!("path = {secret}")),
        (URL.to_owned(), format!("upstream = {secret}")),
        (URL.to_owned(), format!("upstream = [{secret}, \"http://h\"]")),
        (URL.to_owned(), format!("timeout = {secret}")),
        (URL.to_owned(), format!("cors_origins = [{secret}]")),
        (URL.to_owned(), "[route.headers]\nX-Api-Key = { file = \"lines\" }".to_owned()),
        (URL.to_owned(), "[route.headers]\nX-Api-Key = { file = \"control\" }".to_owned()),
        (URL.to_owned(), "[route.headers]\nX-Api-Key = { env = \"LINES\" }".to_owned()),
        (URL.to_owned(), "upstream = \"http://u:TOPSECRET@h/\"".to_owned()),
        (URL.to_owned(), "upstream = \"http://u:TOP/SECRET@h/\"".to_owned()),
    ] {
        let errors = errors(&head, &route);
        let shown = errors.contains("TOPSECRET") || errors.contains("SECRET@");
        assert!(!errors.is_empty() && !shown, "{head}{route}:\n{errors}");
    }
    for header in ["{ file = \"open\" }", "{ env = \"OPEN\" }"] {
        assert_eq!(errors(URL, &format!("[route.headers]\nX-Api-Key = {header}")), "");
    }
    let named = errors(&format!("{URL}[log]\naccess = {secret}"), "");
    assert!(named.contains("`access` cannot be { env = \"SECRET\" }"), "{named}");
}

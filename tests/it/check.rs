//! `narthex check`: what a wrong file, certificate or provider is answered with.

use crate::support::certificates;
use crate::support::config_errors::told_of;
use crate::support::documentation::block;
use crate::support::parties::OpenIdProvider;
use crate::support::process::free_port;
use std::path::Path;
use std::process::Command;

/// The output of `narthex check` on `text`, and whether it was content.
fn check(folder: &Path, text: &str) -> (bool, String, String) {
    std::fs::write(folder.join("narthex.toml"), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["check", "--config", "narthex.toml"])
        .current_dir(folder)
        .env("EMPTY", "")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

const GOOD: &str = r#"public_url = "https://auth.example.com"

[[provider]]
type = "oidc"
issuer = "https://idp.example.com"
client_id = "narthex"
allow = "anyone"

[[route]]
host = "app.example.com"
upstream = "http://127.0.0.1:3000"
"#;

#[test]
fn the_documented_mistakes_are_reported_as_documented() {
    const PAGE: &str = "docs/src/getting-started.md";
    let folder = tempfile::tempdir().unwrap();
    let (good, _, said) = check(folder.path(), &block(PAGE, "toml wrong"));
    assert!(!good);
    assert_eq!(said.trim(), block(PAGE, "text").trim());
}

/// Each mistake: what to replace in the good file, by what, and the place, message and remedy.
const MISTAKES: &[(&str, &str, &str, &str, &str)] = &[
    ("client_id", "clientid", "6:1", "unknown key `clientid` in [[provider]]", "did you mean `client_id`?"),
    ("[[route]]", "[[ruote]]", "9:3", "unknown key `ruote` in the file", "did you mean `route`?"),
    (
        "host = \"app.example.com\"",
        "",
        "9:1",
        "`host` is missing in [[route]]",
        "add host = \"app.example.com\"",
    ),
    ("\"app.example.com\"", "42", "10:8", "`host` is a number", "write a string in quotes"),
    (
        "app.example.com",
        "https://app.example.com/",
        "10:8",
        "\"https://app.example.com/\" is not a host",
        "write the bare name, without scheme, port or path: \"app.example.com\"",
    ),
    (
        "http://127",
        "ftp://127",
        "11:12",
        "\"ftp://127.0.0.1:3000\" is neither http, https, h2c nor unix",
        "write it like \"http://127.0.0.1:3000\"",
    ),
    (
        ":3000\"",
        ":3000/?path\"",
        "11:12",
        "\"http://127.0.0.1:3000/?path\" has more than scheme, host, port and path",
        "write it like \"http://127.0.0.1:3000\"",
    ),
    (
        "allow = \"anyone\"",
        "allow = \"everyone\"",
        "7:9",
        "`allow` cannot be \"everyone\"",
        "write \"anyone\"",
    ),
    (
        "allow = \"anyone\"",
        "allow = {}",
        "7:9",
        "`allow` allows no account",
        "write allow = { domains = [\"example.com\"] }, or emails, or groups, or allow = \"anyone\"",
    ),
    (
        "allow = \"anyone\"",
        "",
        "3:1",
        "`allow` is missing in [[provider]]",
        "add allow = { domains = [\"example.com\"] }; or emails, or groups, or allow = \"anyone\"",
    ),
    ("type = \"oidc\"", "type = \"saml2\"", "4:8", "`type` cannot be \"saml2\"", "write \"oidc\""),
    (
        "https://idp",
        "http://idp",
        "5:10",
        "\"http://idp.example.com\" is not https",
        "write the issuer as the provider's discovery document has it, such as \"https://idp.example.com\"",
    ),
    (
        "client_id = \"narthex\"",
        "client_id = \"narthex\"\nclient_secret = { env = \"NOT_SET\" }",
        "7:25",
        "the environment has no variable `NOT_SET`",
        "start Narthex with NOT_SET set, or give the secret by { file = \"…\" }",
    ),
    (
        "client_id = \"narthex\"",
        "client_id = \"narthex\"\nclient_secret = { env = \"EMPTY\" }",
        "7:17",
        "`client_secret` is empty: EMPTY has no content",
        "put the secret there",
    ),
    (
        "client_id = \"narthex\"",
        "client_id = \"narthex\"\nclient_secret = { path = \"x\" }",
        "7:19",
        "unknown key `path` in `client_secret`",
        "remove it; the keys of `client_secret` are `env`, `file`",
    ),
    (
        "[[provider]]",
        "[session]\nidle = \"soon\"\n[[provider]]",
        "4:8",
        "\"soon\" is not a duration",
        "write a number and a unit: \"90s\", \"15m\", \"8h\" or \"7d\"",
    ),
    (
        "[[provider]]",
        "[session]\nsigned_out_url = \"http://www.example.com/\"\n[[provider]]",
        "4:18",
        "\"http://www.example.com/\" is not https",
        "write an https address",
    ),
    (
        "[[provider]]",
        "[session]\nidle = \"9d\"\n[[provider]]",
        "4:8",
        "`idle` is longer than `absolute`",
        "make `idle` the shorter of the two",
    ),
    (
        "[[provider]]",
        "[listen]\nhttps = \"8443\"\n[[provider]]",
        "4:9",
        "\"8443\" is not an address to listen on",
        "write an IP address and a port, such as \"0.0.0.0:8443\" or \"[::]:8443\"",
    ),
    (
        "[[provider]]",
        "[listen]\ntrusted_proxies = [\"10/8\"]\n[[provider]]",
        "4:20",
        "\"10/8\" is not a network",
        "write an address or a network, such as \"10.0.0.0/8\"",
    ),
    (
        "[[provider]]",
        "[store]\nurl = \"postgres://db/narthex\"\n[[provider]]",
        "4:7",
        "a store that several nodes share needs `master_key` in [store]",
        "add master_key = { env = \"NARTHEX_MASTER_KEY\" }, the same on every node",
    ),
    (
        "[[provider]]",
        "[store]\nmaster_key = \"short\"\n[[provider]]",
        "4:14",
        "the master key is not 32 bytes in base64url",
        "make one with: head -c 32 /dev/urandom | basenc --base64url | tr -d '='",
    ),
    (
        "upstream = ",
        "access = \"private\"\nupstream = ",
        "11:10",
        "`access` cannot be \"private\"",
        "write \"signed-in\" or \"public\"",
    ),
    (
        "upstream = ",
        "path = \"/a/../b\"\nupstream = ",
        "11:8",
        "\"/a/../b\" is not a plain path",
        "write a plain path such as \"/\" or \"/files\"",
    ),
    (
        "upstream = ",
        "path = \"/a;b\"\nupstream = ",
        "11:8",
        "\"/a;b\" is not a plain path",
        "write a plain path such as \"/\" or \"/files\"",
    ),
    (
        "upstream = ",
        "path = \"/.narthex\"\nupstream = ",
        "11:8",
        "\"/.narthex\" is Narthex's own",
        "write a plain path such as \"/\" or \"/files\"",
    ),
    (
        "app.example.com",
        "auth.example.com",
        "1:1",
        "auth.example.com serves the sign-in pages and route \"auth.example.com/\"",
        "give the app another host, or the pages a path: public_url = \"https://…/.narthex\"",
    ),
    (
        "\"narthex\"",
        "\"id-${CLIENT_ID}\"",
        "6:13",
        "`client_id` holds `${CLIENT_ID}`, which is not replaced",
        "write client_id = { env = \"CLIENT_ID\" } for the whole value",
    ),
    (
        "\"narthex\"",
        "{ env = \"NOT_SET\" }",
        "6:21",
        "the environment has no variable `NOT_SET`",
        "start Narthex with NOT_SET set, or give the value by { file = \"…\" }",
    ),
    (
        "\"narthex\"",
        "{ file = \"absent\" }",
        "6:22",
        "cannot read `./absent`",
        "name a file that Narthex may read",
    ),
    (
        "\"narthex\"",
        "{ file = 7 }",
        "6:13",
        "`client_id` is a table",
        "write a string in quotes, { env = \"NAME\" } or { file = \"path\" }",
    ),
    (
        "upstream = ",
        "upstream_ca = { file = \"ca.pem\" }\nupstream = ",
        "11:15",
        "`upstream_ca` is the name of a file already",
        "write upstream_ca = \"path\"",
    ),
    (
        "[[provider]]",
        "[listen]\nhttps = \"off\"\n[[provider]]",
        "3:1",
        "https = \"off\" leaves TLS to a proxy, and no proxy is trusted",
        "name the proxy that terminates TLS: trusted_proxies = [\"10.0.0.0/8\"]",
    ),
    (
        "[[provider]]",
        "[listen]\nhttps = \"off\"\nhttp = \"off\"\ntrusted_proxies = \"10.0.0.1\"\n[[provider]]",
        "3:1",
        "`https` and `http` are both off: nothing is served",
        "give one of them an address",
    ),
    (
        "[[provider]]",
        "[log]\naccess = \"common\"\n[[provider]]",
        "4:10",
        "`access` cannot be \"common\"",
        "write \"off\" or \"json\" or \"combined\"",
    ),
    (
        "[[provider]]",
        "[session]\npersistent = \"yes\"\n[[provider]]",
        "4:14",
        "`persistent` is a string",
        "write true or false, without quotes",
    ),
    ("\"narthex\"", "\"narthex", "6:21", "invalid basic string, expected `\"`", "correct the TOML here"),
    (
        "[[route]]",
        "[[provider]]\ntype = \"oidc\"\nissuer = \"https://b.example\"\nclient_id = \"x\"\nallow = \"anyone\"\n[[route]]",
        "9:1",
        "two providers are named \"oidc\"",
        "make them one, or give them different names",
    ),
    (
        "allow = \"anyone\"",
        "allow = \"anyone\"\ndomains = [\"a.example\"]\n[[provider]]\nname = \"b\"\ntype = \"oidc\"\nissuer = \"https://b.example\"\nclient_id = \"x\"\nallow = \"anyone\"\ndomains = [\"A.example\"]",
        "9:1",
        "two providers have the domain a.example",
        "remove it from one of them",
    ),
    (
        "type = \"oidc\"",
        "type = \"google\"",
        "5:1",
        "[[provider]] with type = \"google\" has no key `issuer`",
        "remove it, or choose a type that has it: oidc, saml",
    ),
    (
        "type = \"oidc\"\nissuer = \"https://idp.example.com\"",
        "type = \"google\"",
        "3:1",
        "`client_secret` is missing in [[provider]]",
        "add client_secret = { env = \"IDP_CLIENT_SECRET\" }",
    ),
    (
        "type = \"oidc\"\nissuer = \"https://idp.example.com\"",
        "type = \"microsoft\"\nclient_secret = \"s\"\ntenant = \"corp.example\"",
        "6:10",
        "\"corp.example\" is not the id of a tenant",
        "write the directory's id as its overview shows it",
    ),
    (
        "type = \"oidc\"\nissuer = \"https://idp.example.com\"",
        "type = \"microsoft\"\nclient_secret = \"s\"\ntenant = \"organizations\"\ntenants = []",
        "7:11",
        "`tenants` is empty",
        "name at least one, or remove the key",
    ),
    (
        "type = \"oidc\"\nissuer = \"https://idp.example.com\"",
        "type = \"microsoft\"\nclient_secret = \"s\"\ntenant = \"common\"\ntrust_email = true",
        "3:1",
        "`trust_email` trusts every tenant",
        "list the tenants whose addresses you trust",
    ),
    (
        "type = \"oidc\"\nissuer = \"https://idp.example.com\"",
        "type = \"apple\"\nteam_id = \"ABCDE12345\"\nkey_id = \"ABCDE12345\"\nprivate_key = \"guess\"",
        "7:15",
        "the value is not a private key",
        "name a PKCS #8 file, which begins with -----BEGIN PRIVATE KEY-----",
    ),
    (
        "type = \"oidc\"\nissuer = \"https://idp.example.com\"\nclient_id = \"narthex\"\nallow = \"anyone\"",
        "type = \"facebook\"\nclient_id = \"narthex\"\nclient_secret = \"s\"\nallow = { domains = [\"corp.example\"] }",
        "7:9",
        "`allow` allows no account: this provider does not say which e-mail addresses it has verified",
        "write allow = \"anyone\", or trust_email = true to trust unverified addresses",
    ),
    (
        "type = \"oidc\"\nissuer = \"https://idp.example.com\"",
        "type = \"gitlab\"\nclient_secret = \"s\"\nbase_url = \"http://gitlab.example.com\"",
        "6:12",
        "\"http://gitlab.example.com\" is not https",
        "write it like \"https://gitlab.example.com\"",
    ),
    (
        "allow = \"anyone\"",
        "allow = \"anyone\"\n[provider.authorization_parameters]\nstate = \"mine\"",
        "9:9",
        "`state` cannot be changed",
        "remove it; for scopes, use the key `scopes`",
    ),
    (
        "type = \"oidc\"\nissuer = \"https://idp.example.com\"",
        "type = \"oauth2\"\nsubject = \"id\"\nauthorization_endpoint = \"https://a.example/#x\"",
        "6:26",
        "\"https://a.example/#x\" has a fragment",
        "write an https address",
    ),
    (
        "allow = \"anyone\"",
        "allow = \"anyone\"\n[provider.authorization_parameters]\nmax_age = \"an hour\"",
        "8:1",
        "\"an hour\" is not a number of seconds",
        "write whole seconds: max_age = \"3600\"",
    ),
    (
        "allow = \"anyone\"",
        "allow = \"anyone\"\n[provider.authorization_parameters]\nclaims = \"acr\"",
        "8:1",
        "`claims` is not a JSON object",
        "write a JSON object",
    ),
    (
        "type = \"oidc\"\nissuer = \"https://idp.example.com\"\nclient_id = \"narthex\"\nallow = \"anyone\"",
        "type = \"github\"\nclient_id = \"narthex\"\nclient_secret = \"s\"\nallow = \"anyone\"\n\
         [provider.authorization_parameters]\nacr_values = \"gold\"",
        "3:1",
        "`max_age`, `acr_values` and essential `claims` are checked in the ID token, which this provider does not issue",
        "remove them from [provider.authorization_parameters]",
    ),
    (
        "allow = \"anyone\"",
        "allow = { domains = [\"\u{212a}it.example\"] }",
        "7:9",
        "\"\u{212a}it.example\" is not an e-mail domain",
        "write the part after the @",
    ),
    (
        "type = \"oidc\"",
        "type = \"saml\"",
        "3:1",
        "`metadata` is missing in [[provider]]",
        "add metadata = \"https://idp.example.com/metadata\"; or the name of a file",
    ),
    (
        "type = \"oidc\"",
        "type = \"saml\"\nmetadata = \"http://idp.example.com/metadata\"",
        "5:12",
        "\"http://idp.example.com/metadata\" is not https",
        "write an https address, or the name of a file",
    ),
    (
        "type = \"oidc\"",
        "type = \"saml\"\nmetadata = \"idp.xml\"\nmetadata_refresh = \"1s\"",
        "6:20",
        "the interval is too short",
        "write at least \"10s\"; \"1h\" is common",
    ),
    (
        "type = \"oidc\"",
        "type = \"saml\"\nmetadata = \"idp.xml\"\nname_id_format = \"transient\"",
        "6:18",
        "\"transient\" is not a name id format that identifies a user permanently",
        "write \"persistent\", \"emailAddress\" or \"unspecified\"",
    ),
    (
        "type = \"oidc\"\nissuer = \"https://idp.example.com\"",
        "type = \"saml\"\nmetadata = \"idp.xml\"\nissuer = \"two words\"",
        "6:10",
        "\"two words\" is not a valid entity id",
        "write a URI of at most 1024 characters",
    ),
    (
        "type = \"oidc\"",
        "type = \"saml\"\nmetadata = \"idp.xml\"\nentity_id = \"two words\"",
        "6:13",
        "\"two words\" is not a valid entity id",
        "write a URI of at most 1024 characters",
    ),
];

#[test]
fn a_mistake_of_each_kind_is_told_with_its_place_and_its_mend() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to, place, message, help) in MISTAKES {
        assert!(GOOD.contains(from), "{from}");
        let (good, _, said) = check(folder.path(), &GOOD.replacen(from, to, 1));
        assert!(!good, "{to} was taken");
        assert!(
            said.contains(&format!("narthex.toml:{place}: {message}")),
            "{place}: {message}\nbut it said:\n{said}"
        );
        assert!(said.contains(&format!("\n  help: {help}")), "{help}\nbut it said:\n{said}");
    }
}

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
    let (good, _, said) = check(folder.path(), &text);
    assert!(!good);
    assert_eq!(said.matches("narthex.toml:").count(), 1, "{said}");
    // Without any provider it is another mistake.
    let (_, _, said) = check(folder.path(), &format!("public_url = \"https://auth.example.com\"\n{route}"));
    assert!(said.contains("no user can sign in for route"), "{said}");
}

#[test]
fn whoever_has_an_account_somewhere_is_not_let_in_unless_the_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for preset in narthex::config::PRESETS {
        let name = preset.name;
        let text = format!(
            "public_url = \"https://auth.example.com\"\n[[provider]]\ntype = \"{name}\"\nclient_id = \"c\"\n"
        );
        let (good, _, said) = check(folder.path(), &text);
        assert!(!good && said.contains("`allow` is missing in [[provider]]"), "{name}: {said}");
    }
}

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

    let (good, said, _) = check(folder.path(), &file("good", "good", &up));
    assert!(good, "{said}");
    assert!(said.contains("corp answers"), "{said}");
    assert!(said.contains("aud            https://app.example.com/\n"), "{said}");
    assert!(
        said.contains("redirect URI               https://auth.example.com/oauth2/idpresponse/corp"),
        "{said}"
    );
    let (good, said, _) = check(folder.path(), &file("soon", "soon", &up));
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
        let (good, said, _) = check(folder.path(), &text);
        assert!(!good && said.contains(problem), "{problem}\nbut it said:\n{said}");
    }
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
        let (good, _, said) = check(folder.path(), &format!("{GOOD}\n{wrong}\n"));
        assert!(!good && !said.contains("hidden"), "{said}");
    }
}

#[test]
fn a_route_sets_no_header_that_means_something_else() {
    let with = |name: &str| format!("{GOOD}[route.headers]\n\"{name}\" = \"x\"\n");
    for (names, message) in [
        (
            &[
                "X-Amzn-Oidc-Data",
                "x_amzn_oidc_identity",
                "X-Amzn-Oidc-AccessToken",
                "X-Request-Id",
                "x.narthex.a",
            ][..],
            "is set by Narthex itself",
        ),
        (
            &[
                "X-Forwarded-For",
                "x_forwarded_host",
                "Forwarded",
                "X-Real-IP",
                "Client-IP",
                "Script-Name",
                "X-Original-URL",
                "X-Envoy-Original-Path",
                "Proxy",
            ],
            "is read by servers as client, host, scheme or path",
        ),
        (
            &[
                "Host",
                "Connection",
                "Keep-Alive",
                "Content-Length",
                "content_length",
                "Transfer-Encoding",
                "Proxy-Connection",
                "TE",
                "Trailer",
                "Upgrade",
                "Expect",
                "Cookie",
            ],
            "belongs to HTTP itself",
        ),
    ] {
        for name in names {
            let told = told_of(&with(name)).unwrap_or_else(|| panic!("{name} is taken"));
            assert!(told.contains(&format!("`{name}` {message}")) && told.contains("13:"), "{name}: {told}");
            assert!(told.contains("choose "), "{told}");
        }
    }
    for name in
        ["X-Remote-User", "Remote-User", "X-Forwarded-User", "X-WebAuth-User", "X-Team", "Authorization"]
    {
        assert_eq!(told_of(&with(name)), None, "{name}");
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
        // Nothing of it is reached from here: what is said of that is another test's.
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

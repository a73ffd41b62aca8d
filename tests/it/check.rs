//! `narthex check`: the place, the message and the remedy of each error in a configuration.

use crate::support::config_errors::{VALID_FILE, config_errors, run_check};
use crate::support::documentation::block;

#[test]
fn the_documented_mistakes_are_reported_as_documented() {
    const PAGE: &str = "docs/src/getting-started.md";
    let folder = tempfile::tempdir().unwrap();
    let (good, _, said) = run_check(folder.path(), &block(PAGE, "toml wrong"));
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
        "[[trigger]]\nname = \"a b\"\nurl = \"https://b.example\"\nsecret = \"0123456789abcdefghijkl\"\n[[route]]",
        "10:8",
        "\"a b\" cannot name a trigger",
        "use 1 to 64 letters, digits, -, _ and .",
    ),
    (
        "[[route]]",
        "[[trigger]]\nname = \"a\"\nurl = \"https://b.example/?x\"\nsecret = \"0123456789abcdefghijkl\"\n[[route]]",
        "11:7",
        "\"https://b.example/?x\" has a user name, a query or a fragment",
        "write an https address without user name, query and fragment",
    ),
    (
        "[[route]]",
        "[[trigger]]\nname = \"a\"\nurl = \"http://b.example\"\nsecret = \"0123456789abcdefghijkl\"\n[[route]]",
        "11:7",
        "\"http://b.example\" is not https",
        "write an https address",
    ),
    (
        "[[route]]",
        "[[trigger]]\nname = \"a\"\nurl = \"https://b.example\"\nsecret = \"short\"\n[[route]]",
        "9:1",
        "the `secret` of a [[trigger]] is shorter than 22 characters",
        "generate it: `openssl rand -base64 30`",
    ),
    (
        "[[route]]",
        "[[trigger]]\nname = \"a\"\nurl = \"https://b.example\"\n[[route]]",
        "9:1",
        "a [[trigger]] with kind = \"http\" needs `secret`, and no access key",
        "add secret = { env = \"TRIGGER_SECRET\" }",
    ),
    (
        "[[route]]",
        "[[trigger]]\nname = \"a\"\nkind = \"lambda\"\nurl = \"https://b.example\"\nsecret = \"0123456789abcdefghijkl\"\n[[route]]",
        "9:1",
        "a [[trigger]] with kind = \"lambda\" needs `access_key_id` and `secret_access_key`, and no `secret`",
        "add access_key_id = ",
    ),
    (
        "[[route]]",
        "[[trigger]]\nname = \"a\"\nkind = \"sqs\"\nurl = \"https://b.example\"\n[[route]]",
        "11:8",
        "`kind` cannot be \"sqs\"",
        "write \"http\" or \"lambda\"",
    ),
    (
        "[[route]]",
        "[[trigger]]\nname = \"a\"\nurl = \"https://b.example\"\nsecret = \"0123456789abcdefghijkl\"\nconcurrency = 1001\n[[route]]",
        "13:15",
        "`concurrency` is larger than 1000",
        "write at most 1000",
    ),
    (
        "[[route]]",
        "[[user_pool]]\n[user_pool.triggers]\npre_sign_up = \"chek\"\n[[trigger]]\nname = \"check\"\nurl = \"https://b.example\"\nsecret = \"0123456789abcdefghijkl\"\n[[route]]",
        "11:15",
        "no [[trigger]] is named \"chek\"",
        "did you mean \"check\"?",
    ),
    (
        "[[route]]",
        "[[user_pool]]\n[user_pool.triggers]\npre_token_generation_version = \"V4_0\"\n[[route]]",
        "11:32",
        "`pre_token_generation_version` cannot be \"V4_0\"",
        "write \"V1_0\" or \"V2_0\" or \"V3_0\"",
    ),
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
        assert!(VALID_FILE.contains(from), "{from}");
        let (good, _, said) = run_check(folder.path(), &VALID_FILE.replacen(from, to, 1));
        assert!(!good, "{to} was taken");
        assert!(
            said.contains(&format!("narthex.toml:{place}: {message}")),
            "{place}: {message}\nbut it said:\n{said}"
        );
        assert!(said.contains(&format!("\n  help: {help}")), "{help}\nbut it said:\n{said}");
    }
}

#[test]
fn whoever_has_an_account_somewhere_is_not_let_in_unless_the_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for preset in narthex::config::PRESETS {
        let name = preset.name;
        let text = format!(
            "public_url = \"https://auth.example.com\"\n[[provider]]\ntype = \"{name}\"\nclient_id = \"c\"\n"
        );
        let (good, _, said) = run_check(folder.path(), &text);
        assert!(!good && said.contains("`allow` is missing in [[provider]]"), "{name}: {said}");
    }
}

#[test]
fn a_route_sets_no_header_that_means_something_else() {
    let with = |name: &str| format!("{VALID_FILE}[route.headers]\n\"{name}\" = \"x\"\n");
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
            let told = config_errors(&with(name)).unwrap_or_else(|| panic!("{name} is taken"));
            assert!(told.contains(&format!("`{name}` {message}")) && told.contains("13:"), "{name}: {told}");
            assert!(told.contains("choose "), "{told}");
        }
    }
    for name in
        ["X-Remote-User", "Remote-User", "X-Forwarded-User", "X-WebAuth-User", "X-Team", "Authorization"]
    {
        assert_eq!(config_errors(&with(name)), None, "{name}");
    }
}

//! What the policies of roles allow and deny: spellings, methods, networks, headers, trust
//! policies.

use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::OpenIdProvider;
use crate::support::policies::allow_policy;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, request_status};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_by_name_is_denied_however_it_is_spelt_and_under_whatever_method() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let corp = OpenIdProvider::start("corp", &builder.callback("corp"));
    let arn = |what: &str| format!("arn:aws:execute-api:*:*:photos/$default/{what}");
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": arn("*")},
        {"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": [arn("*/admin"), arn("*/admin/*"), arn("*/Reports/*"), arn("*/Übung"), arn("DELETE/*"),
            arn("*/v1.*/secret"), arn("GET/"), arn("*/lone")]}]});
    let narthex = builder
        .file("all.json", policy.to_string())
        .tables(&corp.toml("\"anyone\""))
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\nauthenticated_role = \"all\"\n")
        .route("app", upstream.port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let alice = Visitor::new(&narthex);
    let url = |path: &str| format!("{}{path}", narthex.origin("app"));
    assert_status(&alice.sign_in(&url("/x"), "alice").await, 200);
    for path in [
        "/",
        "/admin",
        "/admin/",
        "/admin/x",
        "/ADMIN/x",
        "/Admin",
        "/admin;a=1/x",
        "/%61dmin/x",
        "/reports/1",
        "/REPORTS/1",
        "/%C3%9Cbung",
        "/%C3%BCbung",
        "/%C3%9CBUNG",
        "/%41DMIN",
        // Parameters are dropped before a closing slash is looked for.
        "/ADMIN/;x",
        "/;x",
        "/admin;x",
        "/admin/;/",
        // Ends that servers strip or stop at.
        "/admin.",
        "/admin.../x",
        "/admin%20",
        "/ADMIN%E3%80%80/x",
        "/%20admin/x",
        "/admin%3Fx",
        "/admin%23/x",
        "/admin%3Bx/y",
        "/admin:$DATA",
        // One name in other letters.
        "/%EF%BC%A1%EF%BC%A4min/x",
        "/ADM%C4%B0N",
        "/adm%C4%B1n",
        "/ad%C2%ADmin",
        "/a%CC%81dmin/x",
        "/U%CC%88bung",
        // Encoded twice.
        "/%2561dmin",
        "/admin%252Fx",
        // Each liberty by itself: what other ones would drop is part of what is denied.
        "/V1.;a/SECRET",
        "/lone/",
        "/Lone/;x",
        "/v1.%20/secret",
    ] {
        assert_eq!(request_status(&alice, Method::GET, &url(path)).await, 403, "{path}");
    }
    for path in ["/administrators", "/Photos/1", "/x;admin", "/job/a%252Fb", "/caf%C3%A9", "/U.S."] {
        assert_eq!(request_status(&alice, Method::GET, &url(path)).await, 200, "{path}");
    }
    assert_eq!(request_status(&alice, Method::DELETE, &url("/x")).await, 403);
    for spelt in ["delete", "dElete"] {
        let delete = Method::from_bytes(spelt.as_bytes()).unwrap();
        assert_eq!(request_status(&alice, delete, &url("/x")).await, 403, "{spelt}");
    }
    for name in [
        "X-HTTP-Method-Override",
        "x-http-method",
        "X-Method-Override",
        "X_HTTP_Method_Override",
        "x-http_method",
    ] {
        let sly = alice.client.post(url("/x")).header(name, "DELETE").send().await.unwrap();
        assert_status(&sly, 400);
    }
    let same = alice.client.post(url("/x")).header("X-HTTP-Method-Override", "POST").send().await.unwrap();
    assert_status(&same, 200);
    // Without a guest role, nobody is a guest.
    assert_eq!(request_status(&Visitor::new(&narthex), Method::GET, &url("/")).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shut_off_by_not_resource_is_so_in_every_spelling() {
    let upstream = Upstream::start().await;
    let policy = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "execute-api:Invoke",
        "NotResource": "arn:aws:execute-api:us-east-1:123456789012:photos/$default/*/admin/*"}});
    let narthex = NarthexBuilder::new()
        .file("all.json", policy.to_string())
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\nguest_role = \"all\"\n")
        .route("app", upstream.port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let guest = Visitor::new(&narthex);
    for (path, expected) in [
        ("/a", 200),
        ("/A;b", 200),
        ("/admin/x", 401),
        ("/ADMIN/x", 401),
        ("/admin;v=1/x", 401),
        ("/admin%20/x", 401),
        ("/%2561dmin/x", 401),
    ] {
        let url = format!("{}{path}", narthex.origin("app"));
        assert_eq!(request_status(&guest, Method::GET, &url).await, expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_by_its_ending_is_not_had_by_an_ending_that_servers_drop() {
    let upstream = Upstream::start().await;
    let arn = |what: &str| format!("arn:aws:execute-api:*:*:photos/$default/GET/{what}");
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": [arn("*.css"), arn("cars;color=*"), arn("open/*")]},
        {"Effect": "Deny", "Action": "execute-api:Invoke",
         "NotResource": [arn("*.css"), arn("cars;color=*"), arn("open/*")]}]});
    let narthex = NarthexBuilder::new()
        .file("all.json", policy.to_string())
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\nguest_role = \"all\"\n")
        .route("app", upstream.port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let guest = Visitor::new(&narthex);
    for (path, expected) in [
        ("/a.css", 200),
        ("/a;v=1.css", 401),
        ("/admin;.css", 401),
        ("/admin%3Bx.css", 401),
        ("/admin%3F.css", 401),
        ("/admin%23.css", 401),
        ("/admin%253Bx.css", 401),
        ("/cars;color=red", 200),
        ("/open/cars;color=red", 200),
        ("/open;x/cars", 401),
    ] {
        let url = format!("{}{path}", narthex.origin("app"));
        assert_eq!(request_status(&guest, Method::GET, &url).await, expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_does_not_say_whose_request_it_is_comes_from_no_network() {
    let upstream = Upstream::start().await;
    let statement = |effect: &str, condition: Value| json!({"Effect": effect, "Action": "execute-api:Invoke", "Resource": "*", "Condition": condition});
    let office = json!({"aws:SourceIp": ["127.0.0.0/8", "192.0.2.0/24"]});
    let policy = json!({"Version": "2012-10-17", "Statement": [
        statement("Allow", json!({})), statement("Deny", json!({"NotIpAddress": office}))]});
    let narthex = NarthexBuilder::new()
        .file("all.json", policy.to_string())
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\nguest_role = \"all\"\n")
        .route("app", upstream.port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let url = format!("{}/", narthex.origin("app"));
    assert_eq!(request_status(&Visitor::new(&narthex), Method::GET, &url).await, 200);
    let proxy = Visitor::with_client(&narthex, |builder| {
        builder.local_address(std::net::IpAddr::from([127, 0, 0, 7]))
    });
    for (told, expected) in [
        (None, 401),
        (Some("nonsense"), 401),
        (Some("198.51.100.7"), 401),
        (Some("192.0.2.7"), 200),
        (Some("192.0.2.7:4711"), 200),
    ] {
        let request = proxy.client.get(&url);
        let request =
            told.map_or(request.try_clone().unwrap(), |told| request.header("x-forwarded-for", told));
        assert_eq!(request.send().await.unwrap().status().as_u16(), expected, "{told:?}");
    }
    // An explicit denial of a guest is reported.
    let denied = narthex.audit("access_denied");
    assert_eq!(denied.len(), 3);
    assert_eq!(denied[0]["decision"], "explicitDeny");
}

/// A guest's request by way of the trusted proxy, which says whose it is.
async fn by_proxy(narthex: &Narthex, told: &str) -> u16 {
    let address = std::net::IpAddr::from([127, 0, 0, 7]);
    let proxy = Visitor::with_client(narthex, |builder| builder.local_address(address));
    let request = proxy.client.get(format!("{}/", narthex.origin("app"))).header("x-forwarded-for", told);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_policy_is_judged_with_each_request_where_it_asks_for_what_a_request_brings() {
    let upstream = Upstream::start().await;
    let trust = |principal: Value, condition: Value| {
        let action = "sts:AssumeRoleWithWebIdentity";
        json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": principal, "Action": action},
            {"Effect": "Deny", "Principal": "*", "Action": action, "Condition": condition}]})
        .to_string()
    };
    let barred = json!({"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "::ffff:203.0.113.0/120"]}});
    let narthex = NarthexBuilder::new()
        .file("all.json", allow_policy(&["*"]).to_string())
        .file("trust.json", trust(json!({"AWS": "*"}), barred))
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\nassume_role_policy = \"trust.json\"\n[[identity_pool]]\nname = \"main\"\nguest_role = \"all\"\n")
        .route("app", upstream.port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    for (client, expected) in [
        ("198.51.100.7", 200),
        ("192.0.2.7", 401),
        ("203.0.113.7", 401),
        // Who it is, is not known: a Deny by address applies.
        ("nonsense", 401),
        ("198.51.100.7", 200),
    ] {
        assert_eq!(by_proxy(&narthex, client).await, expected, "{client}");
    }
    let file = narthex.folder().join("trust.json");
    for (reloads, (condition, expected)) in [
        (json!({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}), 401),
        (json!({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}), 200),
        (json!({"StringLike": {"aws:UserAgent": "*"}}), 200),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(&file, trust(json!("*"), condition.clone())).unwrap();
        crate::support::process::wait_until("the reload", || narthex.audit("reload").len() > reloads);
        assert_eq!(by_proxy(&narthex, "198.51.100.7").await, expected, "{condition}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_cannot_be_read_escapes_no_deny_and_meets_no_allow() {
    let upstream = Upstream::start().await;
    let statement = |effect: &str, path: &str, condition: Value| {
        let resource = format!("arn:aws:execute-api:us-east-1:123456789012:photos/$default/*/{path}");
        json!({"Effect": effect, "Action": "execute-api:Invoke", "Resource": resource, "Condition": condition})
    };
    let bots = json!({"StringLike": {"aws:UserAgent": "*bot*"}});
    let policy = json!({"Version": "2012-10-17", "Statement": [
        statement("Allow", "*", json!({})),
        statement("Deny", "deny", bots),
        statement("Deny", "but", json!({"StringNotLike": {"aws:UserAgent": "Mozilla*"}})),
        statement("Deny", "from", json!({"StringLike": {"aws:Referer": "*evil*"}})),
        statement("Deny", "by/${aws:UserAgent}", json!({}))]});
    let narthex = NarthexBuilder::new()
        .file("all.json", policy.to_string())
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\nguest_role = \"all\"\n")
        .route("app", upstream.port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let client = Visitor::new(&narthex).client;
    let (agent, referer) = ("user-agent", "referer");
    for (path, headers, expected) in [
        ("deny", &[][..], 200),
        ("deny", &[(agent, "Mozilla")], 200),
        ("deny", &[(agent, "robots")], 401),
        ("deny", &[(agent, "Mozilla"), (agent, "robots")], 401),
        ("deny", &[(agent, "Mozilla"), (agent, "Mozilla")], 401),
        ("deny", &[(agent, "Mozillé")], 401),
        ("but", &[(agent, "Mozilla")], 200),
        ("but", &[(agent, "Mozilla"), (agent, "Mozilla")], 401),
        ("but", &[(agent, "Mozillé")], 401),
        ("from", &[(referer, "https://good.example/")], 200),
        ("from", &[(referer, "https://good.example/"), (referer, "https://evil.example/")], 401),
        ("by/x", &[(agent, "Mozilla")], 200),
        ("by/x", &[(agent, "Mozilla"), (agent, "x")], 401),
    ] {
        let request = client.get(format!("{}/{path}", narthex.origin("app")));
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        let status = request.send().await.unwrap().status().as_u16();
        assert_eq!(status, expected, "{path} {headers:?}");
    }
}

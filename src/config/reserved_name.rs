//! Names of request headers with which proxies send information about client and request to
//! servers, frameworks and middleware. The gateway removes them from client requests.

/// The information that a reserved header contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Set by the gateway: the assertion and the request's id.
    Gateway,
    /// The client's address or TLS certificate.
    Client,
    /// The host or port of the request.
    Host,
    /// The scheme of the request.
    Scheme,
    /// The path of the request, or the server's handler for it.
    Path,
    /// The user. Only these may be set in `[route.headers]`.
    User,
    /// A variable of the server's environment (httpoxy, CVE-2016-5385).
    Environment,
}

use Meaning::{Client, Environment, Gateway, Host, Path, Scheme, User};

/// Complete names. Characters other than letters, digits and `-` are written as `-`.
const NAMES: &[(&str, Meaning)] = &[
    // RFC 7239, RFC 9440, and common alternatives.
    ("forwarded", Client),
    ("forwarded-for", Client),
    ("forwarded-for-ip", Client),
    ("x-forwarded", Client),
    ("client-cert", Client),
    ("client-cert-chain", Client),
    ("client-ip", Client),
    ("real-ip", Client),
    ("remote-addr", Client),
    ("remote-host", Client),
    ("true-client-ip", Client),
    ("x-true-client-ip", Client),
    ("x-true-ip", Client),
    ("x-client-ip", Client),
    ("x-client-port", Client),
    ("x-client-cert", Client),
    ("x-client-dn", Client),
    ("x-client-s-dn", Client),
    ("x-client-verify", Client),
    ("x-cluster-client-ip", Client),
    ("x-coming-from", Client),
    ("x-custom-ip-authorization", Client),
    ("x-originating-ip", Client),
    ("x-source-ip", Client),
    // Content delivery networks and platforms.
    ("ali-cdn-real-ip", Client),
    ("cdn-src-ip", Client),
    ("cdn-real-ip", Client),
    ("cf-connecting-ip", Client),
    ("cf-connecting-ipv6", Client),
    ("cf-pseudo-ipv4", Client),
    ("cf-visitor", Scheme),
    ("cloudfront-forwarded-proto", Scheme),
    ("cloudfront-viewer-address", Client),
    ("do-connecting-ip", Client),
    ("fastly-client", Client),
    ("fastly-client-ip", Client),
    ("fastly-ssl", Scheme),
    ("fastly-temp-xff", Client),
    ("fly-client-ip", Client),
    ("incap-client-ip", Client),
    ("x-incap-client-ip", Client),
    ("x-nf-client-connection-ip", Client),
    ("x-sucuri-clientip", Client),
    ("disguised-host", Host),
    ("was-default-hostname", Host),
    ("x-appservice-proto", Scheme),
    ("x-waws-unencoded-url", Path),
    // Host and scheme.
    ("x-host", Host),
    ("x-host-override", Host),
    ("x-http-host-override", Host),
    ("http-host", Host),
    ("front-end-https", Scheme),
    ("https", Scheme),
    ("x-https", Scheme),
    ("x-proto", Scheme),
    ("x-protocol", Scheme),
    ("x-scheme", Scheme),
    ("x-url-scheme", Scheme),
    // Paths: CGI and WSGI, IIS, Traefik, Next.js, Rack's files.
    ("script-name", Path),
    ("x-script-name", Path),
    ("path-info", Path),
    ("x-path-info", Path),
    ("path-translated", Path),
    ("request-uri", Path),
    ("x-request-uri", Path),
    ("base-url", Path),
    ("http-url", Path),
    ("x-http-destinationurl", Path),
    ("x-rewrite-url", Path),
    ("x-rewrite-uri", Path),
    ("x-replaced-path", Path),
    ("x-ingress-path", Path),
    ("x-matched-path", Path),
    ("x-now-route-matches", Path),
    ("x-accel-mapping", Path),
    ("x-sendfile-type", Path),
    // The user.
    ("auth-type", User),
    ("auth-user", User),
    ("logon-user", User),
    ("eppn", User),
    ("x-auth-email", User),
    ("x-auth-groups", User),
    ("x-auth-subject", User),
    ("x-auth-user", User),
    ("x-auth-username", User),
    ("x-endpoint-api-userinfo", User),
    ("x-apigateway-api-userinfo", User),
    ("x-forwarded-access-token", User),
    ("x-forwarded-email", User),
    ("x-forwarded-groups", User),
    ("x-forwarded-preferred-username", User),
    ("x-forwarded-user", User),
    ("x-goog-iap-jwt-assertion", User),
    ("x-grafana-user", User),
    ("x-id-token", User),
    ("x-jwt-assertion", User),
    ("x-jwt-payload", User),
    ("x-proxy-remote-user", User),
    ("x-proxy-user", User),
    ("x-token-subject", User),
    ("x-userinfo", User),
    ("smuser", User),
    // `HTTP_PROXY` of CGI scripts.
    ("proxy", Environment),
    ("x-request-id", Gateway),
];

/// Prefixes of names.
const PREFIXES: &[(&str, Meaning)] = &[
    ("x-amzn-oidc-", Gateway),
    ("x-narthex-", Gateway),
    ("x-forwarded-", Client),
    ("x-forward-", Client),
    ("x-forwarder-", Client),
    ("x-original-", Path),
    ("x-real-", Client),
    ("x-envoy-", Path),
    ("x-invoke-", Path),
    ("x-middleware-", Path),
    ("x-proxy-", Host),
    ("x-proxyuser-", Client),
    ("fly-forwarded-", Client),
    ("ssl-", Client),
    ("x-ssl-", Client),
    ("x-amzn-mtls-", Client),
    ("x-appengine-", Client),
    ("x-arr-", Client),
    ("x-azure-", Client),
    ("x-vercel-", Client),
    ("wl-proxy-", Client),
    ("ms-aspnetcore-", Client),
    // WebSphere's plug-in: `$WSRA`, `$WSRU` and others.
    ("-ws", Client),
    // The user.
    ("cf-access-", User),
    ("iv-", User),
    ("mellon-", User),
    ("oam-", User),
    ("oidc-", User),
    ("osso-", User),
    ("remote-", User),
    ("shib-", User),
    ("sm-", User),
    ("tailscale-", User),
    ("x-amzn-ava-", User),
    ("x-auth-request-", User),
    ("x-authenticated-", User),
    ("x-authentik-", User),
    ("x-consumer-", User),
    ("x-credential-", User),
    ("x-goog-authenticated-", User),
    ("x-iisnode-", User),
    ("x-ms-client-principal", User),
    ("x-ms-token-", User),
    ("x-pomerium-", User),
    ("x-remote-", User),
    ("x-vouch-", User),
    ("x-webauth-", User),
];

/// Returns the information in a header, if its name is reserved. `name` must be in lower case, with
/// every character except letters and digits written as `-`.
pub fn meaning_of(name: &str) -> Option<Meaning> {
    let whole = NAMES.iter().find(|(reserved, _)| *reserved == name);
    let prefix = || PREFIXES.iter().find(|(reserved, _)| name.starts_with(reserved));
    whole.or_else(prefix).map(|(_, meaning)| *meaning)
}

/// A filter for reserved names. It excludes most other headers by their first characters and their
/// length, without a comparison of names.
#[derive(Clone, Debug)]
pub struct NameFilter {
    /// For each first character, the lengths of complete names, one bit each.
    lengths: [u32; LETTERS],
    /// For each first character, the second characters of prefixes, one bit each.
    seconds: [u32; LETTERS],
}

/// The filter for all names of this module.
pub const RESERVED: NameFilter = {
    let (mut filter, mut at) = (NameFilter { lengths: [0; LETTERS], seconds: [0; LETTERS] }, 0);
    while at < NAMES.len() {
        filter = filter.with(NAMES[at].0);
        at += 1;
    }
    at = 0;
    while at < PREFIXES.len() {
        if let [first, second, ..] = PREFIXES[at].0.as_bytes() {
            filter.seconds[letter(*first)] |= 1 << letter(*second);
        }
        at += 1;
    }
    filter
};

impl NameFilter {
    /// Returns the filter with `name` added to the complete names.
    pub const fn with(mut self, name: &str) -> Self {
        if let [first, ..] = name.as_bytes() {
            self.lengths[letter(*first)] |= length(name);
        }
        self
    }

    /// Returns whether `name` may be reserved. Ignores case, and does not distinguish characters
    /// other than letters and digits.
    pub const fn may_contain(&self, name: &str) -> bool {
        match name.as_bytes() {
            [first, second, ..] => {
                let first = letter(*first);
                self.lengths[first] & length(name) != 0 || self.seconds[first] & (1 << letter(*second)) != 0
            }
            _ => true,
        }
    }
}

/// The number of values that [`letter`] returns.
const LETTERS: usize = 28;

/// Returns the bit for a name's length. All lengths from 31 share one bit.
const fn length(name: &str) -> u32 {
    1 << if name.len() < 31 { name.len() } else { 31 }
}

/// Returns the number of a letter. All digits share one number, and all other characters share one.
const fn letter(byte: u8) -> usize {
    match byte {
        b'a'..=b'z' => (byte - b'a') as usize,
        b'A'..=b'Z' => (byte - b'A') as usize,
        b'0'..=b'9' => 27,
        _ => 26,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reserved_name_has_a_meaning_and_passes_the_filter() {
        for (name, meaning) in NAMES {
            assert_eq!(meaning_of(name), Some(*meaning), "{name}");
            assert!(RESERVED.may_contain(name), "{name}");
        }
        for (prefix, meaning) in PREFIXES {
            let name = format!("{prefix}anything");
            assert_eq!(meaning_of(&name), Some(*meaning), "{name}");
            assert!(RESERVED.may_contain(&name), "{name}");
        }
        let plain =
            |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        assert!(NAMES.iter().chain(PREFIXES).all(|(name, _)| plain(name)), "names are compared in this form");
        for name in
            ["accept", "authorization", "cookie", "host", "origin", "sec-fetch-mode", "te", "user-agent"]
        {
            assert_eq!(meaning_of(name), None, "{name}");
        }
        for name in [
            "accept",
            "authorization",
            "cookie",
            "host",
            "sec-fetch-mode",
            "user-agent",
            "content-type",
            "if-match",
        ] {
            assert!(!RESERVED.may_contain(name), "{name} is compared with every reserved name");
        }
    }
}

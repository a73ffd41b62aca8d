//! Defense of the emulator against other sites in a browser of this machine.
//!
//! A site can have its own name resolve to 127.0.0.1 after its page was loaded (DNS rebinding), and
//! would then read the emulator's answers as its own. So the `Host` header must have a name that no
//! site has: of loopback, or of one label, such as that of a container. Requests with the `Origin`
//! of a page elsewhere are refused: any access key is right here.

use crate::config::Host;
use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use std::net::IpAddr;

/// The name by which containers reach this machine.
const CONTAINER_HOST: &str = "host.docker.internal";

/// Returns whether the request names a host of this machine.
pub fn has_local_host(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next().map(|host| host.to_str()), hosts.next()) {
        (Some(Ok(host)), None) => {
            Host::from_authority(host).is_some_and(|host| is_local(&host) || is_one_label(&host))
        }
        _ => false,
    }
}

/// Returns the `Origin` header of a page on this machine, or `None` without the header.
///
/// # Errors
/// Returns an error for the origin of another site.
pub fn local_origin(headers: &HeaderMap) -> Result<Option<&str>, ()> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(None) };
    let origin = origin.to_str().map_err(drop)?;
    let (scheme, authority) = origin.split_once("://").ok_or(())?;
    let host = Host::from_authority(authority).filter(|_| matches!(scheme, "http" | "https"));
    if host.is_some_and(|host| is_local(&host)) { Ok(Some(origin)) } else { Err(()) }
}

fn is_local(host: &Host) -> bool {
    let name = host.as_str();
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    match address {
        Ok(address) => address.is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost") || name == CONTAINER_HOST,
    }
}

fn is_one_label(host: &Host) -> bool {
    !host.as_str().contains(['.', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn is_accepted(name: http::HeaderName, value: &'static str) -> bool {
        let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]);
        if name == HOST { has_local_host(&headers) } else { local_origin(&headers).is_ok() }
    }

    #[test]
    fn names_of_sites_are_refused() {
        for host in ["localhost:9229", "127.0.0.1:9229", "[::1]:9229", "auth.localhost", "cognito:9229"] {
            assert!(is_accepted(HOST, host), "{host}");
        }
        for host in ["evil.example:9229", "localhost.evil.example", "192.0.2.7", "[2001:db8::1]", "", "a b"] {
            assert!(!is_accepted(HOST, host), "{host}");
        }
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://app.localhost:5173"] {
            assert!(is_accepted(ORIGIN, origin), "{origin}");
        }
        for origin in [
            "https://evil.example",
            "null",
            "https://localhost.evil.example",
            "http://intranet",
            "http://com.",
            "chrome-extension://aaaaaaaaaaaaaaaa",
            "chrome-extension://localhost",
        ] {
            assert!(!is_accepted(ORIGIN, origin), "{origin}");
        }
        assert!(!has_local_host(&HeaderMap::new()));
        assert_eq!(local_origin(&HeaderMap::new()), Ok(None));
    }
}

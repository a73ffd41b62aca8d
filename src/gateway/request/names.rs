//! Names of the request headers that the gateway reads and sets.

use http::HeaderName;

/// The assertion, under the name that an Application Load Balancer uses.
pub const OIDC_DATA: HeaderName = HeaderName::from_static("x-amzn-oidc-data");
/// The provider's access token.
pub const OIDC_ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-amzn-oidc-accesstoken");
/// The user's `sub`, or the guest's identity.
pub const OIDC_IDENTITY: HeaderName = HeaderName::from_static("x-amzn-oidc-identity");
/// The addresses of the client and of the proxies that forwarded the request.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme of the request.
pub const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host of the request.
pub const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The path prefix that was removed from the request's path.
pub const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// The request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

//! Presets: settings of well-known providers, taken from their documentation.

use crate::base::Duration;

/// The settings of a well-known provider.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// The value of `type`, and the default name of the provider.
    pub name: &'static str,
    /// The text of the provider's button.
    pub display_name: &'static str,
    /// The protocol and its URLs.
    pub protocol: Protocol,
    /// The scopes to request by default.
    pub scopes: &'static [&'static str],
    /// User attribute and the provider's claim, if their names differ.
    pub attributes: &'static [(&'static str, &'static str)],
    /// Deviations from the standards.
    pub quirks: Quirks,
}

/// A protocol and its URLs.
#[derive(Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OpenID Connect. Discovery provides the other URLs.
    OpenId {
        /// The issuer.
        issuer: &'static str,
    },
    /// OpenID Connect with one issuer for each tenant.
    OpenIdTenants {
        /// The common prefix of the issuers, which tenant and version follow.
        authority: &'static str,
    },
    /// OAuth 2.0 (RFC 6749) with a profile endpoint.
    OAuth2 {
        /// The issuer, which distinguishes the provider's accounts from those of others.
        issuer: &'static str,
        /// The authorization endpoint.
        authorization: &'static str,
        /// The token endpoint.
        token: &'static str,
        /// The address of the user's profile.
        userinfo: &'static str,
        /// The member of the profile that identifies the account.
        subject: &'static str,
    },
}

/// The client authentication method (RFC 7591, section 2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// The method in the provider's metadata.
    AsMetadataSays,
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
    /// `private_key_jwt` (OpenID Connect Core 1.0, section 9; RFC 7523).
    PrivateKeyJwt,
    /// `none`: a public client.
    None,
}

/// The default maximum age of a provider's claims.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// How the verification of an e-mail address is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The value of a claim with this name.
    Claim(&'static str),
    /// The value of `email_verified`, if Google hosts the mailbox. Google may have verified other
    /// addresses years ago, and their owner may have changed since.
    WhereGoogleIsAuthoritative,
    /// The provider does not state whether an address is verified.
    Never,
}

/// A list of a user's groups at the provider.
#[derive(Debug, PartialEq, Eq)]
pub struct GroupList {
    /// The URL of the list.
    pub address: &'static str,
    /// JSON Pointers (RFC 6901) into each entry, whose values form the group's name, separated by
    /// `/`.
    pub name: &'static [&'static str],
}

/// Deviations of a provider from the standards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// The client authentication method.
    pub client_auth: ClientAuth,
    /// Whether the provider supports PKCE (RFC 7636), or ignores it as RFC 6749, section 3.1,
    /// requires.
    pub pkce: bool,
    /// Whether the ID token contains the nonce.
    pub nonce: bool,
    /// Whether the provider responds with a form (OAuth 2.0 Form Post Response Mode).
    pub form_post: bool,
    /// The claims that identify the account.
    pub subject: &'static [&'static str],
    /// How the verification of an e-mail address is determined.
    pub verified: Verified,
    /// Whether the provider sends the user's name only at the first sign-in, through the browser.
    pub name_once: bool,
    /// The maximum age of the claims; `None` for the default.
    pub lifetime: Option<Duration>,
    /// Whether API calls need a proof of the client secret (Facebook's `appsecret_proof`).
    pub appsecret_proof: bool,
    /// The list of the user's e-mail addresses, each with `primary` and `verified`: the required
    /// scope, and the URL.
    pub emails: Option<(&'static str, &'static str)>,
    /// The required scope for the lists of groups.
    pub groups_scope: &'static str,
    /// The lists of groups.
    pub groups: &'static [GroupList],
    /// Other issuers that the metadata and tokens may contain.
    pub issuer_aliases: &'static [&'static str],
    /// The value of `prompt` that lets the user choose another account.
    pub account_prompt: &'static str,
    /// The origin of the API, and the API's path on a self-hosted instance.
    pub self_hosted_api: Option<(&'static str, &'static str)>,
}

/// The value of `prompt` for providers with an account chooser.
pub const SELECT_ACCOUNT: &str = "select_account";

/// The settings of a provider without deviations.
pub const STANDARD: Quirks = Quirks {
    client_auth: ClientAuth::AsMetadataSays,
    pkce: true,
    nonce: true,
    form_post: false,
    account_prompt: "login",
    subject: &["sub"],
    verified: Verified::Claim("email_verified"),
    name_once: false,
    lifetime: None,
    appsecret_proof: false,
    emails: None,
    groups_scope: "",
    groups: &[],
    issuer_aliases: &[],
    self_hosted_api: None,
};

const OPENID: &[&str] = &["openid", "email", "profile"];

/// The presets, by name.
pub const PRESETS: [Preset; 10] = [
    // developer.amazon.com/docs/login-with-amazon/authorization-code-grant.html
    Preset {
        name: "amazon",
        display_name: "Amazon",
        protocol: Protocol::OAuth2 {
            issuer: "https://www.amazon.com",
            authorization: "https://www.amazon.com/ap/oa",
            token: "https://api.amazon.com/auth/o2/token",
            userinfo: "https://api.amazon.com/user/profile",
            subject: "user_id",
        },
        scopes: &["profile"],
        attributes: &[],
        quirks: Quirks { client_auth: ClientAuth::Post, verified: Verified::Never, ..STANDARD },
    },
    // developer.apple.com/documentation/signinwithapplerestapi
    Preset {
        name: "apple",
        display_name: "Apple",
        protocol: Protocol::OpenId { issuer: "https://appleid.apple.com" },
        scopes: &["openid", "email", "name"],
        attributes: &[],
        quirks: Quirks {
            client_auth: ClientAuth::Post,
            form_post: true,
            name_once: true,
            // Apple's metadata has sometimes contained this issuer while its tokens contained the
            // other.
            issuer_aliases: &["https://account.apple.com"],
            // Apple allows one verification of a refresh token per day.
            lifetime: Some(Duration::from_secs(86400)),
            ..STANDARD
        },
    },
    // discord.com/developers/docs/topics/oauth2
    Preset {
        name: "discord",
        display_name: "Discord",
        protocol: Protocol::OAuth2 {
            issuer: "https://discord.com",
            authorization: "https://discord.com/oauth2/authorize",
            token: "https://discord.com/api/oauth2/token",
            userinfo: "https://discord.com/api/v10/users/@me",
            subject: "id",
        },
        scopes: &["identify", "email"],
        attributes: &[("name", "global_name"), ("preferred_username", "username")],
        quirks: Quirks {
            client_auth: ClientAuth::Post,
            verified: Verified::Claim("verified"),
            groups_scope: "guilds",
            groups: &[GroupList { address: "https://discord.com/api/v10/users/@me/guilds", name: &["/id"] }],
            ..STANDARD
        },
    },
    // developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow
    Preset {
        name: "facebook",
        display_name: "Facebook",
        protocol: Protocol::OAuth2 {
            issuer: "https://www.facebook.com",
            authorization: "https://www.facebook.com/v23.0/dialog/oauth",
            token: "https://graph.facebook.com/v23.0/oauth/access_token",
            userinfo: "https://graph.facebook.com/v23.0/me?fields=id,name,first_name,middle_name,last_name,email,picture",
            subject: "id",
        },
        scopes: &["public_profile", "email"],
        attributes: &[
            ("given_name", "first_name"),
            ("middle_name", "middle_name"),
            ("family_name", "last_name"),
            ("picture", "/picture/data/url"),
        ],
        quirks: Quirks {
            client_auth: ClientAuth::Post,
            verified: Verified::Never,
            appsecret_proof: true,
            ..STANDARD
        },
    },
    // docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
    Preset {
        name: "github",
        display_name: "GitHub",
        protocol: Protocol::OAuth2 {
            issuer: "https://github.com",
            authorization: "https://github.com/login/oauth/authorize",
            token: "https://github.com/login/oauth/access_token",
            userinfo: "https://api.github.com/user",
            subject: "id",
        },
        scopes: &["read:user", "user:email"],
        attributes: &[("preferred_username", "login"), ("picture", "avatar_url"), ("profile", "html_url")],
        quirks: Quirks {
            client_auth: ClientAuth::Post,
            emails: Some(("user:email", "https://api.github.com/user/emails?per_page=100")),
            account_prompt: SELECT_ACCOUNT,
            groups_scope: "read:org",
            groups: &[
                GroupList { address: "https://api.github.com/user/orgs?per_page=100", name: &["/login"] },
                GroupList {
                    address: "https://api.github.com/user/teams?per_page=100",
                    name: &["/organization/login", "/slug"],
                },
            ],
            self_hosted_api: Some(("https://api.github.com", "/api/v3")),
            ..STANDARD
        },
    },
    // docs.gitlab.com/integration/openid_connect_provider
    Preset {
        name: "gitlab",
        display_name: "GitLab",
        protocol: Protocol::OpenId { issuer: "https://gitlab.com" },
        scopes: OPENID,
        attributes: &[],
        quirks: STANDARD,
    },
    // developers.google.com/identity/openid-connect/openid-connect
    Preset {
        name: "google",
        display_name: "Google",
        protocol: Protocol::OpenId { issuer: "https://accounts.google.com" },
        scopes: OPENID,
        attributes: &[],
        quirks: Quirks {
            verified: Verified::WhereGoogleIsAuthoritative,
            account_prompt: SELECT_ACCOUNT,
            ..STANDARD
        },
    },
    // learn.microsoft.com/linkedin/consumer/integrations/self-serve/sign-in-with-linkedin-v2
    Preset {
        name: "linkedin",
        display_name: "LinkedIn",
        protocol: Protocol::OpenId { issuer: "https://www.linkedin.com/oauth" },
        scopes: OPENID,
        attributes: &[],
        // LinkedIn rejects a code verifier, and its ID token contains no nonce.
        quirks: Quirks { client_auth: ClientAuth::Post, pkce: false, nonce: false, ..STANDARD },
    },
    // learn.microsoft.com/entra/identity-platform/v2-protocols-oidc
    Preset {
        name: "microsoft",
        display_name: "Microsoft",
        protocol: Protocol::OpenIdTenants { authority: "https://login.microsoftonline.com" },
        scopes: OPENID,
        attributes: &[],
        // A tenant can assign any address to its users. This claim states whether the tenant owns
        // the domain.
        quirks: Quirks { verified: Verified::Claim("xms_edov"), account_prompt: SELECT_ACCOUNT, ..STANDARD },
    },
    // docs.slack.dev/authentication/sign-in-with-slack
    Preset {
        name: "slack",
        display_name: "Slack",
        protocol: Protocol::OpenId { issuer: "https://slack.com" },
        scopes: OPENID,
        attributes: &[("groups", "https://slack.com/team_id")],
        // A user id is unique only within its workspace.
        quirks: Quirks {
            client_auth: ClientAuth::Post,
            subject: &["https://slack.com/team_id", "sub"],
            ..STANDARD
        },
    },
];

impl Preset {
    /// Returns the preset with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }
}

//! The providers that people know by name. What their documentation says of them is data, and stands here.

use crate::base::Duration;

/// A provider that people know by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its `type`, and its name unless the file says otherwise.
    pub name: &'static str,
    /// What its button says.
    pub display_name: &'static str,
    /// What it speaks, and where.
    pub speaks: Speaks,
    /// The scopes that are asked for unless the file names others.
    pub scopes: &'static [&'static str],
    /// User attribute -> the provider's claim, where the two have not the same name.
    pub attributes: &'static [(&'static str, &'static str)],
    /// Where it departs from the standards.
    pub quirks: Quirks,
}

/// A protocol, and the addresses where it is spoken.
#[derive(Debug, PartialEq, Eq)]
pub enum Speaks {
    /// OpenID Connect: its issuer tells everything else.
    OpenId {
        /// The issuer.
        issuer: &'static str,
    },
    /// OpenID Connect by one issuer for each tenant.
    OpenIdTenants {
        /// What their issuers have in common: tenant and version follow.
        authority: &'static str,
    },
    /// OAuth 2.0 (RFC 6749) with an API that tells who a token speaks for.
    OAuth2 {
        /// Who its accounts are told apart by.
        issuer: &'static str,
        /// The authorization endpoint.
        authorization: &'static str,
        /// The token endpoint.
        token: &'static str,
        /// Where the person's profile is.
        userinfo: &'static str,
        /// What of the profile names the account.
        subject: &'static str,
    },
}

/// How a client secret is sent (RFC 7591, section 2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// As the provider's metadata says.
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

/// How long what a provider says of a person is relied on at most, unless its preset states another time.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// By what an e-mail address counts as verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// By a claim of this name.
    Claim(&'static str),
    /// By `email_verified` where Google hosts the mailbox: it has checked other addresses once, maybe years
    /// ago, and whoever had one may have left its owner since.
    WhereGoogleIsAuthoritative,
    /// By nothing that the provider says.
    Never,
}

/// A list that the provider keeps of a person's groups.
#[derive(Debug, PartialEq, Eq)]
pub struct GroupList {
    /// Where.
    pub address: &'static str,
    /// JSON Pointers (RFC 6901) into each entry, whose values make the name with `/` between.
    pub name: &'static [&'static str],
}

/// Where a provider departs from what the standards say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// How it wants the client secret.
    pub client_auth: ClientAuth,
    /// Whether it knows PKCE (RFC 7636), or ignores it as RFC 6749, section 3.1, asks.
    pub pkce: bool,
    /// Whether its ID token says the nonce again.
    pub nonce: bool,
    /// Whether it answers by a form (OAuth 2.0 Form Post Response Mode).
    pub form_post: bool,
    /// The claims that name the account.
    pub subject: &'static [&'static str],
    /// By what an e-mail address counts as verified.
    pub verified: Verified,
    /// Whether it tells the person's name only the first time, by the browser.
    pub name_once: bool,
    /// For how long what it says of a person counts, where that is not for the access token to say.
    pub lifetime: Option<Duration>,
    /// Whether calls must prove that the caller knows the client secret (Facebook's `appsecret_proof`).
    pub appsecret_proof: bool,
    /// Where the person's e-mail addresses are listed, each with `primary` and `verified`: the scope that opens
    /// the list, and its address.
    pub emails: Option<(&'static str, &'static str)>,
    /// The scope that opens the lists of groups.
    pub groups_scope: &'static str,
    /// The lists of groups.
    pub groups: &'static [GroupList],
    /// Other names under which its issuer appears in metadata and tokens.
    pub issuer_aliases: &'static [&'static str],
    /// The `prompt` by which it lets the person choose another account.
    pub account_prompt: &'static str,
    /// Which of its addresses, and below which path they stand where somebody runs it themselves.
    pub own_api: Option<(&'static str, &'static str)>,
}

/// What providers with a list of accounts call it.
pub const SELECT_ACCOUNT: &str = "select_account";

/// No departure.
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
    own_api: None,
};

const OPENID: &[&str] = &["openid", "email", "profile"];

/// The presets, by name.
pub const PRESETS: [Preset; 10] = [
    // developer.amazon.com/docs/login-with-amazon/authorization-code-grant.html
    Preset {
        name: "amazon",
        display_name: "Amazon",
        speaks: Speaks::OAuth2 {
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
        speaks: Speaks::OpenId { issuer: "https://appleid.apple.com" },
        scopes: &["openid", "email", "name"],
        attributes: &[],
        quirks: Quirks {
            client_auth: ClientAuth::Post,
            form_post: true,
            name_once: true,
            // Its metadata has named this host at times, while its tokens named the other.
            issuer_aliases: &["https://account.apple.com"],
            // It lets a refresh token be checked once a day.
            lifetime: Some(Duration::from_secs(86400)),
            ..STANDARD
        },
    },
    // discord.com/developers/docs/topics/oauth2
    Preset {
        name: "discord",
        display_name: "Discord",
        speaks: Speaks::OAuth2 {
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
        speaks: Speaks::OAuth2 {
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
        speaks: Speaks::OAuth2 {
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
            own_api: Some(("https://api.github.com", "/api/v3")),
            ..STANDARD
        },
    },
    // docs.gitlab.com/integration/openid_connect_provider
    Preset {
        name: "gitlab",
        display_name: "GitLab",
        speaks: Speaks::OpenId { issuer: "https://gitlab.com" },
        scopes: OPENID,
        attributes: &[],
        quirks: STANDARD,
    },
    // developers.google.com/identity/openid-connect/openid-connect
    Preset {
        name: "google",
        display_name: "Google",
        speaks: Speaks::OpenId { issuer: "https://accounts.google.com" },
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
        speaks: Speaks::OpenId { issuer: "https://www.linkedin.com/oauth" },
        scopes: OPENID,
        attributes: &[],
        // It answers a code verifier with an error, and does not say the nonce again.
        quirks: Quirks { client_auth: ClientAuth::Post, pkce: false, nonce: false, ..STANDARD },
    },
    // learn.microsoft.com/entra/identity-platform/v2-protocols-oidc
    Preset {
        name: "microsoft",
        display_name: "Microsoft",
        speaks: Speaks::OpenIdTenants { authority: "https://login.microsoftonline.com" },
        scopes: OPENID,
        attributes: &[],
        // Any tenant may give its people any address: this claim says that the domain is the tenant's own.
        quirks: Quirks { verified: Verified::Claim("xms_edov"), account_prompt: SELECT_ACCOUNT, ..STANDARD },
    },
    // docs.slack.dev/authentication/sign-in-with-slack
    Preset {
        name: "slack",
        display_name: "Slack",
        speaks: Speaks::OpenId { issuer: "https://slack.com" },
        scopes: OPENID,
        attributes: &[("groups", "https://slack.com/team_id")],
        // A user's id is one of its workspace.
        quirks: Quirks {
            client_auth: ClientAuth::Post,
            subject: &["https://slack.com/team_id", "sub"],
            ..STANDARD
        },
    },
];

impl Preset {
    /// The preset called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }
}

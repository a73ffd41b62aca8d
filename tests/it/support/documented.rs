//! What the documentation of each provider that people know by name says of it, as far as a client
//! can see.

use super::stand_in::{CLIENT, Documented, OpenId, Person, Pkce, SECRET, Wrong};
use serde_json::{Value, json};

/// The person's address, and whether the provider has verified it.
fn verified(person: Person) -> bool {
    person == Person::Verified
}

/// Returns an error of RFC 6749, section 5.2, with these descriptions.
fn token_error(wrong: Wrong, words: [&str; 4]) -> (u16, Value) {
    let [client, redirect, code, verifier] = words;
    let (status, error, description) = match wrong {
        Wrong::Client => (401, "invalid_client", client),
        Wrong::Redirect => (400, "invalid_grant", redirect),
        Wrong::Code => (400, "invalid_grant", code),
        Wrong::Verifier => (400, "invalid_grant", verifier),
    };
    (status, json!({"error": error, "error_description": description}))
}

const DENIED: &[(&str, &str)] = &[("error", "access_denied")];

pub static AMAZON: Documented = Documented {
    name: "amazon",
    pages: &[
        "https://developer.amazon.com/docs/login-with-amazon/authorization-code-grant.html",
        "https://developer.amazon.com/docs/login-with-amazon/obtain-customer-profile.html",
    ],
    authorize: "/ap/oa",
    token: "/auth/o2/token",
    userinfo: "/user/profile",
    scope: "profile",
    pkce: Pkce::Checked,
    basic: true,
    signed_secret: false,
    form_post: false,
    openid: None,
    granted: || json!({"token_type": "bearer", "expires_in": 3600, "refresh_token": ""}),
    error: |wrong| {
        token_error(
            wrong,
            [
                "Client authentication failed",
                "The redirect URI is not the one of the authorization request",
                "The request has an invalid grant parameter : code",
                "The code verifier is invalid",
            ],
        )
    },
    refusal: &[
        ("error", "access_denied"),
        ("error_description", "The customer or authorization server denied the request."),
    ],
    api: |asked| {
        (asked.path == "/user/profile").then(|| {
            (
                200,
                json!({
                    "user_id": "amzn1.account.K2LI23KL2LK2", "email": "alice@corp.example", "name": "Alice",
                    "postal_code": "98052",
                }),
            )
        })
    },
};

pub static APPLE: Documented = Documented {
    name: "apple",
    pages: &[
        "https://developer.apple.com/documentation/signinwithapplerestapi/request-an-authorization-to-the-sign-in-with-apple-server",
        "https://developer.apple.com/documentation/signinwithapplerestapi/generate-and-validate-tokens",
        "https://developer.apple.com/documentation/accountorganizationaldatasharing/creating-a-client-secret",
    ],
    authorize: "/auth/authorize",
    token: "/auth/token",
    userinfo: "",
    scope: "openid email name",
    pkce: Pkce::Ignored,
    basic: false,
    signed_secret: true,
    form_post: true,
    openid: Some(OpenId {
        issuer: "",
        location: "",
        keys: "/auth/keys",
        metadata: || json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]}),
        says_nonce: true,
        key: |_| json!({}),
        // The documentation has the flags as text or as truth values.
        claims: |person| {
            json!({
                "sub": "001234.abcdef.1234", "email": "alice@corp.example",
                "email_verified": verified(person).to_string(), "is_private_email": "false", "nonce_supported": true,
            })
        },
    }),
    granted: || json!({"token_type": "Bearer", "expires_in": 3600, "refresh_token": ""}),
    error: |wrong| match wrong {
        Wrong::Client => (400, json!({"error": "invalid_client"})),
        _ => (
            400,
            json!({"error": "invalid_grant", "error_description": "The code has expired or has been revoked."}),
        ),
    },
    refusal: &[("error", "user_cancelled_authorize")],
    api: |_| None,
};

pub static DISCORD: Documented = Documented {
    name: "discord",
    pages: &[
        "https://discord.com/developers/docs/topics/oauth2",
        "https://discord.com/developers/docs/resources/user",
    ],
    authorize: "/oauth2/authorize",
    token: "/api/oauth2/token",
    userinfo: "/api/v10/users/@me",
    scope: "identify email",
    pkce: Pkce::Checked,
    basic: true,
    signed_secret: false,
    form_post: false,
    openid: None,
    granted: || json!({"token_type": "Bearer", "expires_in": 604_800, "refresh_token": "", "scope": "identify email"}),
    error: |wrong| match wrong {
        Wrong::Client => (401, json!({"error": "invalid_client"})),
        _ => token_error(
            wrong,
            [
                "",
                "Invalid \"redirect_uri\" in request.",
                "Invalid \"code\" in request.",
                "Invalid \"code_verifier\" in request.",
            ],
        ),
    },
    refusal: &[
        ("error", "access_denied"),
        ("error_description", "The resource owner or authorization server denied the request"),
    ],
    api: |asked| {
        (asked.path == "/api/v10/users/@me").then(|| {
            (
                200,
                json!({
                    "id": "80351110224678912", "username": "alice", "global_name": "Alice", "discriminator": "0",
                    "avatar": "8342729096ea3675442027381ff50dfe", "email": "alice@corp.example",
                    "verified": verified(asked.person), "locale": "en-US",
                }),
            )
        })
    },
};

pub static FACEBOOK: Documented = Documented {
    name: "facebook",
    pages: &[
        "https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow",
        "https://developers.facebook.com/docs/facebook-login/guides/advanced/oidc-token",
        "https://developers.facebook.com/docs/graph-api/guides/secure-requests",
    ],
    authorize: "/v23.0/dialog/oauth",
    token: "/v23.0/oauth/access_token",
    userinfo: "/v23.0/me",
    scope: "public_profile email",
    pkce: Pkce::Checked,
    basic: false,
    signed_secret: false,
    form_post: false,
    openid: None,
    granted: || json!({"token_type": "bearer", "expires_in": 5_183_944}),
    error: |wrong| {
        let (message, code) = match wrong {
            Wrong::Client => ("Error validating client secret.", 1),
            Wrong::Redirect => (
                "Error validating verification code. Please make sure your redirect_uri is identical to the one you used in the OAuth dialog request",
                100,
            ),
            Wrong::Code => ("This authorization code has been used.", 100),
            Wrong::Verifier => ("Invalid code_verifier parameter", 100),
        };
        let error = json!({"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "Aq9"});
        (400, json!({ "error": error }))
    },
    refusal: &[
        ("error_reason", "user_denied"),
        ("error", "access_denied"),
        ("error_description", "Permissions error."),
    ],
    api: |asked| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, asked.token.as_bytes());
        let proof: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        if asked.query.get("appsecret_proof") != Some(&proof) {
            let error = json!({"message": "Invalid appsecret_proof provided in the API argument", "type": "GraphMethodException", "code": 100});
            return Some((400, json!({ "error": error })));
        }
        let fields = asked.query.get("fields").map_or("", String::as_str);
        let all = json!({
            "id": "10219876543210", "name": "Alice Example", "first_name": "Alice", "last_name": "Example",
            "email": "alice@corp.example",
            "picture": {"data": {"height": 50, "is_silhouette": false, "url": "https://platform.example/alice.jpg", "width": 50}},
        });
        let told =
            all.as_object().unwrap().iter().filter(|(name, _)| fields.split(',').any(|field| field == *name));
        (asked.path == "/v23.0/me")
            .then(|| (200, Value::Object(told.map(|(name, value)| (name.clone(), value.clone())).collect())))
    },
};

pub static GITHUB: Documented = Documented {
    name: "github",
    pages: &[
        "https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps",
        "https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors",
        "https://docs.github.com/rest/users/emails",
        "https://github.blog/changelog/2025-07-14-pkce-support-for-oauth-and-github-app-authentication",
    ],
    authorize: "/login/oauth/authorize",
    token: "/login/oauth/access_token",
    // As GitHub Enterprise Server has it.
    userinfo: "/api/v3/user",
    scope: "read:org read:user user:email",
    pkce: Pkce::Checked,
    basic: false,
    signed_secret: false,
    form_post: false,
    openid: None,
    granted: || json!({"token_type": "bearer", "scope": "read:org,read:user,user:email"}),
    error: |wrong| {
        let (error, description) = match wrong {
            Wrong::Client => {
                ("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.")
            }
            Wrong::Redirect => (
                "redirect_uri_mismatch",
                "The redirect_uri MUST match the registered callback URL for this application.",
            ),
            Wrong::Code | Wrong::Verifier => {
                ("bad_verification_code", "The code passed is incorrect or expired.")
            }
        };
        (
            200,
            json!({"error": error, "error_description": description, "error_uri": "https://docs.github.com/"}),
        )
    },
    refusal: &[
        ("error", "access_denied"),
        ("error_description", "The user has denied your application access."),
        ("error_uri", "https://docs.github.com/"),
    ],
    api: |asked| {
        let second = asked.query.get("page").is_some();
        Some((
            200,
            match asked.path {
                // What the profile shows is nobody's but the person's own word.
                "/api/v3/user" => json!({
                    "login": "alice", "id": 583_231, "name": "Alice", "email": "boss@corp.example",
                    "avatar_url": "https://avatars.example/u/583231", "html_url": "https://github.example/alice",
                }),
                "/api/v3/user/emails" => json!([
                    {"email": "alice@users.noreply.github.com", "primary": false, "verified": true, "visibility": null},
                    {"email": "alice@corp.example", "primary": true, "verified": verified(asked.person), "visibility": "private"},
                ]),
                "/api/v3/user/orgs" if second => json!([{"login": "guild", "id": 2}]),
                "/api/v3/user/orgs" => json!({
                    "entries": [{"login": "corp", "id": 1}], "next page": "/api/v3/user/orgs?per_page=100&page=2",
                }),
                "/api/v3/user/teams" => {
                    json!([{"slug": "owners", "name": "Owners", "organization": {"login": "corp"}}])
                }
                _ => return None,
            },
        ))
    },
};

pub static GITLAB: Documented = Documented {
    name: "gitlab",
    pages: &[
        "https://docs.gitlab.com/integration/openid_connect_provider",
        "https://docs.gitlab.com/api/oauth2",
    ],
    authorize: "/oauth/authorize",
    token: "/oauth/token",
    userinfo: "/oauth/userinfo",
    scope: "openid email profile",
    pkce: Pkce::Checked,
    basic: true,
    signed_secret: false,
    form_post: false,
    openid: Some(OpenId {
        issuer: "",
        location: "",
        keys: "/oauth/discovery/keys",
        metadata: || json!({"token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"]}),
        says_nonce: true,
        key: |_| json!({}),
        claims: |person| {
            json!({
                "sub": "42", "sub_legacy": "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3", "auth_time": 1,
                "name": "Alice", "email": "alice@corp.example", "email_verified": verified(person), "groups_direct": ["corp"],
            })
        },
    }),
    granted: || json!({"token_type": "Bearer", "expires_in": 7200, "refresh_token": "", "created_at": 1}),
    error: |wrong| {
        let grant = "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client.";
        token_error(wrong, ["Client authentication failed due to unknown client", grant, grant, grant])
    },
    refusal: &[
        ("error", "access_denied"),
        ("error_description", "The resource owner or authorization server denied the request."),
    ],
    api: |asked| {
        (asked.path == "/oauth/userinfo").then(|| {
            (
                200,
                json!({
                    "sub": "42", "sub_legacy": "a94a", "name": "Alice", "nickname": "alice", "preferred_username": "alice",
                    "email": "alice@corp.example", "email_verified": verified(asked.person),
                    "profile": "https://gitlab.example/alice", "groups": ["corp", "corp/platform"],
                }),
            )
        })
    },
};

pub static GOOGLE: Documented = Documented {
    name: "google",
    pages: &[
        "https://developers.google.com/identity/openid-connect/openid-connect",
        "https://developers.google.com/identity/protocols/oauth2/web-server",
        "https://developers.google.com/identity/gsi/web/guides/verify-google-id-token",
    ],
    authorize: "/o/oauth2/v2/auth",
    token: "/token",
    userinfo: "/v1/userinfo",
    scope: "openid email profile",
    pkce: Pkce::Checked,
    basic: true,
    signed_secret: false,
    form_post: false,
    openid: Some(OpenId {
        issuer: "",
        location: "",
        keys: "/oauth2/v3/certs",
        metadata: || json!({"token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"]}),
        says_nonce: true,
        key: |_| json!({"alg": "RS256", "use": "sig"}),
        // `email_verified` is true in both: the difference is whether Google hosts the mailbox.
        claims: |person| {
            let mut claims = json!({
                "azp": CLIENT, "sub": "10769150350006150715113082367", "email": "alice@corp.example",
                "email_verified": true, "name": "Alice", "picture": "https://lh3.example/alice",
                "given_name": "Alice", "family_name": "Example", "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
            });
            if verified(person) {
                claims["hd"] = "corp.example".into();
            }
            claims
        },
    }),
    granted: || json!({"token_type": "Bearer", "expires_in": 3599, "scope": "openid"}),
    error: |wrong| match wrong {
        Wrong::Redirect => {
            (400, json!({"error": "redirect_uri_mismatch", "error_description": "Bad Request"}))
        }
        _ => token_error(wrong, ["Unauthorized", "", "Bad Request", "Invalid code verifier."]),
    },
    refusal: DENIED,
    api: |asked| {
        (asked.path == "/v1/userinfo").then(|| {
            (
                200,
                json!({
                    "sub": "10769150350006150715113082367", "name": "Alice", "given_name": "Alice",
                    "picture": "https://lh3.example/alice", "email": "alice@corp.example", "email_verified": true,
                }),
            )
        })
    },
};

pub static LINKEDIN: Documented = Documented {
    name: "linkedin",
    pages: &[
        "https://learn.microsoft.com/linkedin/consumer/integrations/self-serve/sign-in-with-linkedin-v2",
        "https://learn.microsoft.com/linkedin/shared/authentication/authorization-code-flow",
    ],
    authorize: "/oauth/v2/authorization",
    token: "/oauth/v2/accessToken",
    userinfo: "/v2/userinfo",
    scope: "openid email profile",
    pkce: Pkce::Refused,
    basic: false,
    signed_secret: false,
    form_post: false,
    openid: Some(OpenId {
        issuer: "/oauth",
        location: "",
        keys: "/oauth/openid/jwks",
        metadata: || json!({}),
        says_nonce: false,
        key: |_| json!({}),
        claims: |_| json!({"sub": "782bbtaQ"}),
    }),
    granted: || json!({"token_type": "Bearer", "expires_in": 5_184_000, "scope": "email,openid,profile"}),
    error: |wrong| match wrong {
        Wrong::Client => {
            (401, json!({"error": "invalid_client", "error_description": "Client authentication failed"}))
        }
        _ => (
            400,
            json!({
                "error": "invalid_request",
                "error_description": "Unable to retrieve access token: appid/redirect uri/code verifier does not match authorization code. Or authorization code expired. Or external member binding exists",
            }),
        ),
    },
    refusal: &[("error", "user_cancelled_login"), ("error_description", "The user cancelled LinkedIn login")],
    // The place is an object in practice, where OpenID Connect has a language.
    api: |asked| {
        (asked.path == "/v2/userinfo").then(|| {
            (
                200,
                json!({
                    "sub": "782bbtaQ", "name": "Alice Example", "given_name": "Alice", "family_name": "Example",
                    "picture": "https://media.example/alice", "locale": {"country": "US", "language": "en"},
                    "email": "alice@corp.example", "email_verified": verified(asked.person),
                }),
            )
        })
    },
};

pub static MICROSOFT: Documented = Documented {
    name: "microsoft",
    pages: &[
        "https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc",
        "https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow",
        "https://learn.microsoft.com/entra/identity-platform/access-tokens",
        "https://learn.microsoft.com/entra/identity-platform/optional-claims-reference",
    ],
    authorize: "/organizations/oauth2/v2.0/authorize",
    token: "/organizations/oauth2/v2.0/token",
    userinfo: "/oidc/userinfo",
    scope: "openid email profile",
    pkce: Pkce::Checked,
    basic: true,
    signed_secret: false,
    form_post: false,
    openid: Some(OpenId {
        issuer: "/{tenantid}/v2.0",
        location: "/organizations/v2.0",
        keys: "/organizations/discovery/v2.0/keys",
        metadata: || json!({"token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"]}),
        says_nonce: true,
        key: |base| json!({"use": "sig", "issuer": format!("{base}/{{tenantid}}/v2.0")}),
        // Any tenant gives its people any address: the optional claim alone says whose domain it
        // is.
        claims: |person| {
            json!({
                "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "oid": "00000000-0000-0000-66f3-3332eca7ea81",
                "ver": "2.0", "name": "Alice", "preferred_username": "alice@corp.example", "email": "alice@corp.example",
                "xms_edov": if verified(person) { json!(1) } else { json!(false) },
            })
        },
    }),
    granted: || json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "refresh_token": "", "scope": "openid"}),
    error: |wrong| {
        let (status, error, words) = match wrong {
            Wrong::Client => (401, "invalid_client", "AADSTS7000215: Invalid client secret provided."),
            Wrong::Redirect => (
                400,
                "invalid_grant",
                "AADSTS500112: The reply address does not match the one provided when the code was requested.",
            ),
            Wrong::Code => {
                (400, "invalid_grant", "AADSTS54005: OAuth2 Authorization code was already redeemed.")
            }
            Wrong::Verifier => (
                400,
                "invalid_grant",
                "AADSTS501481: The Code_Verifier does not match the code_challenge supplied in the authorization request.",
            ),
        };
        (status, json!({"error": error, "error_description": words, "error_codes": [1], "trace_id": "t"}))
    },
    refusal: &[
        ("error", "access_denied"),
        ("error_description", "AADSTS65004: User declined to consent to access the app."),
        ("error_subcode", "cancel"),
    ],
    api: |asked| {
        (asked.path == "/oidc/userinfo").then(|| {
            (
                200,
                json!({
                    "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "name": "Alice", "family_name": "Example",
                    "given_name": "Alice", "picture": "https://graph.example/photo", "email": "alice@corp.example",
                }),
            )
        })
    },
};

pub static SLACK: Documented = Documented {
    name: "slack",
    pages: &[
        "https://docs.slack.dev/authentication/sign-in-with-slack",
        "https://api.slack.com/methods/openid.connect.token",
    ],
    authorize: "/openid/connect/authorize",
    token: "/api/openid.connect.token",
    userinfo: "/api/openid.connect.userInfo",
    scope: "openid email profile",
    pkce: Pkce::Ignored,
    basic: true,
    signed_secret: false,
    form_post: false,
    openid: Some(OpenId {
        issuer: "",
        location: "",
        keys: "/openid/connect/keys",
        metadata: || json!({"token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"]}),
        says_nonce: true,
        key: |_| json!({}),
        claims: |person| {
            json!({
                "sub": "U0R7MFMJM", "auth_time": 1_626_874_655, "at_hash": "tUbyWGBHe0V32FJEupkgVQ",
                "https://slack.com/team_id": "T0RR", "https://slack.com/user_id": "U0R7MFMJM",
                "email": "alice@corp.example", "email_verified": verified(person), "date_email_verified": 1_622_128_723,
                "locale": "en-US", "name": "Alice", "given_name": "", "family_name": "",
            })
        },
    }),
    granted: || json!({"ok": true, "token_type": "Bearer"}),
    error: |wrong| {
        let error = match wrong {
            Wrong::Client => "bad_client_secret",
            Wrong::Redirect => "bad_redirect_uri",
            Wrong::Code | Wrong::Verifier => "invalid_code",
        };
        (200, json!({"ok": false, "error": error}))
    },
    refusal: DENIED,
    api: |asked| {
        (asked.path == "/api/openid.connect.userInfo").then(|| {
            (
                200,
                json!({
                    "ok": true, "sub": "U0R7MFMJM", "https://slack.com/user_id": "U0R7MFMJM",
                    "https://slack.com/team_id": "T0RR", "email": "alice@corp.example",
                    "email_verified": verified(asked.person), "name": "Alice",
                }),
            )
        })
    },
};

/// One that nobody knows by name, whose profile is nested.
pub static OTHER: Documented = Documented {
    name: "oauth2",
    pages: &[
        "https://www.rfc-editor.org/rfc/rfc6749#section-4.1",
        "https://www.rfc-editor.org/rfc/rfc7636#section-4",
    ],
    authorize: "/authorize",
    token: "/token",
    userinfo: "/me",
    scope: "profile",
    pkce: Pkce::Checked,
    basic: true,
    signed_secret: false,
    form_post: false,
    openid: None,
    granted: || json!({"token_type": "bearer"}),
    error: |wrong| token_error(wrong, ["who?", "another address", "another code", "another verifier"]),
    refusal: DENIED,
    api: |asked| {
        let person = json!({"uid": 7, "mail": "alice@corp.example", "checked": verified(asked.person), "roles": ["staff"]});
        (asked.path == "/me").then(|| (200, json!({"data": {"user": person}, "display/name": "Alice"})))
    },
};

//! JSON lines: one object a line, which is a group or a user.

use super::fields::Fields;
use super::row::Entry;
use super::user::UserLine;
use crate::directory::error::{DirectoryError, Outcome};
use crate::directory::factors::parse_token;
use crate::directory::groups::{NewGroup, check_group};
use crate::directory::password::PasswordHash;
use crate::jose::unique_keys_object;
use crate::model::{Factor, Identity, Profile, UserFactors, UserStatus};
use crate::store::{StoredFactors, StoredPassword};
use zeroize::Zeroizing;

/// Maximum bytes of a line.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// The version of the format.
pub const VERSION: u32 = 1;

/// A line of the file.
pub enum JsonLine {
    /// The format's version, on the first line.
    Format(Option<u32>),
    /// A group.
    Group(NewGroup),
    /// A user.
    User(Box<UserLine>),
}

/// Parses a line. Returns the name of its group or user, as far as it is known, and the line.
pub fn parse(line: &str) -> (String, Outcome<JsonLine>) {
    let Some(object) = unique_keys_object(line.as_bytes()) else {
        let words = "The line is not a JSON object, or a name occurs in it twice.";
        return (String::new(), Err(DirectoryError::invalid(words)));
    };
    let text = |name: &str| object.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let (kind, username) = (text("kind"), text("username"));
    let name = if username.is_empty() { text("name") } else { username };
    let mut fields = Fields::new(object);
    let parsed = fields.text("kind").and_then(|_| match kind.as_str() {
        "format" => format(fields),
        "group" => group(fields).map(JsonLine::Group),
        "user" => user(fields).map(|user| JsonLine::User(Box::new(user))),
        _ => Err(DirectoryError::invalid("kind: must be group or user.")),
    });
    (name, parsed)
}

impl JsonLine {
    /// Returns the line's entry, made by `user` of a user.
    ///
    /// # Errors
    /// Returns an error for a line that is none, or that `user` refuses.
    pub fn entry(self, user: impl FnOnce(UserLine) -> Outcome<Entry>) -> Outcome<Entry> {
        match self {
            Self::Format(_) => Err(DirectoryError::invalid("kind: the format is stated on the first line.")),
            Self::Group(group) => Ok(Entry::Group(group)),
            Self::User(line) => user(*line),
        }
    }
}

fn format(mut fields: Fields) -> Outcome<JsonLine> {
    let version = fields.number("version")?;
    fields.text("pool")?;
    fields.finish()?;
    Ok(JsonLine::Format(version))
}

fn group(mut fields: Fields) -> Outcome<NewGroup> {
    let group = NewGroup {
        name: fields.required("name")?,
        description: fields.text("description")?.unwrap_or_default(),
        role: fields.text("role")?.unwrap_or_default(),
        precedence: fields.number("precedence")?,
    };
    fields.finish()?;
    check_group(&group)?;
    Ok(group)
}

fn user(mut fields: Fields) -> Outcome<UserLine> {
    let status = match fields.text("status")? {
        None => None,
        Some(name) => {
            Some(UserStatus::parse(&name).ok_or_else(|| DirectoryError::invalid("status: is not known."))?)
        }
    };
    let mut user = UserLine {
        username: fields.required("username")?,
        sub: fields.text("sub")?,
        attributes: fields.attributes("attributes")?.unwrap_or_default(),
        status,
        enabled: fields.flag("enabled")?,
        created_at: fields.time("created_at")?,
        updated_at: fields.time("updated_at")?,
        groups: fields.texts("groups")?,
        provider_groups: fields.texts("provider_groups")?,
        identities: Vec::new(),
        password: None,
        factors: None,
    };
    for identity in fields.objects("identities")? {
        user.identities.push(self::identity(identity)?);
    }
    if let Some(password) = fields.object("password")? {
        user.password = Some(self::password(password)?);
    }
    if let Some(factors) = fields.object("factors")? {
        user.factors = Some(self::factors(factors)?);
    }
    fields.finish()?;
    Ok(user)
}

/// Parses the second factors. Without its secret a software token is not turned on.
fn factors(mut fields: Fields) -> Outcome<StoredFactors> {
    let factor = |at: &str, name: &str| {
        Factor::parse(name)
            .ok_or_else(|| DirectoryError::invalid(format!("factors.{at}: {name} is not known.")))
    };
    let token = fields.text("software_token")?.map(Zeroizing::new);
    let token = token.map(|text| {
        let invalid = "factors.software_token: must be base32 of 16 to 64 bytes.";
        parse_token(&text).ok_or_else(|| DirectoryError::invalid(invalid))
    });
    let mut of = StoredFactors { factors: UserFactors::default(), token: token.transpose()? };
    for name in fields.texts("enabled")? {
        of.factors.set(factor("enabled", &name)?, true);
    }
    if let Some(name) = fields.text("preferred")? {
        let preferred = factor("preferred", &name)?;
        if !of.factors.enabled.contains(&preferred) {
            return Err(DirectoryError::invalid("factors.preferred: must be one of factors.enabled."));
        }
        of.factors.preferred = Some(preferred);
    }
    of.factors.has_software_token = of.token.is_some();
    if of.token.is_none() {
        // No sign-in could answer it.
        of.factors.set(Factor::SoftwareToken, false);
    }
    fields.finish()?;
    Ok(of)
}

fn identity(mut fields: Fields) -> Outcome<(Identity, Option<Profile>)> {
    let identity = Identity {
        issuer: fields.required("issuer")?,
        subject: fields.required("subject")?,
        provider: fields.required("provider")?,
        saml: fields.flag("saml")?.unwrap_or_default(),
    };
    let (attributes, groups) = (fields.attributes("attributes")?, fields.texts("groups")?);
    fields.finish()?;
    Ok((identity, attributes.map(|attributes| Profile { attributes, groups })))
}

/// Parses a password. A time of setting that is not there is marked by 0.
fn password(mut fields: Fields) -> Outcome<StoredPassword> {
    let text = Zeroizing::new(fields.required("hash")?);
    let hash = PasswordHash::parse(&text);
    let hash = hash.map_err(|error| DirectoryError::invalid(format!("password.hash: {error}.")))?;
    let password = StoredPassword {
        hash: Zeroizing::new(hash.expose().as_bytes().to_vec()),
        set_at: fields.time("set_at")?.unwrap_or(super::user::NOT_STATED),
        expires_at: fields.time("expires_at")?,
    };
    fields.finish()?;
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(line: &str) -> String {
        match parse(line).1 {
            Ok(_) => String::new(),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn each_mistake_has_its_reason() {
        let user = |more: &str| format!(r#"{{"kind":"user","username":"ann",{more}}}"#);
        let many: Vec<String> = (0..101).map(|number| format!("\"a{number}\":\"x\"")).collect();
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for (line, expected) in [
            ("", "The line is not a JSON object, or a name occurs in it twice."),
            ("[]", "The line is not a JSON object, or a name occurs in it twice."),
            (&deep, "The line is not a JSON object, or a name occurs in it twice."),
            (
                &user(&format!("\"attributes\":{deep}")),
                "The line is not a JSON object, or a name occurs in it twice.",
            ),
            (
                &user(r#""enabled":true,"enabled":false"#),
                "The line is not a JSON object, or a name occurs in it twice.",
            ),
            ("{}", "kind: must be group or user."),
            (r#"{"kind":7}"#, "kind: must be a text."),
            (r#"{"kind":"user"}"#, "username: the value is required."),
            (r#"{"kind":"group"}"#, "name: the value is required."),
            (
                r#"{"kind":"group","name":"a b"}"#,
                "1 validation error detected: Value at 'groupName' failed to satisfy \
              constraint: Member must satisfy regular expression pattern: [\\p{L}\\p{M}\\p{S}\\p{N}\\p{P}]+",
            ),
            (
                r#"{"kind":"group","name":"a","precedence":-1}"#,
                "precedence: must be a number from 0 to 4294967295.",
            ),
            (r#"{"kind":"group","name":"a","shoe":1}"#, "unknown field `shoe`"),
            (&user(r#""shoe":1"#), "unknown field `shoe`"),
            (&user(r#""sub":1"#), "sub: must be a text."),
            (&user(r#""status":"OK""#), "status: is not known."),
            (&user(r#""enabled":1"#), "enabled: must be true or false."),
            (&user(r#""created_at":"2020""#), "created_at: must be a number of seconds since 1970."),
            (&user(r#""created_at":1e300"#), "created_at: must be a number of seconds since 1970."),
            (&user(r#""updated_at":-1"#), "updated_at: must be a number of seconds since 1970."),
            (&user(r#""groups":"a""#), "groups: must be a list of at most 1000 values."),
            (&user(r#""groups":[1]"#), "groups: must be a list of texts."),
            (&user(r#""attributes":{"a":1}"#), "attributes: must be an object of texts."),
            (&user(r#""attributes":{"a":"\u0000"}"#), "attributes: has a NUL character."),
            (&user(&format!("\"attributes\":{{{}}}", many.join(","))), "Too many attributes."),
            (&user(r#""identities":[{}]"#), "issuer: the value is required."),
            (&user(r#""identities":[1]"#), "identities: must be a list of objects."),
            (&user(r#""password":"$2b$10$secret""#), "password: must be an object."),
            (&user(r#""password":{}"#), "hash: the value is required."),
            (
                &user(r#""password":{"hash":"secret"}"#),
                "password.hash: the password hash has no known format.",
            ),
            (
                &user(r#""password":{"hash":"$2b$99$secret"}"#),
                "password.hash: the password hash is malformed.",
            ),
        ] {
            assert_eq!(reason(line), expected, "{line:.200}");
            assert!(!reason(line).contains("secret"), "a hash is in a report");
        }
    }

    #[test]
    fn each_mistake_about_second_factors_has_its_reason() {
        for (factors, expected) in [
            (r#"{"enabled":["PIN"]}"#, "factors.enabled: PIN is not known."),
            (r#"{"enabled":[],"preferred":"SMS_MFA"}"#, "factors.preferred: must be one of factors.enabled."),
            (r#"{"software_token":"secret"}"#, "factors.software_token: must be base32 of 16 to 64 bytes."),
            (r#"{"shoe":1}"#, "unknown field `shoe`"),
        ] {
            let line = format!(r#"{{"kind":"user","username":"ann","factors":{factors}}}"#);
            assert_eq!(reason(&line), expected);
        }
    }

    #[test]
    fn a_name_is_reported_even_of_a_bad_line() {
        assert_eq!(parse(r#"{"kind":"user","username":"ann","shoe":1}"#).0, "ann");
        assert_eq!(parse(r#"{"kind":"group","name":"staff","shoe":1}"#).0, "staff");
        assert_eq!(parse("no").0, "");
    }

    #[test]
    fn times_have_milliseconds() {
        let line = r#"{"kind":"user","username":"ann","created_at":1800000000.123,"updated_at":1800000001}"#;
        let (_, Ok(JsonLine::User(user))) = parse(line) else { panic!("it is a user") };
        assert_eq!(user.created_at.unwrap().millis(), 1_800_000_000_123);
        assert_eq!(user.updated_at.unwrap().millis(), 1_800_000_001_000);
    }
}

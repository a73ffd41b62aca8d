//! All texts of the pages, one file per language.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The files of the languages. The first is the one for everybody else.
const FILES: [&str; 7] = [
    include_str!("texts/en.toml"),
    include_str!("texts/de.toml"),
    include_str!("texts/fr.toml"),
    include_str!("texts/es.toml"),
    include_str!("texts/pt.toml"),
    include_str!("texts/ja.toml"),
    include_str!("texts/ar.toml"),
];

/// Maximum number of entries of `Accept-Language` that are read.
const MAX_ACCEPTED: usize = 20;

/// The texts of the pages in one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, clippy::missing_docs_in_private_items)]
pub struct Texts {
    /// The code of the language (RFC 5646).
    pub language: String,
    /// The writing direction, `ltr` or `rtl`.
    pub direction: String,
    /// The names of the standard attributes.
    pub attributes: BTreeMap<String, String>,
    /// Titles and advice of error pages, by the names of their constructors. English has none here.
    #[serde(default)]
    pub errors: BTreeMap<String, [String; 2]>,
    pub sign_in: String,
    pub to_continue_to: String,
    pub continue_with: String,
    pub last_time: String,
    pub or: String,
    pub email: String,
    pub phone_number: String,
    pub email_or_phone: String,
    pub username: String,
    pub username_or_email: String,
    pub password: String,
    pub new_password: String,
    pub forgot_password: String,
    pub no_account: String,
    pub create_account: String,
    pub have_account: String,
    pub no_provider: String,
    pub back_to_sign_in: String,
    pub sign_up: String,
    pub optional: String,
    pub confirm_title: String,
    pub code_sent: String,
    pub code: String,
    pub confirm: String,
    pub resend_code: String,
    pub code_resent: String,
    pub link_used: String,
    pub link_sent: String,
    pub resend_link: String,
    pub link_resent: String,
    pub link_expired: String,
    pub account_confirmed: String,
    pub can_sign_in: String,
    pub already_confirmed: String,
    pub confirm_account_of: String,
    pub wait_for_administrator: String,
    pub account_created: String,
    pub reset_title: String,
    pub reset_lead: String,
    pub send_code: String,
    pub reset_code_sent: String,
    pub set_password: String,
    pub reset_required: String,
    pub new_password_title: String,
    pub new_password_lead: String,
    pub at_least: String,
    pub with_uppercase: String,
    pub with_lowercase: String,
    pub with_number: String,
    pub with_symbol: String,
    pub required: String,
    pub wrong_password: String,
    pub attempts_exceeded: String,
    pub user_disabled: String,
    pub temporary_password_expired: String,
    pub session_expired: String,
    pub weak_password: String,
    pub reused_password: String,
    pub wrong_code: String,
    pub expired_code: String,
    pub username_taken: String,
    pub address_taken: String,
    pub too_many_messages: String,
    pub not_sent: String,
    pub invalid_value: String,
    pub attribute_missing: String,
    pub busy: String,
    pub second_factor: String,
    pub second_factor_lead: String,
    pub token_lead: String,
    pub factor_sent: String,
    pub use_app: String,
    pub use_email: String,
    pub use_sms: String,
    pub used_code: String,
    pub wrong_token_code: String,
    pub no_factor: String,
    pub set_up_title: String,
    pub set_up_lead: String,
    pub qr_label: String,
    pub token_key: String,
    pub recovery_codes: String,
    pub recovery_codes_lead: String,
    pub codes_left: String,
    pub new_recovery_codes: String,
    pub go_on: String,
    pub set_up_app: String,
    pub replace_app: String,
    pub remove_app: String,
    pub app_added: String,
    pub app_removed: String,
    pub turn_on_email: String,
    pub turn_off_email: String,
    pub turn_on_sms: String,
    pub turn_off_sms: String,
    pub sign_out: String,
    pub sign_out_question: String,
    pub sign_out_effect: String,
    pub stay: String,
    pub signed_out: String,
    pub signed_out_effect: String,
    pub sign_in_again: String,
    pub signed_in_as: String,
    pub your_apps: String,
    pub no_apps: String,
    pub your_sessions: String,
    pub this_browser: String,
    pub last_used: String,
    pub since: String,
    pub just_now: String,
    pub minutes_ago: String,
    pub hours_ago: String,
    pub days_ago: String,
    pub sign_out_everywhere: String,
    pub your_account: String,
    pub profile: String,
    pub save: String,
    pub saved: String,
    pub your_email: String,
    pub new_email: String,
    pub change_email: String,
    pub current_password: String,
    pub your_password: String,
    pub change_password: String,
    pub password_changed: String,
    pub new_address_code: String,
    pub address_changed: String,
    pub your_phone_number: String,
    pub new_phone_number: String,
    pub change_phone_number: String,
    pub new_number_code: String,
    pub number_changed: String,
    pub linked_accounts: String,
    pub delete_account: String,
    pub delete_effect: String,
    pub account_deleted: String,
    pub account_deleted_effect: String,
    pub download_data: String,
    pub request_id: String,
    pub try_again: String,
    pub go_to_start_page: String,
    pub denied_as: String,
    pub support: String,
    pub terms: String,
    pub one_moment: String,
    pub goes_on_elsewhere: String,
    pub app_asks: String,
    pub app_gets: String,
    pub scope_openid: String,
    pub scope_email: String,
    pub scope_phone: String,
    pub scope_profile: String,
    pub scope_account: String,
    pub allow: String,
    pub do_not_allow: String,
    pub use_another_account: String,
    pub allowed_apps: String,
    pub withdraw: String,
    pub device_title: String,
    pub device_lead: String,
    pub device_warning: String,
    pub device_wrong_code: String,
    pub device_allowed: String,
    pub device_allowed_effect: String,
    pub device_denied: String,
    pub device_denied_effect: String,
    pub one_more_step: String,
    pub goes_on_at: String,
}

static LANGUAGES: LazyLock<Vec<Texts>> = LazyLock::new(|| {
    let read = |file: &&str| toml::from_str(file).expect("invariant: a test reads each file");
    FILES.iter().map(read).collect()
});

impl Texts {
    /// Returns the texts in the first of the `wanted` languages that there is, or in English.
    pub fn of(wanted: &[&str]) -> &'static Self {
        let find = |tag: &&str| {
            let primary = tag.split(['-', '_']).next().unwrap_or_default();
            LANGUAGES.iter().find(|texts| texts.language.eq_ignore_ascii_case(primary))
        };
        wanted.iter().find_map(find).unwrap_or(&LANGUAGES[0])
    }

    /// Returns the codes of all languages.
    pub fn languages() -> Vec<&'static str> {
        LANGUAGES.iter().map(|texts| texts.language.as_str()).collect()
    }

    /// Returns the name of an attribute. A custom one has the name that the pool gives it.
    pub fn attribute<'a>(&'a self, name: &'a str) -> &'a str {
        let plain = name.strip_prefix("custom:").unwrap_or(name);
        self.attributes.get(name).map_or(plain, String::as_str)
    }
}

/// Returns the languages of an `Accept-Language` header, the preferred one first (RFC 9110, section
/// 12.5.4).
pub fn accepted_languages(header: &str) -> Vec<&str> {
    fn read(entry: &str) -> Option<(f32, &str)> {
        let (tag, weight) = entry.split_once(';').unwrap_or((entry, "q=1"));
        let weight: f32 = weight.trim().strip_prefix("q=")?.trim().parse().ok()?;
        let tag = tag.trim();
        (!tag.is_empty() && tag != "*" && weight > 0.0 && weight <= 1.0).then_some((weight, tag))
    }
    let mut all: Vec<(f32, &str)> = header.split(',').take(MAX_ACCEPTED).filter_map(read).collect();
    all.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    all.into_iter().map(|(_, tag)| tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_each_text_and_its_placeholders() {
        let all = FILES.map(|file| toml::from_str::<toml::Table>(file).unwrap());
        for (file, table) in FILES.iter().zip(&all) {
            let texts: Texts = toml::from_str(file).unwrap();
            assert!(matches!(&*texts.direction, "ltr" | "rtl"), "{}", texts.language);
            for (key, value) in table.iter().filter_map(|(key, value)| Some((key, value.as_str()?))) {
                let english = all[0][key].as_str().unwrap();
                assert_eq!(
                    value.matches("{}").count(),
                    english.matches("{}").count(),
                    "{}: {key}",
                    texts.language
                );
                assert!(!value.trim().is_empty(), "{}: {key}", texts.language);
            }
            assert!(
                texts.attributes.keys().eq(all[0]["attributes"].as_table().unwrap().keys()),
                "{}",
                texts.language
            );
        }
    }

    #[test]
    fn each_language_has_each_error() {
        for texts in LANGUAGES.iter().filter(|texts| texts.language != "en") {
            let mut names = super::super::failure::ERROR_NAMES.to_vec();
            names.sort_unstable();
            assert!(texts.errors.keys().eq(names.iter()), "{}", texts.language);
            assert!(
                texts.errors.values().flatten().all(|text| !text.trim().is_empty()),
                "{}",
                texts.language
            );
        }
    }

    #[test]
    fn the_language_is_the_preferred_one_that_there_is() {
        for (header, language) in [
            ("", "en"),
            ("de", "de"),
            ("de-CH,fr;q=0.9", "de"),
            ("tlh, de;q=0.1", "de"),
            ("en;q=0.2, de;q=0.8", "de"),
            ("de;q=0", "en"),
            ("*;q=0.5,,;,de;q=x", "en"),
        ] {
            assert_eq!(Texts::of(&accepted_languages(header)).language, language, "{header}");
        }
    }
}

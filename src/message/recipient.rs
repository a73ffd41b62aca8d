//! Telephone numbers, their country codes, and masked recipients.

use crate::config::Channel;

/// The country codes with two digits (ITU-T E.164, annex D). `1` and `7` have one digit, and all
/// others three.
const TWO_DIGITS: [&str; 44] = [
    "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48",
    "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81",
    "82", "84", "86", "90", "91", "92", "93", "94", "95", "98",
];

/// Parses a telephone number: a `+` and 7 to 15 digits (ITU-T E.164, section 6.2.1).
pub(super) fn phone_number(text: &str) -> Result<&str, &'static str> {
    let digits = text.strip_prefix('+').filter(|digits| (7..=15).contains(&digits.len()));
    match digits {
        Some(digits) if !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(text),
        _ => Err("is no telephone number in the form of E.164, such as +4915112345678"),
    }
}

/// Returns the country code of a telephone number, with the `+`. There are at most 800 codes, so
/// that it can be a label of metrics.
pub fn sms_prefix(number: &str) -> &'static str {
    /// All codes, so that a label needs no allocation.
    static CODES: std::sync::LazyLock<Vec<String>> =
        std::sync::LazyLock::new(|| (0..1000).map(|code| format!("+{code}")).collect());
    let digits = number.trim_start_matches('+');
    let length = match digits {
        digits if digits.starts_with(['1', '7']) => 1,
        digits if digits.get(..2).is_some_and(|two| TWO_DIGITS.contains(&two)) => 2,
        _ => 3,
    };
    let code = digits.get(..length).and_then(|code| code.parse::<usize>().ok());
    code.and_then(|code| CODES.get(code)).map_or("+", String::as_str)
}

/// Returns the masked recipient, in the form of Cognito's `CodeDeliveryDetails`: `f***@e***`, or
/// the last four digits.
pub fn mask(channel: Channel, recipient: &str) -> String {
    let first = |text: &str| text.chars().next().map(String::from).unwrap_or_default();
    match channel {
        Channel::Email => {
            let (local, domain) = recipient.split_once('@').unwrap_or((recipient, ""));
            format!("{}***@{}***", first(local), first(domain))
        }
        Channel::Sms => {
            let shown = recipient.len().saturating_sub(4);
            let (hidden, last) = recipient.split_at_checked(shown).unwrap_or(("", ""));
            format!("+{}{last}", "*".repeat(hidden.len().saturating_sub(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_form_of_e164() {
        for good in ["+4915112345678", "+12025550123", "+2901234"] {
            assert_eq!(phone_number(good), Ok(good));
        }
        for bad in
            ["", "+", "4915112345678", "+0491511234", "+49 151 12345", "+123456", "+1234567890123456", "+49x"]
        {
            assert!(phone_number(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_country_code_is_the_shortest_that_exists() {
        for (number, prefix) in [
            ("+12025550123", "+1"),
            ("+79991234567", "+7"),
            ("+4915112345678", "+49"),
            ("+35312345678", "+353"),
            ("+88212345678", "+882"),
            ("+9", "+"),
        ] {
            assert_eq!(sms_prefix(number), prefix);
        }
    }

    #[test]
    fn recipients_are_masked_as_cognito_does() {
        assert_eq!(mask(Channel::Email, "foo@example.com"), "f***@e***");
        assert_eq!(mask(Channel::Sms, "+4915112345678"), "+*********5678");
    }
}

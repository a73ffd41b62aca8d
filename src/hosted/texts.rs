//! Every word of the pages, one table per language.

/// The words of the pages.
pub struct Texts {
    pub language: &'static str,
    pub sign_in: &'static str,
    pub to_continue_to: &'static str,
    pub continue_with: &'static str,
    pub sign_out: &'static str,
    pub sign_out_question: &'static str,
    pub sign_out_effect: &'static str,
    pub stay: &'static str,
    pub signed_out: &'static str,
    pub signed_out_effect: &'static str,
    pub sign_in_again: &'static str,
    pub signed_in_as: &'static str,
    pub your_apps: &'static str,
    pub no_apps: &'static str,
    pub request_id: &'static str,
}

/// English.
pub const ENGLISH: Texts = Texts {
    language: "en",
    sign_in: "Sign in",
    to_continue_to: "to continue to",
    continue_with: "Continue with",
    sign_out: "Sign out",
    sign_out_question: "Sign out?",
    sign_out_effect: "You will be signed out of every app in this browser.",
    stay: "Stay signed in",
    signed_out: "You are signed out",
    signed_out_effect: "Every app in this browser has forgotten you.",
    sign_in_again: "Sign in again",
    signed_in_as: "Signed in as",
    your_apps: "Your apps",
    no_apps: "No app stands behind this door yet.",
    request_id: "Request",
};

//! The pages on which users of a pool sign in with a password, sign up and recover. They hold no
//! rule of their own: the directory decides.

mod context;
mod factor;
mod first_code;
mod link;
mod recovery;
mod reply;
mod sign_in;
mod sign_up;
mod step_up;
mod words;

pub(super) use context::{new_password_field, secret, text};
pub use factor::{factor_form, set_up_form};
pub(super) use factor::{recovery_codes_page, token_image};
pub use first_code::first_code_form;
pub use link::confirm_user;
pub use recovery::{
    confirm_forgot_password, confirm_forgot_password_form, forgot_password, forgot_password_form,
};
pub(super) use reply::attribute_field;
pub use sign_in::{SignInForm, login_form, new_password_form, sign_in_page};
pub use sign_up::{confirm_user_form, resend_code_form, sign_up, sign_up_form};
pub use step_up::{StepUpPage, step_up_page};
pub(super) use words::of_error as words_of_error;

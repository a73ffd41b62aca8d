//! The link in a message that confirms a sign-up, and what it proves.

use super::AccountService;
use super::code_delivery::Requester;
use crate::base::{KeyRing, Secret, base64url_decode, base64url_encode};
use crate::catalogue::Catalogue;
use crate::config::MessageEvent;
use crate::directory::error::Outcome;
use crate::directory::sender::Sender;
use crate::message::is_link_alone;
use crate::model::{Pool, SignInAttribute, UserStatus};

/// The path of the page that a link opens.
const PATH: &str = "/confirmUser";

/// The values in a link.
#[derive(Clone, Copy, Debug)]
pub struct ConfirmationLink<'a> {
    /// The user name.
    pub name: &'a str,
    /// The code.
    pub code: &'a Secret,
    /// The proof that Narthex wrote the link; may be empty.
    pub proof: &'a str,
}

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Narthex wrote the link, and its user waits for the confirmation.
    Pending,
    /// Narthex wrote the link, and its user is confirmed.
    Confirmed,
    /// Nothing shows that Narthex wrote the link: the page must not reveal whether there is a user.
    Unproven,
}

impl AccountService {
    /// Returns what a link leads to. It uses no code up and counts no attempt, because mail servers
    /// open links to check them.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn link_state(&self, sender: Sender<'_>, link: ConfirmationLink<'_>) -> Outcome<LinkState> {
        let account = self.account(sender.pool, link.name).await?;
        let expected = proof(&self.ring, &sender.client.id, account.no, link.code);
        let given = base64url_decode(link.proof).unwrap_or_default();
        let is_proven = aws_lc_rs::constant_time::verify_slices_are_equal(&expected, &given).is_ok();
        Ok(match account.user.filter(|_| is_proven) {
            None => LinkState::Unproven,
            Some(user) if user.status == UserStatus::Unconfirmed => LinkState::Pending,
            Some(_) => LinkState::Confirmed,
        })
    }

    /// Returns whether the message of a sign-up has a link and no code, so that no page need ask
    /// for one. A pool that also sends text messages asks for it.
    pub fn confirms_by_link(&self, pool: &Pool, language: Option<&str>) -> bool {
        let catalogue = self.catalogue.load();
        let sends_text_messages = pool.settings.auto_verified.contains(&SignInAttribute::PhoneNumber);
        let templates = super::pool_messages::templates(&catalogue, pool);
        !sends_text_messages && is_link_alone(&templates, MessageEvent::SignUp, language)
    }
}

/// Returns the address of the page that confirms the sign-up of a user; `None` for a request
/// without an app client.
pub(super) fn address(
    (catalogue, ring): (&Catalogue, &KeyRing),
    requester: Requester<'_>,
    (account_no, name, code): (i64, &str, &Secret),
) -> Option<String> {
    let client_id = requester.client_id?;
    let proof = base64url_encode(proof(ring, client_id, account_no, code));
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs([
        ("client_id", client_id),
        ("user_name", name),
        ("confirmation_code", code.expose()),
        ("proof", &proof),
    ]);
    query.extend_pairs(requester.redirect_uri.map(|uri| ("redirect_uri", uri)));
    query.extend_pairs(requester.language.map(|language| ("lang", language)));
    Some(catalogue.config.public_url.join(&format!("{PATH}?{}", query.finish())))
}

/// Returns the MAC of a link. It distinguishes a link that was used from one that somebody made up:
/// the code itself is deleted when it is used.
fn proof(ring: &KeyRing, client_id: &str, account_no: i64, code: &Secret) -> [u8; 16] {
    ring.pseudonym(format!("confirmation link {client_id} {account_no} {}", code.expose()).as_bytes())
}

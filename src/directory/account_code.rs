//! The codes that users get in messages: of sign-up, of a forgotten password, of an address.

use super::error::{DirectoryError, ErrorKind, Outcome, TOO_MANY_ATTEMPTS};
use super::password_attempts::{Attempts, negative_no};
use crate::base::{Duration, Entropy, KeyRing, Secret, Timestamp, sha256};
use crate::message::count_used_code;
use crate::model::{Factor, is_phone_number};
use crate::store::{AccountCode, CodeCheck, Store, Tx};
use std::sync::Arc;

/// Wrong codes until a code is void.
const MAX_ATTEMPTS: u32 = 5;
/// The digits of a code.
pub(super) const DIGITS: usize = 6;
/// The digits of a code that replaces a password: Cognito's.
const LONG_DIGITS: usize = 8;

/// What a code is for. A code for one purpose is none for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodePurpose {
    /// Confirms a sign-up.
    SignUp,
    /// Allows a new password.
    ForgotPassword,
    /// Verifies the attribute of this name.
    Attribute(&'static str),
    /// Is the first factor of a sign-in, with its lifetime.
    FirstFactor(Factor, Duration),
    /// Is the second factor of a sign-in, with its lifetime.
    SecondFactor(Factor, Duration),
}

/// The lifetime of a code of sign-up and of an attribute: Cognito's.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// The lifetime of a code for a new password: Cognito's.
const SHORT: Duration = Duration::from_secs(3600);

impl CodePurpose {
    /// Returns the stored purpose, the stored target and the lifetime. One code of sign-up is
    /// valid at a time, whatever the channel.
    fn row(self) -> (&'static str, &'static str, Duration) {
        let address = |factor: Factor| factor.address().map_or("", |address| address.name());
        match self {
            Self::SignUp => ("sign_up", "account", LONG),
            Self::ForgotPassword => ("forgot_password", "account", SHORT),
            Self::Attribute(name) => ("attribute", name, LONG),
            Self::FirstFactor(factor, lifetime) => ("first_factor", address(factor), lifetime),
            Self::SecondFactor(factor, lifetime) => ("second_factor", address(factor), lifetime),
        }
    }

    /// Returns the lifetime of a code.
    pub fn lifetime(self) -> Duration {
        self.row().2
    }

    /// Returns the number of digits of a code. One that replaces a password has more.
    pub fn digits(self) -> usize {
        match self {
            Self::FirstFactor(..) => LONG_DIGITS,
            _ => DIGITS,
        }
    }

    /// Returns what is stored of a code: one of a sign-in is for the app client that asked for it.
    pub(super) fn of_client(self, client_id: Option<&str>, code: &Secret) -> Secret {
        match (self, client_id) {
            (Self::FirstFactor(..) | Self::SecondFactor(..), Some(client)) => {
                Secret::new(format!("{client} {}", code.expose().trim()))
            }
            _ => code.clone(),
        }
    }

    /// Returns the code of a user.
    pub(super) fn of(self, user_no: i64) -> AccountCode<'static> {
        let (purpose, target, _) = self.row();
        AccountCode { user_no, purpose, target }
    }

    /// Stores a code that is sent to `address`, in place of an earlier one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn put(
        self,
        tx: &mut Tx<'_>,
        (user_no, address): (i64, &str),
        code: &Secret,
        (ring, now): (&KeyRing, Timestamp),
    ) -> crate::store::Result<()> {
        let of = self.of(user_no);
        let hash = hash(ring, of, code);
        tx.put_account_code(of, (&hash, address), now.plus(self.lifetime()), now).await
    }

    /// Compares `code` with the one of a user, in a transaction of its own: the attempt counts,
    /// whatever follows. Where users are hidden, a user without a code is like a name without a
    /// user.
    ///
    /// # Errors
    /// Returns `CodeMismatchException`, `ExpiredCodeException`, or `LimitExceededException` after
    /// too many wrong codes.
    pub(super) async fn check(
        self,
        (store, ring): (&Store, &KeyRing),
        (user_no, hides_users): (i64, bool),
        code: &Secret,
        now: Timestamp,
    ) -> Outcome<RightCode> {
        let of = self.of(user_no);
        let hash = hash(ring, of, code);
        // Also across codes: a new one must not allow five more guesses.
        let guesses = Attempts { store, account_no: guesses_no(ring, of) };
        if !guesses.begin(now).await? {
            return Err(DirectoryError::new(ErrorKind::LimitExceeded, TOO_MANY_ATTEMPTS));
        }
        let check = store.transaction(|tx| {
            Box::pin(async move { tx.check_account_code(of, &hash, MAX_ATTEMPTS, now).await })
        });
        match check.await? {
            CodeCheck::Match(address) => {
                guesses.clear().await?;
                if is_phone_number(&address) {
                    count_used_code(&address);
                }
                Ok(RightCode { of, hash, address })
            }
            wrong => {
                guesses.fail(now).await?;
                Err(match wrong {
                    CodeCheck::Absent | CodeCheck::UsedUp if !hides_users => ErrorKind::CodeExpired,
                    CodeCheck::Expired => ErrorKind::CodeExpired,
                    _ => ErrorKind::CodeMismatch,
                }
                .into())
            }
        }
    }
}

/// A code that a user has entered correctly.
#[derive(Clone, Debug)]
pub(super) struct RightCode {
    of: AccountCode<'static>,
    hash: [u8; 32],
    /// The address that it was sent to; empty for a code of an older node.
    pub address: String,
}

impl RightCode {
    /// Returns the factor to whose address the code was sent.
    pub fn factor(&self) -> Factor {
        if is_phone_number(&self.address) { Factor::Sms } else { Factor::Email }
    }

    /// Uses the code up, in the transaction of what it allows: a failure leaves the code valid.
    ///
    /// # Errors
    /// Returns `ExpiredCodeException` if another request has used it.
    pub async fn use_up(&self, tx: &mut Tx<'_>) -> Outcome<()> {
        match tx.use_account_code(self.of, &self.hash).await? {
            true => Ok(()),
            false => Err(ErrorKind::CodeExpired.into()),
        }
    }
}

/// A source of codes. A deployment has random ones.
pub trait CodeSource: Send + Sync {
    /// Returns a new code of that many digits.
    fn new_code(&self, digits: usize) -> Secret;
}

/// Random codes.
pub(super) struct RandomCodes(pub Arc<dyn Entropy>);

impl CodeSource for RandomCodes {
    fn new_code(&self, digits: usize) -> Secret {
        new_code(&*self.0, digits)
    }
}

/// Returns a random code of that many digits, at most 18.
pub fn new_code(entropy: &dyn Entropy, digits: usize) -> Secret {
    // The bias of a remainder of 128 bits is below 2^-100.
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    let number = u128::from_be_bytes(bytes) % 10_u128.pow(digits as u32);
    Secret::new(format!("{number:0digits$}"))
}

/// Returns the number under which wrong codes of a user and purpose are counted, negative as that
/// of a name without a user.
fn guesses_no(ring: &KeyRing, of: AccountCode<'_>) -> i64 {
    let AccountCode { user_no, purpose, target } = of;
    negative_no(ring, format!("wrong codes {user_no} {purpose} {target}").as_bytes())
}

/// Returns what is stored of a code: a digest that a copy of the database does not help to guess.
fn hash(ring: &KeyRing, of: AccountCode<'_>, code: &Secret) -> [u8; 32] {
    let AccountCode { user_no, purpose, target } = of;
    sha256(ring.pseudonym(format!("code {user_no} {purpose} {target} {}", code.expose()).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{MasterKey, SystemEntropy};

    #[test]
    fn a_code_has_its_digits_and_its_digest_is_of_one_user_and_purpose() {
        for _ in 0..100 {
            for digits in [DIGITS, LONG_DIGITS] {
                let code = new_code(&SystemEntropy, digits);
                assert!(code.expose().len() == digits && code.expose().bytes().all(|b| b.is_ascii_digit()));
            }
        }
        let ring = KeyRing::new(&MasterKey::random(&SystemEntropy));
        let code = Secret::new("123456");
        let all = [
            hash(&ring, CodePurpose::SignUp.of(1), &code),
            hash(&ring, CodePurpose::SignUp.of(2), &code),
            hash(&ring, CodePurpose::ForgotPassword.of(1), &code),
            hash(&ring, CodePurpose::Attribute("email").of(1), &code),
            hash(&ring, CodePurpose::Attribute("phone_number").of(1), &code),
            hash(&ring, CodePurpose::SignUp.of(1), &Secret::new("123457")),
            hash(&ring, CodePurpose::FirstFactor(Factor::Email, SHORT).of(1), &code),
            hash(&ring, CodePurpose::SecondFactor(Factor::Email, SHORT).of(1), &code),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one));
        }
    }
}

//! Tokens of pages: sealed positions in a list.

use super::error::{DirectoryError, Outcome};
use crate::base::{Duration, Entropy, KeyRing, Purpose, Timestamp, base64url_decode, base64url_encode};

/// Maximum entries of a page.
pub(super) const MAX_PAGE: u32 = 60;
/// How long a token is valid: Cognito's hour.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
/// Maximum characters of a token.
const MAX_TOKEN_LENGTH: usize = 4096;

/// Which page of a list a client asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageRequest<'a> {
    /// The number of entries, 1 to 60; 60 if there is none.
    pub limit: Option<u32>,
    /// The token of the page before; the first page if there is none.
    pub token: Option<&'a str>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// The token of the next page, if there is one.
    pub token: Option<String>,
}

/// What seals the tokens of a list.
#[derive(Clone, Copy)]
pub(super) struct Tokens<'a> {
    /// The keys.
    pub ring: &'a KeyRing,
    /// What the list is of: its kind, pool and filter. A token is valid for this list alone.
    pub list: &'a str,
    /// The current time.
    pub now: Timestamp,
}

impl PageRequest<'_> {
    /// Returns the number of entries.
    ///
    /// # Errors
    /// Returns `InvalidParameterException` for more than 60.
    pub(super) fn limit(&self) -> Outcome<u32> {
        match self.limit.unwrap_or(MAX_PAGE) {
            // "Limit: Minimum value of 0" [ListUsers]; none of the pages is empty for it.
            0 => Ok(MAX_PAGE),
            limit if limit <= MAX_PAGE => Ok(limit),
            limit => Err(DirectoryError::invalid(format!(
                "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: \
                 Member must have value less than or equal to {MAX_PAGE}"
            ))),
        }
    }

    /// Returns the position that the token contains.
    ///
    /// # Errors
    /// Returns `InvalidParameterException` for a token of another list, or one that has expired.
    pub(super) fn position(&self, tokens: Tokens<'_>) -> Outcome<Option<Vec<u8>>> {
        let Some(token) = self.token else { return Ok(None) };
        let invalid = || DirectoryError::invalid("Invalid pagination token.");
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(invalid());
        }
        let sealed = base64url_decode(token).ok_or_else(invalid)?;
        let plain = tokens.ring.open(Purpose::PageToken, tokens.list, &sealed).map_err(|_| invalid())?;
        let Some((expires_at, position)) = plain.split_first_chunk::<8>() else { return Err(invalid()) };
        match i64::from_be_bytes(*expires_at) > tokens.now.millis() {
            true => Ok(Some(position.to_vec())),
            false => Err(invalid()),
        }
    }

    /// Returns the number in the token, 0 for the first page.
    pub(super) fn number(&self, tokens: Tokens<'_>) -> Outcome<i64> {
        let Some(position) = self.position(tokens)? else { return Ok(0) };
        let bytes: [u8; 8] = position
            .as_slice()
            .try_into()
            .map_err(|_| DirectoryError::invalid("Invalid pagination token."))?;
        Ok(i64::from_be_bytes(bytes))
    }
}

impl Tokens<'_> {
    /// Returns the token of a position.
    pub(super) fn seal(self, position: &[u8], entropy: &dyn Entropy) -> String {
        let expires_at = self.now.plus(TOKEN_LIFETIME).millis().to_be_bytes();
        let plain = [&expires_at[..], position].concat();
        base64url_encode(self.ring.seal(Purpose::PageToken, self.list, &plain, entropy))
    }

    /// Cuts `entries`, of which there is one too many if another page follows.
    pub(super) fn page<T>(
        self,
        mut entries: Vec<T>,
        limit: u32,
        number: impl Fn(&T) -> i64,
        entropy: &dyn Entropy,
    ) -> Page<T> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().filter(|_| more);
        let token = last.map(|entry| self.seal(&number(entry).to_be_bytes(), entropy));
        Page { entries, token }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{MasterKey, SystemEntropy};

    #[test]
    fn a_token_is_of_its_list_and_hour_alone() {
        let ring = KeyRing::new(&MasterKey::random(&SystemEntropy));
        let now = Timestamp::from_seconds(1_800_000_000);
        let tokens = Tokens { ring: &ring, list: "users/a/", now };
        let token = tokens.seal(b"here", &SystemEntropy);
        let read =
            |tokens, token: &str| PageRequest { limit: None, token: Some(token) }.position(tokens).ok();
        assert_eq!(read(tokens, &token), Some(Some(b"here".to_vec())));
        assert_eq!(read(Tokens { list: "users/b/", ..tokens }, &token), None);
        let later = |seconds| Tokens { now: now.plus(Duration::from_secs(seconds)), ..tokens };
        assert!(read(later(3599), &token).is_some());
        assert_eq!(read(later(3600), &token), None);
        assert_eq!(read(tokens, &token[1..]), None);
        assert_eq!(read(tokens, &"A".repeat(5000)), None);
    }

    #[test]
    fn pages_have_one_to_sixty_entries() {
        let limit = |limit| PageRequest { limit, token: None }.limit().ok();
        assert_eq!(
            [limit(None), limit(Some(0)), limit(Some(1)), limit(Some(60)), limit(Some(61))],
            [Some(60), Some(60), Some(1), Some(60), None]
        );
    }
}

//! Remembered devices of users: confirmation, list, end.
//!
//! A device proves at a sign-in that it has the secret of which its verifier was stored here.

use super::error::{DirectoryError, ErrorKind, Outcome};
use super::factors::ByUser;
use super::page_token::{Page, PageRequest, Tokens};
use super::service::DirectoryDeps;
use super::srp::{SALT_LENGTH, VERIFIER_LENGTH, Verifier};
use crate::base::{Clock, Entropy, KeyRing, base64url_encode, uuid};
use crate::model::{DeviceMode, Pool, User};
use crate::store::{CheckedWork, RememberedDevice, Store};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::net::IpAddr;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Devices of a user. One more removes the one that was not used for the longest time.
const MAX_DEVICES: usize = 50;
/// The longest key that is looked up, in characters.
pub(super) const MAX_DEVICE_KEY_LENGTH: usize = 100;
/// The characters of a group key after its hyphen.
const GROUP_KEY_LENGTH: usize = 9;

/// Confirms and lists the devices of users.
pub struct RememberedDeviceService {
    store: Store,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// A device that an app confirms (`ConfirmDevice`).
#[derive(Clone, Copy)]
pub struct DeviceConfirmation<'a> {
    /// The key that the sign-in answered.
    pub key: &'a str,
    /// The name; may be empty.
    pub name: &'a str,
    /// The verifier, in base64.
    pub verifier: &'a str,
    /// The salt, in base64.
    pub salt: &'a str,
    /// The client's address.
    pub address: Option<IpAddr>,
}

impl RememberedDeviceService {
    pub(super) fn new(deps: DirectoryDeps) -> Self {
        let DirectoryDeps { store, ring, clock, entropy, catalogue: _ } = deps;
        Self { store, ring, clock, entropy }
    }

    /// Stores the device with which a user signed in. `of_token` has the device of the access token
    /// and the methods of its sign-in. Returns whether the user has to decide that the device is
    /// remembered.
    ///
    /// A device that replaces the second factor is one of a sign-in with that factor.
    ///
    /// # Errors
    /// Returns `ResourceNotFoundException` for a device of another sign-in,
    /// `NotAuthorizedException` for one of a sign-in without the second factor that the user has,
    /// `DeviceKeyExistsException` for one that is confirmed, or `InvalidParameterException` for a
    /// verifier that is none.
    pub async fn confirm(
        &self,
        by: ByUser<'_>,
        (of_token, amr): (&str, &[String]),
        device: DeviceConfirmation<'_>,
    ) -> Outcome<bool> {
        let settings = by.pool.settings.devices;
        if !settings.is_on() {
            return Err(DirectoryError::invalid("Device tracking is not enabled for the user pool."));
        }
        if device.key != of_token || of_token.is_empty() {
            return Err(no_device());
        }
        let verifier = read_verifier(device.verifier, device.salt)
            .ok_or_else(|| DirectoryError::invalid("Invalid device secret verifier given."))?;
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let address = device.address.map_or_else(String::new, |address| address.to_string());
        let new = &RememberedDevice {
            key: device.key.to_owned(),
            name: device.name.to_owned(),
            verifier,
            is_remembered: settings.mode == DeviceMode::Always,
            address,
            created_at: now,
            changed_at: now,
            used_at: now,
        };
        let (user, mfa) = (by.user, &by.pool.settings.mfa);
        let (user_no, has_factor) = (user.no, amr.iter().any(|method| method == "mfa"));
        let confirmed = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let factors = tx.factors(user_no).await?;
                if settings.replaces_factor && !has_factor && mfa.is_asked_of(user, &factors) {
                    let words = "The device was not used to sign in with the second factor.";
                    return Err(DirectoryError::new(ErrorKind::NotAuthorized, words));
                }
                let stored = tx.remembered_devices(user_no).await?;
                if stored.iter().any(|device| device.key == new.key) {
                    return Err(ErrorKind::DeviceKeyExists.into());
                }
                if let Some(oldest) = stored.iter().min_by_key(|device| device.used_at)
                    && stored.len() >= MAX_DEVICES
                {
                    tx.remove_remembered_device(user_no, &oldest.key).await?;
                }
                Ok(tx.add_remembered_device(user_no, new, entropy).await?)
            })
        });
        confirmed.await?;
        audit("device_confirmed", by, device.key);
        Ok(settings.mode == DeviceMode::OptIn)
    }

    /// Returns a device.
    ///
    /// # Errors
    /// Returns `ResourceNotFoundException` if the user has no such device.
    pub async fn get(&self, user: &User, key: &str) -> Outcome<RememberedDevice> {
        let found = match key.len() <= MAX_DEVICE_KEY_LENGTH {
            true => self.store.remembered_device(user.no, key).await?,
            false => None,
        };
        found.ok_or_else(no_device)
    }

    /// Returns a page of a user's devices.
    ///
    /// # Errors
    /// Returns `InvalidParameterException` for a limit or a token that is not valid.
    pub async fn list(&self, user: &User, page: PageRequest<'_>) -> Outcome<Page<RememberedDevice>> {
        let list = format!("devices {}", user.no);
        let tokens = Tokens { ring: &self.ring, list: &list, now: self.clock.now() };
        let (limit, after) = (page.limit()? as usize, page.position(tokens)?);
        let mut entries = self.store.remembered_devices(user.no).await?;
        entries.retain(|device| after.as_ref().is_none_or(|after| device.key.as_bytes() > &after[..]));
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().filter(|_| has_more);
        let token = last.map(|device| tokens.seal(device.key.as_bytes(), &*self.entropy));
        Ok(Page { entries, token })
    }

    /// Sets whether a device is remembered.
    ///
    /// # Errors
    /// Returns `ResourceNotFoundException` if the user has no such device.
    pub async fn set_remembered(&self, by: ByUser<'_>, key: &str, is_remembered: bool) -> Outcome<()> {
        self.get(by.user, key).await?;
        let (user_no, now) = (by.user.no, self.clock.now());
        let set = self.store.transaction(|tx| {
            Box::pin(async move { tx.set_device_remembered(user_no, key, is_remembered, now).await })
        });
        if !set.await? {
            return Err(no_device());
        }
        audit(if is_remembered { "device_remembered" } else { "device_not_remembered" }, by, key);
        Ok(())
    }

    /// Removes a device, and ends its tokens: with one of them it could be confirmed again. Its
    /// next sign-in is one of a new device.
    ///
    /// # Errors
    /// Returns `ResourceNotFoundException` if the user has no such device.
    pub async fn forget(&self, by: ByUser<'_>, key: &str) -> Outcome<()> {
        self.get(by.user, key).await?;
        let (user_no, now, entropy) = (by.user.no, self.clock.now(), &*self.entropy);
        let removed = self.store.transaction(|tx| {
            Box::pin(async move {
                tx.end_refresh_families_of_device(user_no, key, now, entropy).await?;
                tx.remove_remembered_device(user_no, key).await
            })
        });
        if !removed.await? {
            return Err(no_device());
        }
        audit("device_forgotten", by, key);
        Ok(())
    }

    /// Returns the key of a new device in a region, which [`RememberedDeviceService::confirm`]
    /// expects.
    pub fn new_key(&self, pool: &Pool) -> String {
        let region = pool.id.split_once('_').map_or("", |(region, _)| region);
        format!("{region}_{}", uuid(&*self.entropy))
    }

    /// Returns the group key of a pool's devices.
    pub fn group_key(&self, pool: &Pool) -> String {
        group_key(&self.ring, pool)
    }
}

/// Returns the group key of a pool's devices, which takes the place of the pool in their proofs.
pub(super) fn group_key(ring: &KeyRing, pool: &Pool) -> String {
    let digest = base64url_encode(ring.pseudonym(format!("device group {}", pool.id).as_bytes()));
    let letters = digest.chars().filter(char::is_ascii_alphanumeric).take(GROUP_KEY_LENGTH);
    format!("-{}", letters.collect::<String>())
}

/// There is no such device. Apps forget theirs for these words, and sign in again.
pub(super) fn no_device() -> DirectoryError {
    DirectoryError::new(ErrorKind::ResourceNotFound, "Device does not exist.")
}

/// Reads the salt and the verifier of a device: big-endian integers of any width. Returns the form
/// of [`Verifier::to_bytes`].
fn read_verifier(verifier: &str, salt: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(fixed(salt, SALT_LENGTH)?.to_vec());
    bytes.extend_from_slice(&fixed(verifier, VERIFIER_LENGTH - SALT_LENGTH)?);
    Verifier::from_bytes(&bytes).ok()?;
    Some(bytes)
}

/// Returns a base64 integer with leading zeros.
fn fixed(text: &str, length: usize) -> Option<Zeroizing<Vec<u8>>> {
    // A third more than its bytes, and a zero byte of clients that print a signed integer.
    if text.len() > (length + 3).div_ceil(3) * 4 {
        return None;
    }
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let missing = length.checked_sub(significant.len())?;
    let mut out = Zeroizing::new(vec![0; missing]);
    out.extend_from_slice(significant);
    Some(out)
}

fn audit(change: &str, by: ByUser<'_>, key: &str) {
    let (sub, pool, client_id) = (&*by.user.id, &*by.user.pool_id, by.client_id);
    tracing::info!(target: "audit", event = "account_changed", change, sub, pool, client_id, device = key);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{MasterKey, SystemEntropy};

    #[test]
    fn integers_of_any_width_are_read_and_impossible_verifiers_refused() {
        let salt = STANDARD.encode([0x80; 16]);
        let padded = STANDARD.encode([&[0][..], &[0x80; 16]].concat());
        let v = STANDARD.encode([7; 384]);
        let plain = read_verifier(&v, &salt).unwrap();
        assert_eq!(read_verifier(&v, &padded), Some(plain));
        assert!(read_verifier(&STANDARD.encode([7; 10]), &STANDARD.encode([1])).is_some());
        let too_long = STANDARD.encode([7; 385]);
        let one = STANDARD.encode([1]);
        for (v, salt) in
            [(&one, &salt), (&too_long, &salt), (&v, &v), (&v, &"!".into()), (&String::new(), &salt)]
        {
            assert_eq!(read_verifier(v, salt), None, "{v:.20} {salt:.20}");
        }
    }

    #[test]
    fn each_pool_has_a_group_key() {
        let ring = KeyRing::new(&MasterKey::random(&SystemEntropy));
        let of = |id: &str| group_key(&ring, &Pool { id: id.to_owned(), ..Pool::default() });
        assert_eq!(of("a_1"), of("a_1"));
        assert_ne!(of("a_1"), of("a_2"));
        assert_eq!(of("a_1").len(), 10);
    }
}

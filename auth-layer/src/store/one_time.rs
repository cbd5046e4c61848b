//! What is used once: reserved keys and one-time records.

use std::fmt;

use chrono::serde::ts_milliseconds;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Payload;
#[cfg(doc)]
use super::TokenStore;
use crate::{clock::Timestamp, hash::sha256, id::SessionId};

/// The key of a reservation, a one-time record or a denial: a SHA-256 hash.
///
/// A store gets the hash and never the value. A reader of the store can therefore use no
/// authorization code.
///
/// ```
/// use auth_layer::store::HashedKey;
///
/// let key = HashedKey::of("authorization code", "SplxlOBeZQQYbYS6WxSbIA");
/// assert_eq!(key, HashedKey::of("authorization code", "SplxlOBeZQQYbYS6WxSbIA"));
/// assert_ne!(key, HashedKey::of("DPoP proof", "SplxlOBeZQQYbYS6WxSbIA"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashedKey([u8; 32]);

impl HashedKey {
    /// Hashes a value that is used for this purpose. Equal values of two purposes have different
    /// keys.
    pub fn of(purpose: &str, value: impl AsRef<[u8]>) -> Self {
        Self(sha256(&[&(purpose.len() as u64).to_be_bytes(), purpose.as_bytes(), value.as_ref()]))
    }

    /// Creates a key from a hash of 256 bits that the caller computed.
    pub const fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Returns the 32 bytes of the hash. A store compares all of them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first 128 bits, under which nodes hear of a denial.
    pub fn tag(&self) -> Uuid {
        Uuid::from_bytes(self.0.first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Debug for HashedKey {
    /// Prints the first four bytes, enough to tell two keys apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.0.first_chunk().copied().unwrap_or_default();
        write!(f, "HashedKey({:08x}..)", u32::from_be_bytes(first))
    }
}

/// A record that is redeemed once, for example what an authorization code stands for.
///
/// A node reads it ([`TokenStore::one_time`]), decides whether the request is right, opens the
/// session, and [redeems](TokenStore::redeem) the record for it. Before it redeems, it calls
/// [`Payload::check_crit`]. A node that does not understand the payload then writes nothing.
///
/// ```
/// # use auth_layer::store::OneTimeRecord;
/// // A store keeps it as JSON, under its key.
/// fn restore(record: &str) -> serde_json::Result<OneTimeRecord> {
///     serde_json::from_str(record)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneTimeRecord {
    /// What it stands for. No operation changes it.
    pub payload: Payload,
    /// When it ends. From then on it is unknown, redeemed or not.
    #[serde(with = "ts_milliseconds")]
    pub expires_at: Timestamp,
    /// The session that it was first redeemed for. Set once, never changed.
    pub redeemed_by: Option<SessionId>,
}

impl OneTimeRecord {
    /// Returns whether the record has not expired at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at > now
    }

    /// Applies [`TokenStore::redeem`] to a record that was read for it.
    ///
    /// The record has changed if the answer is [`Redeemed::First`]. Nothing needs to be written
    /// otherwise.
    ///
    /// ```
    /// # use auth_layer::{SessionId, clock::Timestamp};
    /// use auth_layer::store::{OneTimeRecord, Redeemed};
    ///
    /// # fn example(mut record: OneTimeRecord, by: SessionId, other: SessionId, now: Timestamp) {
    /// let payload = record.payload.clone();
    /// assert_eq!(record.redeem(by, now), Redeemed::First(payload));
    /// assert_eq!(record.redeem(other, now), Redeemed::Again(by));
    /// # }
    /// ```
    pub fn redeem(&mut self, by: SessionId, now: Timestamp) -> Redeemed {
        if !self.is_live(now) {
            return Redeemed::Unknown;
        }
        match self.redeemed_by {
            Some(first) => Redeemed::Again(first),
            None => {
                self.redeemed_by = Some(by);
                Redeemed::First(self.payload.clone())
            }
        }
    }
}

/// The result of redeeming a one-time record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Redeemed {
    /// This call was the first.
    First(Payload),
    /// It was redeemed before, for this session. It may be the session of this call, if the answer
    /// of an earlier call was lost.
    Again(SessionId),
    /// There is no such record, or it has expired.
    Unknown,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn one_time_record_json_has_stable_names_and_round_trips() {
        let session = "0190a000-0000-7000-8000-000000000001";
        for redeemed_by in [None, Some(session)] {
            let json = json!({ "payload": { "client_id": "web" }, "expires_at": 2_000, "redeemed_by": redeemed_by });
            let record = OneTimeRecord {
                payload: [("client_id", "web")].into_iter().collect(),
                expires_at: Timestamp::from_timestamp_millis(2_000).unwrap(),
                redeemed_by: redeemed_by.map(|id| id.parse().unwrap()),
            };
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json);
            assert_eq!(serde_json::from_str::<OneTimeRecord>(&text).unwrap(), record);
        }
    }

    #[test]
    fn hashed_key_is_another_one_for_another_purpose_or_value() {
        let key = HashedKey::of("ab", "c");
        for other in [HashedKey::of("a", "bc"), HashedKey::of("ab", "d"), HashedKey::of("", "abc")] {
            assert_ne!(key, other);
        }
        assert_eq!(HashedKey::from_digest(*key.as_bytes()), key);
        assert_eq!(key.tag().as_bytes()[..], key.as_bytes()[..16]);
    }

    #[test]
    fn hashed_key_debug_has_four_bytes() {
        assert_eq!(format!("{:?}", HashedKey::from_digest([0xa7; 32])), "HashedKey(a7a7a7a7..)");
    }
}

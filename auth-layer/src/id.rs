//! Identifiers that cannot be mixed up: UUIDs of this crate, and text of any application.

mod text;

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

pub use text::{InvalidTextId, TextId};

/// A UUID that identifies a `K`.
///
/// Its text is the canonical form of RFC 9562 §4: lower case with hyphens. No other spelling is
/// accepted, so two texts are equal exactly when the identifiers are.
///
/// ```
/// use auth_layer::SessionId;
///
/// let id: SessionId = "018f2a3e-7b1c-7def-8abc-0123456789ab".parse()?;
/// assert_eq!(id.to_string(), "018f2a3e-7b1c-7def-8abc-0123456789ab");
/// assert!("018F2A3E-7B1C-7DEF-8ABC-0123456789AB".parse::<SessionId>().is_err());
/// # Ok::<(), auth_layer::id::ParseIdError>(())
/// ```
pub struct Id<K> {
    uuid: Uuid,
    of: PhantomData<fn() -> K>,
}

/// Marks a [`TokenId`].
#[derive(Debug)]
pub enum Token {}

/// Marks a [`UserId`] or a [`Subject`].
#[derive(Debug)]
pub enum User {}

/// Marks a [`SessionId`].
#[derive(Debug)]
pub enum Login {}

/// Identifies a token: its `jti` (RFC 7519 §4.1.7) and the `_id` of its record.
pub type TokenId = Id<Token>;

/// Identifies a user, in applications whose users have UUIDs. Others use [`Subject`] alone.
pub type UserId = Id<User>;

/// Identifies a user: the `sub` of a token (RFC 7519 §4.1.2). Any text of 1 to 255 characters.
pub type Subject = TextId<User>;

/// Identifies a session: the `sid` of its tokens.
pub type SessionId = Id<Login>;

impl<K> Id<K> {
    /// Generates an identifier: a UUID of version 7 with 74 random bits.
    ///
    /// It sorts by time of creation, which keeps new records together in an index.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_uuid(Uuid::now_v7())
    }

    /// Creates an identifier from a UUID.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self { uuid, of: PhantomData }
    }

    /// Returns the UUID.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.uuid
    }

    /// Returns the UUID's sixteen bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.uuid.as_bytes()
    }
}

/// The text is not a UUID in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID in lower case with hyphens")]
pub struct ParseIdError;

impl<K> FromStr for Id<K> {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let uuid = Uuid::try_parse(text).map_err(|_| ParseIdError)?;
        let mut canonical = Uuid::encode_buffer();
        if uuid.hyphenated().encode_lower(&mut canonical) == text {
            Ok(Self::from_uuid(uuid))
        } else {
            Err(ParseIdError)
        }
    }
}

impl<K> From<Uuid> for Id<K> {
    fn from(uuid: Uuid) -> Self {
        Self::from_uuid(uuid)
    }
}

impl<K> From<Id<K>> for Uuid {
    fn from(id: Id<K>) -> Self {
        id.uuid
    }
}

// Not derived: a derive would require the same traits of `K`.

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Id<K> {}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}

impl<K> Eq for Id<K> {}

impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uuid.cmp(&other.uuid)
    }
}

impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.uuid, f)
    }
}

impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.uuid, f)
    }
}

impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_read_from_its_canonical_text_only() {
        let id = TokenId::generate();
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        for other in [
            text.to_uppercase(),
            text.replace('-', ""),
            format!("{{{text}}}"),
            format!("urn:uuid:{text}"),
            format!(" {text}"),
            String::new(),
        ] {
            assert_eq!(other.parse::<TokenId>(), Err(ParseIdError), "{other:?}");
        }
    }
}

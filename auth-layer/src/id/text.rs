use std::{borrow::Cow, fmt, marker::PhantomData, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::Id;
use crate::hash::sha256;

/// The longest identifier, in characters (OpenID Connect Core §2 for `sub`).
const MAX_CHARS: usize = 255;

/// Text of 1 to 255 characters that identifies a `K`.
///
/// Two identifiers are equal exactly when their texts are. A UUID in canonical form is stored as
/// its sixteen bytes, other text as text. Cloning copies no text.
///
/// ```
/// use auth_layer::Subject;
///
/// let by_number = Subject::from(42_u64);
/// let by_text: Subject = "auth0|5f7c".parse()?;
/// assert_eq!((by_number.to_string(), by_text.to_string()), ("42".into(), "auth0|5f7c".into()));
/// assert!("".parse::<Subject>().is_err());
/// # Ok::<(), auth_layer::id::InvalidTextId>(())
/// ```
pub struct TextId<K> {
    form: Form,
    of: PhantomData<fn() -> K>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    Uuid(Uuid),
    /// Never a canonical UUID.
    Text(Arc<str>),
}

/// The text is not an identifier: it is empty or has more than 255 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an identifier is text of 1 to 255 characters")]
pub struct InvalidTextId;

impl<K> TextId<K> {
    /// Generates an identifier: a UUID of version 7 with 74 random bits.
    #[must_use]
    pub fn generate() -> Self {
        Id::generate().into()
    }

    /// Returns the UUID, if the text is a UUID in canonical form (RFC 9562 §4).
    pub const fn as_uuid(&self) -> Option<&Uuid> {
        match &self.form {
            Form::Uuid(uuid) => Some(uuid),
            Form::Text(_) => None,
        }
    }

    /// Returns it as an [`Id`], if the text is a UUID in canonical form.
    pub fn id(&self) -> Option<Id<K>> {
        self.as_uuid().copied().map(Id::from_uuid)
    }

    /// Returns the text.
    pub fn to_text(&self) -> Cow<'_, str> {
        match &self.form {
            Form::Uuid(uuid) => Cow::Owned(uuid.to_string()),
            Form::Text(text) => Cow::Borrowed(text),
        }
    }

    /// Returns 128 bits that stand for this identifier: its UUID, or the start of its text's
    /// SHA-256.
    pub fn tag(&self) -> Uuid {
        match &self.form {
            Form::Uuid(uuid) => *uuid,
            Form::Text(text) => {
                let hash = sha256(&[text.as_bytes()]);
                Uuid::from_bytes(hash.first_chunk().copied().unwrap_or_default())
            }
        }
    }

    /// Returns its memory on the heap, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match &self.form {
            Form::Uuid(_) => 0,
            Form::Text(text) => text.len(),
        }
    }

    const fn of(form: Form) -> Self {
        Self { form, of: PhantomData }
    }
}

impl<K> FromStr for TextId<K> {
    type Err = InvalidTextId;

    fn from_str(text: &str) -> Result<Self, InvalidTextId> {
        if let Ok(id) = text.parse::<Id<K>>() {
            return Ok(id.into());
        }
        // `nth` counts no further than needed.
        if text.is_empty() || text.chars().nth(MAX_CHARS).is_some() {
            return Err(InvalidTextId);
        }
        Ok(Self::of(Form::Text(text.into())))
    }
}

impl<K> TryFrom<&str> for TextId<K> {
    type Error = InvalidTextId;

    fn try_from(text: &str) -> Result<Self, InvalidTextId> {
        text.parse()
    }
}

impl<K> TryFrom<String> for TextId<K> {
    type Error = InvalidTextId;

    fn try_from(text: String) -> Result<Self, InvalidTextId> {
        text.parse()
    }
}

impl<K> From<Uuid> for TextId<K> {
    fn from(uuid: Uuid) -> Self {
        Self::of(Form::Uuid(uuid))
    }
}

impl<K> From<Id<K>> for TextId<K> {
    fn from(id: Id<K>) -> Self {
        Self::of(Form::Uuid(*id.as_uuid()))
    }
}

impl<K> From<&Self> for TextId<K> {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

macro_rules! from_numbers {
    ($($number:ty)*) => {$(
        /// Uses the number in decimal.
        impl<K> From<$number> for TextId<K> {
            fn from(number: $number) -> Self {
                Self::of(Form::Text(number.to_string().into()))
            }
        }
    )*};
}

from_numbers!(u32 u64 i32 i64);

// Not derived: a derive would require the same traits of `K`.

impl<K> Clone for TextId<K> {
    fn clone(&self) -> Self {
        Self::of(self.form.clone())
    }
}

impl<K> PartialEq for TextId<K> {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form
    }
}

impl<K> Eq for TextId<K> {}

impl<K> PartialEq<Id<K>> for TextId<K> {
    fn eq(&self, other: &Id<K>) -> bool {
        self.as_uuid() == Some(other.as_uuid())
    }
}

impl<K> PartialEq<str> for TextId<K> {
    fn eq(&self, other: &str) -> bool {
        self.to_text() == other
    }
}

impl<K> PartialEq<&str> for TextId<K> {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl<K> PartialOrd for TextId<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for TextId<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.form.cmp(&other.form)
    }
}

impl<K> std::hash::Hash for TextId<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.form.hash(state);
    }
}

impl<K> fmt::Debug for TextId<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Uuid(uuid) => fmt::Display::fmt(uuid, f),
            Form::Text(text) => fmt::Debug::fmt(text, f),
        }
    }
}

impl<K> fmt::Display for TextId<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Uuid(uuid) => fmt::Display::fmt(uuid, f),
            Form::Text(text) => f.write_str(text),
        }
    }
}

impl<K> Serialize for TextId<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K> Deserialize<'de> for TextId<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Subject, UserId};

    #[test]
    fn subject_text_is_kept_and_a_canonical_uuid_is_the_uuid() {
        let id = UserId::generate();
        let canonical: Subject = id.to_string().parse().unwrap();
        assert_eq!((canonical.id(), canonical.tag()), (Some(id), *id.as_uuid()));
        for text in [id.to_string().to_uppercase(), id.to_string().replace('-', ""), "auth0|é".into(), "7".into()] {
            let subject: Subject = text.parse().unwrap();
            assert_eq!((subject.to_string(), subject.as_uuid()), (text, None));
            assert_ne!(subject, canonical);
        }
    }

    #[test]
    fn subject_has_1_to_255_characters() {
        assert_eq!("".parse::<Subject>(), Err(InvalidTextId));
        assert_eq!("é".repeat(255).parse::<Subject>().unwrap().to_string().len(), 510);
        assert_eq!("a".repeat(256).parse::<Subject>(), Err(InvalidTextId));
    }

    #[test]
    fn subject_of_a_number_is_its_decimal_text() {
        assert_eq!(Subject::from(42_u64), "42");
        assert_eq!(Subject::from(-7_i32), "-7");
    }

    #[test]
    fn subject_tags_of_different_texts_differ() {
        let tags = ["a", "b", "A"].map(|text| text.parse::<Subject>().unwrap().tag());
        assert!(tags[0] != tags[1] && tags[0] != tags[2] && tags[1] != tags[2]);
    }
}

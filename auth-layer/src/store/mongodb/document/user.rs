//! A user in BSON: a canonical UUID is binary subtype 4, any other text is a string.

use bson::{Bson, RawBsonRef, Uuid, spec::BinarySubtype};
use serde::{Deserialize, Serialize};

use super::Unreadable;
use crate::id::Subject;

/// A user as serde reads and writes it in a document.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(into = "Bson", try_from = "Bson")]
pub(in crate::store::mongodb) struct UserKey(pub(in crate::store::mongodb) Subject);

impl From<UserKey> for Bson {
    fn from(UserKey(subject): UserKey) -> Self {
        user(&subject)
    }
}

impl TryFrom<Bson> for UserKey {
    type Error = Unreadable;

    fn try_from(value: Bson) -> Result<Self, Unreadable> {
        let read = match &value {
            Bson::Binary(binary) => of_binary(binary.subtype, &binary.bytes),
            Bson::String(text) => of_text(text),
            _ => None,
        };
        read.map(Self).ok_or(Unreadable::of("user_id"))
    }
}

/// Converts a user for filters and updates.
pub(in crate::store::mongodb) fn user(subject: &Subject) -> Bson {
    match subject.as_uuid() {
        Some(uuid) => Uuid::from_bytes(*uuid.as_bytes()).into(),
        None => subject.to_text().into_owned().into(),
    }
}

/// Reads a user from a raw document.
pub(super) fn read(value: Option<RawBsonRef<'_>>) -> Option<Subject> {
    match value? {
        RawBsonRef::Binary(binary) => of_binary(binary.subtype, binary.bytes),
        RawBsonRef::String(text) => of_text(text),
        _ => None,
    }
}

/// Returns whether a value is a user as this store writes it.
pub(in crate::store::mongodb) fn is_user(value: &Bson) -> bool {
    UserKey::try_from(value.clone()).is_ok()
}

fn of_binary(subtype: BinarySubtype, bytes: &[u8]) -> Option<Subject> {
    let bytes = (subtype == BinarySubtype::Uuid).then_some(bytes)?;
    Some(uuid::Uuid::from_bytes(bytes.try_into().ok()?).into())
}

/// Refuses the text of a UUID: this store does not write one, and no filter would find that user.
fn of_text(text: &str) -> Option<Subject> {
    text.parse().ok().filter(|subject: &Subject| subject.as_uuid().is_none())
}

#[cfg(test)]
mod tests {
    use bson::{Binary, RawDocumentBuf, doc};

    use super::*;

    #[test]
    fn mongodb_user_is_a_uuid_or_a_string_and_never_both() {
        let uuid = Subject::generate();
        let texts = ["7", "auth0|\u{e9}\u{0}", "$a.b"].map(|text| text.parse::<Subject>().unwrap());
        let looks_alike = uuid.to_string().to_uppercase().parse().unwrap();
        for subject in texts.iter().chain([&uuid, &looks_alike]) {
            let written = user(subject);
            assert_eq!(matches!(written, Bson::Binary(_)), *subject == uuid, "{written}");
            assert_eq!(UserKey::try_from(written.clone()).unwrap().0, *subject);
            let raw = RawDocumentBuf::try_from(&doc! { "user_id": written }).unwrap();
            assert_eq!(read(raw.get("user_id").unwrap()).as_ref(), Some(subject));
        }
        let bytes = uuid.as_uuid().unwrap().as_bytes().to_vec();
        for odd in [
            Bson::from(uuid.to_string()),
            Bson::from(""),
            Bson::from("a".repeat(256)),
            Bson::from(7),
            Bson::Null,
            Bson::from(Binary { subtype: BinarySubtype::Generic, bytes: bytes.clone() }),
            Bson::from(Binary { subtype: BinarySubtype::Uuid, bytes: bytes[1..].to_vec() }),
        ] {
            assert!(!is_user(&odd), "{odd}");
            let raw = RawDocumentBuf::try_from(&doc! { "user_id": odd.clone() }).unwrap();
            assert_eq!(read(raw.get("user_id").unwrap()), None, "{odd}");
        }
    }
}

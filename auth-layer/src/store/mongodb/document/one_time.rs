//! The documents of `one_time_records`, and the `_id` that they share with those of
//! `reserved_keys` and `denials`.

use std::collections::BTreeMap;

use bson::{Binary, Bson, DateTime, Uuid, spec::BinarySubtype};
use serde::Deserialize;

use super::id;
use crate::store::{HashedKey, OneTimeRecord};

/// A one-time record. Only read: updates alone write it.
#[derive(Debug, Deserialize)]
pub(in crate::store::mongodb) struct OneTimeDocument {
    payload: BTreeMap<String, String>,
    expires_at: DateTime,
    redeemed_by: Option<Uuid>,
}

impl From<OneTimeDocument> for OneTimeRecord {
    fn from(document: OneTimeDocument) -> Self {
        Self {
            payload: document.payload.into(),
            expires_at: document.expires_at.to_chrono(),
            redeemed_by: document.redeemed_by.map(id),
        }
    }
}

/// Converts to 32 bytes of binary subtype 0.
pub(in crate::store::mongodb) fn hashed_key(key: HashedKey) -> Bson {
    Binary { subtype: BinarySubtype::Generic, bytes: key.as_bytes().to_vec() }.into()
}

/// Returns the key that this store wrote as this value.
pub(in crate::store::mongodb) fn key_of(value: &Bson) -> Option<HashedKey> {
    match value {
        Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes }) => {
            bytes.as_slice().try_into().ok().map(HashedKey::from_digest)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bson::{deserialize_from_document, doc};

    use super::*;
    use crate::{id::SessionId, store::Payload};

    #[test]
    fn mongodb_one_time_document_is_read_with_and_without_a_session() {
        let (by, at) = (SessionId::generate(), DateTime::from_millis(1_800_000_000_000));
        let payload: Payload = [("crit", "later"), ("later", "\u{0}$a.b")].into_iter().collect();
        let mut document = doc! {
            "_id": hashed_key(HashedKey::from_digest([7; 32])),
            "payload": { "crit": "later", "later": "\u{0}$a.b" },
            "expires_at": at,
        };
        let mut expected = OneTimeRecord { payload, expires_at: at.to_chrono(), redeemed_by: None };
        let read = |document| OneTimeRecord::from(deserialize_from_document::<OneTimeDocument>(document).unwrap());
        assert_eq!(read(document.clone()), expected);
        document.insert("redeemed_by", super::super::uuid(by));
        document.insert("redeemed_at", at);
        expected.redeemed_by = Some(by);
        assert_eq!(read(document), expected);
    }

    #[test]
    fn mongodb_hashed_key_is_32_generic_bytes_and_nothing_else() {
        let key = HashedKey::from_digest([7; 32]);
        assert_eq!(key_of(&hashed_key(key)), Some(key));
        for (subtype, length) in [(BinarySubtype::Generic, 31), (BinarySubtype::Generic, 33), (BinarySubtype::Md5, 32)]
        {
            assert_eq!(key_of(&Binary { subtype, bytes: vec![7; length] }.into()), None);
        }
        assert_eq!(key_of(&Bson::from("0123456789abcdef0123456789abcdef")), None);
    }
}

//! The documents of `denials`.

use bson::{DateTime, RawDocument, spec::BinarySubtype};

use super::Unreadable;
use crate::store::{Denial, HashedKey};

/// Reads a denial. One that cannot be read must not let a token through.
pub(in crate::store::mongodb) fn read_denial(denial: &RawDocument) -> Result<Denial, Unreadable> {
    let time = |field| denial.get_datetime(field).map(DateTime::to_chrono).map_err(|_| Unreadable::of(field));
    Ok(Denial { denied_at: time("denied_at")?, expires_at: time("expires_at")? })
}

/// Reads the key of a denial.
pub(in crate::store::mongodb) fn read_key(denial: &RawDocument) -> Result<HashedKey, Unreadable> {
    let key = denial.get_binary("_id").ok().filter(|key| key.subtype == BinarySubtype::Generic);
    let digest = key.and_then(|key| key.bytes.try_into().ok());
    digest.map(HashedKey::from_digest).ok_or(Unreadable::of("_id"))
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, RawDocumentBuf, doc};

    use super::{super::hashed_key, *};

    fn raw(document: &Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(document).unwrap()
    }

    #[test]
    fn mongodb_denial_is_read_whole_or_not_at_all() {
        let key = HashedKey::from_digest([7; 32]);
        let [denied_at, expires_at] = [1_800_000_000_000, 1_900_000_000_000].map(DateTime::from_millis);
        let whole = doc! { "_id": hashed_key(key), "denied_at": denied_at, "expires_at": expires_at };
        let expected = Denial { denied_at: denied_at.to_chrono(), expires_at: expires_at.to_chrono() };
        assert_eq!(read_denial(&raw(&whole)).unwrap(), expected);
        assert_eq!(read_key(&raw(&whole)).unwrap(), key);
        for field in ["denied_at", "expires_at"] {
            for wrong in [None, Some(Bson::from(1_800_000_000_000_i64)), Some(Bson::Null)] {
                let mut document = whole.clone();
                document.remove(field);
                document.extend(wrong.map(|wrong| (field.to_owned(), wrong)));
                let error = read_denial(&raw(&document)).unwrap_err();
                assert!(error.to_string().starts_with(&format!("`{field}`")), "{error}");
            }
        }
    }
}

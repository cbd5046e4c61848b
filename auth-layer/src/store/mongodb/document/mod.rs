//! The documents, in BSON's own types.
//!
//! Do not derive serde on `uuid::Uuid` or `chrono::DateTime` here. That writes binary subtype 0,
//! which no filter finds, and text, which no TTL index expires.

mod denial;
mod one_time;
mod session;
mod token;
mod user;

use bson::{DateTime, Uuid};
use serde::Deserialize;

pub(super) use denial::{read_denial, read_key};
pub(super) use one_time::{OneTimeDocument, hashed_key, key_of};
pub(super) use session::{MarkedSession, PairDocument, SessionDocument, read_session};
pub(super) use token::{LiveToken, TokenDocument, Unreadable, identifier, record, status};
pub(super) use user::{UserKey, is_user, user};

use crate::{
    clock::Timestamp,
    id::Id,
    store::{StoreError, StoreErrorKind, UserFence},
};

/// A user's fence. Only read: updates alone change it.
#[derive(Debug, Deserialize)]
pub(super) struct SubjectDocument {
    /// Absent means 0.
    epoch: Option<i64>,
    /// Absent means false.
    disabled: Option<bool>,
}

impl SubjectDocument {
    pub(super) fn fence(&self) -> Result<UserFence, StoreError> {
        let epoch = u64::try_from(self.epoch.unwrap_or_default()).map_err(|error| corrupt().with_source(error))?;
        Ok(UserFence { epoch, disabled: self.disabled.unwrap_or_default() })
    }
}

/// A user's revocations that are not settled.
#[derive(Debug, Deserialize)]
pub(super) struct UserRevocationsDocument {
    #[serde(rename = "_id")]
    pub(super) user: UserKey,
    #[serde(default)]
    pub(super) unfinished: Vec<UserRevocationDocument>,
}

/// One unsettled revocation of a user.
#[derive(Debug, Deserialize)]
pub(super) struct UserRevocationDocument {
    pub(super) id: Uuid,
    /// The epoch that it raised the fence to.
    pub(super) epoch: i64,
    /// The session that it spares.
    pub(super) except: Option<Uuid>,
    since: DateTime,
    tried: DateTime,
}

impl UserRevocationDocument {
    pub(super) fn mark(&self) -> Mark {
        Mark { since: self.since, tried: self.tried }
    }
}

/// The mark of a revocation that may have something left to do.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Mark {
    /// When it was recorded.
    pub(super) since: DateTime,
    /// When a node last worked on it.
    pub(super) tried: DateTime,
}

/// The `_id` of a token or a session.
#[derive(Debug, Deserialize)]
pub(super) struct IdDocument {
    #[serde(rename = "_id")]
    pub(super) id: Uuid,
}

/// Converts to binary subtype 4.
pub(super) fn uuid<K>(id: Id<K>) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

pub(super) fn id<K>(uuid: Uuid) -> Id<K> {
    Id::from_uuid(uuid::Uuid::from_bytes(uuid.bytes()))
}

/// Truncates to milliseconds, so that a stored expiry is never later than the one given.
pub(super) fn date(moment: Timestamp) -> DateTime {
    DateTime::from_chrono(moment)
}

pub(super) fn corrupt() -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "a document in MongoDB is not what this store writes")
}

#[cfg(test)]
mod tests {
    use bson::{
        Bson, Document, RawDocumentBuf, deserialize_from_document, doc, serialize_to_document, spec::BinarySubtype,
    };
    use chrono::{TimeZone, Utc};

    use super::*;
    use crate::{
        id::{SessionId, Subject, TokenId},
        store::{ActiveToken, Pair, Payload, Retired, Session, TokenKind, TokenRecord, TokenStatus},
    };

    fn moment(seconds: i64) -> Timestamp {
        Utc.timestamp_opt(1_800_000_000 + seconds, 0).unwrap()
    }

    fn token(jwt_token: Option<&str>) -> TokenRecord {
        TokenRecord {
            token_id: TokenId::generate(),
            user_id: Subject::generate(),
            session_id: SessionId::generate(),
            kind: TokenKind::SingleUse,
            issued_at: moment(0),
            expires_at: moment(60),
            jwt_token: jwt_token.map(str::to_owned),
        }
    }

    fn payload(members: &[(&str, &str)]) -> Payload {
        members.iter().copied().collect()
    }

    fn session() -> Session {
        Session {
            session_id: SessionId::generate(),
            user_id: Subject::generate(),
            created_at: moment(0),
            last_used_at: moment(1),
            ends_at: moment(9_000),
            revoked: false,
            current: Pair {
                access_id: TokenId::generate(),
                refresh_id: TokenId::generate(),
                issued_at: moment(1),
                access_expires_at: moment(900),
                refresh_expires_at: moment(3_000),
                payload: payload(&[
                    ("scope", "profile admin"),
                    ("custom", r#"{"tenant":7}"#),
                    ("kid", "k1"),
                    ("sealed_signatures", "AP8H"),
                ]),
            },
            previous: Some(Retired { refresh_id: TokenId::generate(), at: moment(1), delivered: false }),
            payload: payload(&[("client_id", "demo-app"), ("user_agent", "curl/8")]),
        }
    }

    /// Returns the document as the server would get it. A type lost in serialisation shows in the
    /// bytes.
    fn stored(value: &impl serde::Serialize) -> Document {
        let bytes = bson::serialize_to_vec(value).unwrap();
        Document::from_reader(bytes.as_slice()).unwrap()
    }

    fn assert_uuid(value: &Bson, id: &[u8; 16]) {
        let Bson::Binary(binary) = value else { panic!("{value:?} is not binary") };
        assert_eq!((binary.subtype, binary.bytes.as_slice()), (BinarySubtype::Uuid, id.as_slice()));
    }

    #[test]
    fn mongodb_token_document_has_the_documented_fields_and_types() {
        let record = token(None);
        let document = stored(&TokenDocument::from(&record));
        let fields: Vec<_> = document.keys().map(String::as_str).collect();
        assert_eq!(fields, ["_id", "user_id", "session_id", "kind", "issued_at", "expires_at", "revoked"]);
        assert_uuid(&document["_id"], record.token_id.as_bytes());
        assert_uuid(&document["user_id"], record.user_id.as_uuid().unwrap().as_bytes());
        assert_uuid(&document["session_id"], record.session_id.as_bytes());
        assert_eq!(document["kind"], Bson::from("single_use"));
        assert_eq!(document["issued_at"], Bson::DateTime(DateTime::from_millis(1_800_000_000_000)));
        assert_eq!(document["expires_at"], Bson::DateTime(DateTime::from_millis(1_800_000_060_000)));
        assert_eq!(document["revoked"], Bson::Boolean(false));
        assert_eq!(stored(&TokenDocument::from(&token(Some("a.b.c"))))["jwt_token"], Bson::from("a.b.c"));
    }

    #[test]
    fn mongodb_session_document_has_bson_types_and_round_trips() {
        let session = session();
        let document = stored(&SessionDocument::new_pending(session.clone(), 7).unwrap());
        assert_uuid(&document["_id"], session.session_id.as_bytes());
        assert_uuid(&document["user_id"], session.user_id.as_uuid().unwrap().as_bytes());
        assert_eq!(document["epoch"], Bson::Int64(7));
        assert_eq!(document["pending"], Bson::Boolean(true));
        for field in ["created_at", "last_used_at", "ends_at"] {
            assert!(matches!(document[field], Bson::DateTime(_)), "{field}");
        }
        let current = document.get_document("current").unwrap();
        assert_uuid(&current["access_id"], session.current.access_id.as_bytes());
        assert_uuid(&current["refresh_id"], session.current.refresh_id.as_bytes());
        for field in ["issued_at", "access_expires_at", "refresh_expires_at"] {
            assert!(matches!(current[field], Bson::DateTime(_)), "{field}");
        }
        let previous = document.get_document("previous").unwrap();
        assert_uuid(&previous["refresh_id"], session.previous.unwrap().refresh_id.as_bytes());
        assert!(matches!(previous["at"], Bson::DateTime(_)));

        assert_eq!(previous["delivered"], Bson::Boolean(false));

        let read: SessionDocument = deserialize_from_document(document.clone()).unwrap();
        assert_eq!(Session::from(read), session);
        let mut older = document;
        older.get_document_mut("previous").unwrap().remove("delivered");
        let read: SessionDocument = deserialize_from_document(older).unwrap();
        assert!(Session::from(read).previous.unwrap().delivered, "where nothing is noted");
    }

    /// A session as written by the version before payloads, with every field that it knew.
    fn document_from_before_payloads() -> Document {
        let (id, at) = (Uuid::from_bytes([7; 16]), DateTime::from_millis(1_800_000_000_000));
        doc! {
            "_id": id, "user_id": id, "client_id": "demo-app", "user_agent": "curl/8",
            "created_at": at, "last_used_at": at, "ends_at": at, "revoked": false,
            "current": {
                "access_id": id, "refresh_id": id, "issued_at": at, "access_expires_at": at, "refresh_expires_at": at,
                "scope": "profile admin", "custom": r#"{"tenant":7}"#, "kid": "k1",
                "sealed_signatures": bson::Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255, 7] },
            },
            "previous": { "refresh_id": id, "at": at, "delivered": true },
            "epoch": 7_i64, "pending": true,
        }
    }

    #[test]
    fn mongodb_session_document_is_compatible_with_the_version_before_payloads() {
        let before = document_from_before_payloads();
        let read = Session::from(deserialize_from_document::<SessionDocument>(before.clone()).unwrap());
        assert_eq!(read.payload, session().payload);
        assert_eq!(read.current.payload, session().current.payload);
        let written = stored(&SessionDocument::new_pending(read.clone(), 7).unwrap());
        assert_eq!(written, before, "what that version reads is where it looks for it");

        let mut minimal = before;
        minimal.remove("user_agent");
        minimal.get_document_mut("current").unwrap().remove("sealed_signatures");
        let read = Session::from(deserialize_from_document::<SessionDocument>(minimal).unwrap());
        assert_eq!((read.user_agent(), read.current.sealed_signatures()), (None, None));
    }

    #[test]
    fn mongodb_session_document_keeps_unknown_payload_members_apart() {
        let mut session = session();
        session.payload.set("later", Some("\u{0}$a.b".to_owned()));
        session.current.payload.set("crit", Some("later".to_owned()));
        let document = stored(&SessionDocument::new_pending(session.clone(), 7).unwrap());
        assert_eq!(document.get_document("payload").unwrap(), &doc! { "later": "\u{0}$a.b" });
        let current = document.get_document("current").unwrap();
        assert_eq!(current.get_document("payload").unwrap(), &doc! { "crit": "later" });
        let read: SessionDocument = deserialize_from_document(document).unwrap();
        assert_eq!(Session::from(read), session);
    }

    #[test]
    fn mongodb_session_without_a_required_payload_member_is_not_written() {
        for name in ["client_id", "scope", "custom", "kid"] {
            let mut session = session();
            session.payload.take(name);
            session.current.payload.take(name);
            let refused = SessionDocument::new_pending(session, 7).map(drop);
            assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Corrupt, "without {name}");
        }
    }

    #[test]
    fn mongodb_pair_has_the_same_types_in_an_update_as_in_an_insert() {
        let pair = session().current;
        let updated = bson::serialize_to_bson(&PairDocument::try_from(pair.clone()).unwrap()).unwrap();
        assert_uuid(&updated.as_document().unwrap()["refresh_id"], pair.refresh_id.as_bytes());
        let inserted = stored(&PairDocument::try_from(pair).unwrap());
        assert_eq!(updated, Bson::Document(inserted));
    }

    #[test]
    fn mongodb_token_is_active_only_if_its_record_is_complete() {
        let record = token(None);
        let status = |document: &Document| status(&RawDocumentBuf::try_from(document).unwrap()).ok();
        let whole = serialize_to_document(&TokenDocument::from(&record)).unwrap();
        assert_eq!(status(&whole), Some(TokenStatus::Active(ActiveToken::from(&record))));

        for field in ["revoked", "user_id", "session_id", "kind", "expires_at"] {
            let mut partial = whole.clone();
            partial.remove(field);
            assert_eq!(status(&partial), None, "without {field}");
        }
        for (field, value) in [
            ("revoked", Bson::from("false")),
            ("revoked", Bson::Int32(0)),
            ("kind", Bson::from("Access")),
            ("user_id", Bson::from(record.user_id.to_string())),
            ("user_id", Bson::from("")),
            ("user_id", Bson::from(7)),
            (
                "session_id",
                Bson::from(bson::Binary {
                    subtype: BinarySubtype::Generic,
                    bytes: record.session_id.as_bytes().to_vec(),
                }),
            ),
            ("expires_at", Bson::Int64(1_800_000_060)),
        ] {
            let mut odd = whole.clone();
            odd.insert(field, value.clone());
            assert_eq!(status(&odd), None, "{field}: {value}");
            odd.insert("revoked", true);
            assert_eq!(status(&odd), Some(TokenStatus::Revoked), "{field}: {value}");
        }
        assert_eq!(status(&doc! { "_id": uuid(record.token_id), "revoked": true }), Some(TokenStatus::Revoked));

        let record = TokenRecord { user_id: "auth0|7".parse().unwrap(), ..record };
        let text = serialize_to_document(&TokenDocument::from(&record)).unwrap();
        assert_eq!(text["user_id"], Bson::from("auth0|7"));
        assert_eq!(status(&text), Some(TokenStatus::Active(ActiveToken::from(&record))));
    }

    #[test]
    fn mongodb_fence_made_by_hand_gets_defaults_and_a_negative_epoch_is_corrupt() {
        let read = |document: Document| deserialize_from_document::<SubjectDocument>(document).unwrap().fence();
        assert_eq!(read(doc! {}).unwrap(), UserFence::default());
        assert_eq!(read(doc! { "disabled": true }).unwrap(), UserFence { epoch: 0, disabled: true });
        assert_eq!(read(doc! { "epoch": 3_i32 }).unwrap(), UserFence { epoch: 3, disabled: false });
        assert_eq!(read(doc! { "epoch": -1_i64 }).unwrap_err().kind(), StoreErrorKind::Corrupt);
    }
}

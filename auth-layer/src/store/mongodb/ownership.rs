//! Recognises our documents. Nothing else is expired or purged, and a collection that holds other
//! documents is refused.

use bson::{Bson, Document, Uuid, doc, spec::BinarySubtype};
use futures_util::TryStreamExt;
use mongodb::{Collection, options::Hint};

use super::{
    document::{hashed_key, is_user, key_of},
    error::startup_error,
    records::Records,
};
use crate::store::{HashedKey, StoreError, StoreErrorKind};

/// How many documents are checked at each end of a collection.
const SAMPLE: i64 = 20;

/// Matches our tokens. Also the filter of their TTL index.
pub(super) fn token_filter() -> Document {
    doc! { "kind": { "$type": "string" }, "session_id": { "$type": "binData" } }
}

/// Matches our sessions. Also the filter of their TTL index.
pub(super) fn session_filter() -> Document {
    doc! { "client_id": { "$type": "string" }, "current.access_id": { "$type": "binData" } }
}

/// Matches our reservations, one-time records and denials. Also the filter of their TTL indexes.
///
/// BSON sorts binaries by length and subtype first. So exactly the keys are in this range.
pub(super) fn key_filter() -> Document {
    let [least, greatest] = [0, u8::MAX].map(|byte| hashed_key(HashedKey::from_digest([byte; 32])));
    doc! { "_id": { "$gte": least, "$lte": greatest } }
}

/// Fails if one of the collections holds foreign documents, those of another program.
/// Writes nothing.
///
/// Checking identifiers is cheap. In the order of `_id` all UUIDs are neighbours, so if both ends
/// are UUIDs, all documents between have one. The same holds for keys. The other fields are checked
/// on a few documents at each end.
///
/// A user is a UUID or a string, and all strings sort before all UUIDs. If both ends are users,
/// only a document between the two groups can be another's. A query looks for one.
pub(super) async fn refuse_foreign_documents(records: &Records) -> Result<(), StoreError> {
    let failed = startup_error("could not read the collections");
    check_samples(
        &records.tokens.clone_with_type(),
        |token| is_uuid(token.get("_id")) && is_token(token),
        "the MongoDB collection `tokens` holds documents that are not auth-layer's; give auth-layer a database of its own",
    )
    .await?;
    check_samples(
        &records.sessions.clone_with_type(),
        |session| is_uuid(session.get("_id")) && is_session(session),
        "the MongoDB collection `sessions` holds documents that are not auth-layer's; give auth-layer a database of its own",
    )
    .await?;
    check_samples(
        &records.reserved_keys,
        is_keyed,
        "the MongoDB collection `reserved_keys` holds documents that are not auth-layer's; give auth-layer a database of its own",
    )
    .await?;
    check_samples(
        &records.one_time_records.clone_with_type(),
        is_keyed,
        "the MongoDB collection `one_time_records` holds documents that are not auth-layer's; give auth-layer a database of its own",
    )
    .await?;
    check_samples(
        &records.denials,
        is_keyed,
        "the MongoDB collection `denials` holds documents that are not auth-layer's; give auth-layer a database of its own",
    )
    .await?;
    let subjects = records.subjects.clone_with_type();
    let sentence = "the MongoDB collection `subjects` holds documents that are not auth-layer's; give auth-layer a database of its own";
    check_samples(&subjects, |subject| subject.get("_id").is_some_and(is_user) && is_subject(subject), sentence)
        .await?;
    let between = subjects
        .find_one(doc! {})
        .hint(Hint::Keys(doc! { "_id": 1 }))
        // BSON's order over all types: an empty document sorts right after strings, and this is the
        // least UUID.
        .min(doc! { "_id": {} })
        .max(doc! { "_id": Uuid::from_bytes([0; 16]) });
    match between.await.map_err(failed)? {
        None => Ok(()),
        Some(_) => Err(StoreError::new(StoreErrorKind::Unsupported, sentence)),
    }
}

async fn check_samples(
    collection: &Collection<Document>,
    is_ours: fn(&Document) -> bool,
    sentence: &'static str,
) -> Result<(), StoreError> {
    let failed = startup_error("could not read the collections");
    for order in [1, -1] {
        let found = collection.find(doc! {}).sort(doc! { "_id": order }).limit(SAMPLE).await.map_err(&failed)?;
        let found: Vec<Document> = found.try_collect().await.map_err(&failed)?;
        if !found.iter().all(is_ours) {
            return Err(StoreError::new(StoreErrorKind::Unsupported, sentence));
        }
    }
    Ok(())
}

/// A document with nothing but `revoked` was made by hand.
fn is_token(document: &Document) -> bool {
    (is_text(document.get("kind")) && is_uuid(document.get("session_id"))) || document.get_bool("revoked").is_ok()
}

fn is_session(document: &Document) -> bool {
    document.get_document("current").is_ok_and(|pair| is_uuid(pair.get("access_id")))
}

fn is_keyed(document: &Document) -> bool {
    document.get("_id").and_then(key_of).is_some() && document.get_datetime("expires_at").is_ok()
}

/// A document made by hand may have any one of these fields.
fn is_subject(document: &Document) -> bool {
    ["epoch", "disabled", "sign_ins", "last_sign_in_at"].iter().any(|field| document.contains_key(field))
}

fn is_text(value: Option<&Bson>) -> bool {
    matches!(value, Some(Bson::String(_)))
}

fn is_uuid(value: Option<&Bson>) -> bool {
    matches!(value, Some(Bson::Binary(binary)) if binary.subtype == BinarySubtype::Uuid && binary.bytes.len() == 16)
}

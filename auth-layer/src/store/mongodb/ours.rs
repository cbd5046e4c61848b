//! Which documents are ours: nothing else is expired or purged, and a collection that holds others
//! is refused.

use bson::{Bson, Document, doc, spec::BinarySubtype};
use futures_util::TryStreamExt;
use mongodb::Collection;

use super::{fault::opening_fault, records::Records};
use crate::store::{StoreError, StoreErrorKind};

/// How many documents are looked at from each end of a collection.
const SAMPLE: i64 = 20;

/// What every token of ours has. Also the filter of the index by which the server removes them.
pub(super) fn tokens() -> Document {
    doc! { "kind": { "$type": "string" }, "session_id": { "$type": "binData" } }
}

/// What every session of ours has.
pub(super) fn sessions() -> Document {
    doc! { "client_id": { "$type": "string" }, "current.access_id": { "$type": "binData" } }
}

/// Fails if one of the three collections holds somebody else's documents. Writes nothing.
///
/// Identifiers are the test that costs nothing: in the order of `_id` all UUIDs are neighbours, so
/// that both ends being UUIDs says it of all documents. Of the rest a few are looked at from each
/// end.
pub(super) async fn refuse_others(records: &Records) -> Result<(), StoreError> {
    refuse(
        &records.tokens.clone_with_type(),
        is_token,
        "the MongoDB collection `tokens` holds documents that are not auth-layer's; give auth-layer a database of its own",
    )
    .await?;
    refuse(
        &records.sessions.clone_with_type(),
        is_session,
        "the MongoDB collection `sessions` holds documents that are not auth-layer's; give auth-layer a database of its own",
    )
    .await?;
    refuse(
        &records.subjects.clone_with_type(),
        is_subject,
        "the MongoDB collection `subjects` holds documents that are not auth-layer's; give auth-layer a database of its own",
    )
    .await
}

async fn refuse(
    collection: &Collection<Document>,
    is_ours: fn(&Document) -> bool,
    sentence: &'static str,
) -> Result<(), StoreError> {
    let failed = opening_fault("could not read the collections");
    for order in [1, -1] {
        let found = collection.find(doc! {}).sort(doc! { "_id": order }).limit(SAMPLE).await.map_err(&failed)?;
        let found: Vec<Document> = found.try_collect().await.map_err(&failed)?;
        if !found.iter().all(|document| is_uuid(document.get("_id")) && is_ours(document)) {
            return Err(StoreError::new(StoreErrorKind::Unsupported, sentence));
        }
    }
    Ok(())
}

/// One that says no more than that it is revoked was made by hand.
fn is_token(document: &Document) -> bool {
    (is_text(document.get("kind")) && is_uuid(document.get("session_id"))) || document.get_bool("revoked").is_ok()
}

fn is_session(document: &Document) -> bool {
    document.get_document("current").is_ok_and(|pair| is_uuid(pair.get("access_id")))
}

/// One made by hand may have any of these fields.
fn is_subject(document: &Document) -> bool {
    ["epoch", "disabled", "sign_ins", "last_sign_in_at"].iter().any(|field| document.contains_key(field))
}

fn is_text(value: Option<&Bson>) -> bool {
    matches!(value, Some(Bson::String(_)))
}

fn is_uuid(value: Option<&Bson>) -> bool {
    matches!(value, Some(Bson::Binary(binary)) if binary.subtype == BinarySubtype::Uuid && binary.bytes.len() == 16)
}

//! Operations on what is used once: reserved keys and one-time records.
//!
//! One write decides each of them, on the document of the key. The unique `_id` orders all calls.

use std::sync::Arc;

use bson::{Bson, DateTime, Document, doc};

use super::{
    document::{date, hashed_key, uuid},
    error::{is_duplicate_key, store_error},
    records::Records,
};
use crate::{
    clock::Timestamp,
    id::SessionId,
    store::{HashedKey, OneTimeRecord, Payload, Redeemed, StoreError},
};

impl Records {
    /// Updates an expired reservation, or inserts one. While a reservation lives, the filter does
    /// not match, and the insert meets its `_id`.
    ///
    /// If the answer is lost, the key stays reserved.
    pub(super) async fn reserve(
        self: Arc<Self>,
        key: HashedKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (expires_at, now) = (date(expires_at), date(now));
        if expires_at <= now {
            return Ok(false);
        }
        let expired = doc! { "_id": hashed_key(key), "expires_at": { "$lte": now } };
        let reserve = doc! { "$set": { "expires_at": expires_at } };
        match self.reserved_keys.update_one(expired, reserve).upsert(true).await {
            Ok(written) => Ok(written.matched_count == 1 || written.upserted_id.is_some()),
            Err(error) if is_duplicate_key(&error) => Ok(false),
            Err(error) => Err(store_error("could not reserve a key")(error)),
        }
    }

    /// Inserts the record. An existing one stays as it is, and the call still waits until a
    /// majority has it.
    pub(super) async fn put_one_time(
        self: Arc<Self>,
        key: HashedKey,
        payload: Payload,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let payload: Document = payload.into_map().into_iter().map(|(name, text)| (name, Bson::from(text))).collect();
        let insert = doc! { "$setOnInsert": { "payload": payload, "expires_at": date(expires_at) } };
        match self.one_time_records.update_one(doc! { "_id": hashed_key(key) }, insert).upsert(true).await {
            Ok(_) => Ok(()),
            // Another call with this key was first.
            Err(error) if is_duplicate_key(&error) => Ok(()),
            Err(error) => Err(store_error("could not record what is used once")(error)),
        }
    }

    pub(super) async fn one_time(
        self: Arc<Self>,
        key: HashedKey,
        now: Timestamp,
    ) -> Result<Option<OneTimeRecord>, StoreError> {
        let found = self.one_time_records.find_one(live(key, date(now))).max_time(self.limit).await;
        let found = found.map_err(store_error("could not read what is used once"))?;
        Ok(found.map(OneTimeRecord::from))
    }

    /// One update has one winner: it sets `redeemed_by` if that is absent. The document as it was
    /// before says whether this call was the first.
    ///
    /// If the driver repeats the command because its answer was lost, the server returns the answer
    /// of the first try. If the caller does, it finds the session of its first call.
    pub(super) async fn redeem(
        self: Arc<Self>,
        key: HashedKey,
        by: SessionId,
        now: Timestamp,
    ) -> Result<Redeemed, StoreError> {
        let now = date(now);
        let step = doc! {
            "redeemed_by": { "$ifNull": ["$redeemed_by", uuid(by)] },
            "redeemed_at": { "$ifNull": ["$redeemed_at", now] },
        };
        let before = self
            .one_time_records
            .find_one_and_update(live(key, now), vec![doc! { "$set": step }])
            .max_time(self.limit)
            .await
            .map_err(store_error("could not redeem what is used once"))?;
        let Some(record) = before.map(OneTimeRecord::from) else { return Ok(Redeemed::Unknown) };
        Ok(record.redeemed_by.map_or(Redeemed::First(record.payload), Redeemed::Again))
    }
}

/// Matches the one-time record of this key, if it has not expired.
fn live(key: HashedKey, now: DateTime) -> Document {
    doc! { "_id": hashed_key(key), "expires_at": { "$gt": now } }
}

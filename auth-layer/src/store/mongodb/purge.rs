//! Removes expired documents on request, by the caller's time. The TTL indexes do the same by the
//! server's clock.

use std::sync::Arc;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::Collection;

use super::{
    document::date,
    error::store_error,
    ownership,
    records::Records,
    schema::{KEY_EXPIRY, SESSION_EXPIRY, TOKEN_EXPIRY},
};
use crate::{
    clock::Timestamp,
    store::{Purged, StoreError},
};

/// How many documents one batch removes: few enough for one operation's time limit.
const BATCH: i64 = 1_000;

impl Records {
    /// Removes up to a batch of each kind. `None` when nothing had expired.
    pub(super) async fn purge_batch(self: Arc<Self>, before: Timestamp) -> Result<Option<Purged>, StoreError> {
        let tokens = self.remove_due(&self.tokens, TOKEN_EXPIRY, ownership::token_filter(), before).await?;
        let sessions = self.remove_due(&self.sessions, SESSION_EXPIRY, ownership::session_filter(), before).await?;
        let reserved = self.remove_due(&self.reserved_keys, KEY_EXPIRY, ownership::key_filter(), before).await?;
        let one_time = self.remove_due(&self.one_time_records, KEY_EXPIRY, ownership::key_filter(), before).await?;
        let denials = self.remove_due(&self.denials, KEY_EXPIRY, ownership::key_filter(), before).await?;
        if [tokens, sessions, reserved, one_time, denials] == [None; 5] {
            return Ok(None);
        }
        let count = Option::<u64>::unwrap_or_default;
        let keys = count(reserved) + count(one_time) + count(denials);
        Ok(Some(Purged { tokens: count(tokens), sessions: count(sessions), keys }))
    }

    /// Removes up to a batch of the documents that match `ours` and expired before `before`, and
    /// counts them. `None` when there were none.
    ///
    /// The filter is that of the TTL index, so that the index serves this query.
    async fn remove_due<T: Send + Sync>(
        &self,
        collection: &Collection<T>,
        expiry: &str,
        mut ours: Document,
        before: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let failed = store_error("could not purge");
        ours.insert(expiry, doc! { "$lt": date(before) });
        let documents = collection.clone_with_type::<Document>();
        let due = documents.find(ours.clone()).projection(doc! { "_id": 1 }).limit(BATCH).max_time(self.limit);
        let due = due.await.map_err(&failed)?;
        let due: Vec<Document> = due.try_collect().await.map_err(&failed)?;
        let ids: Vec<Bson> = due.into_iter().filter_map(|mut document| document.remove("_id")).collect();
        if ids.is_empty() {
            return Ok(None);
        }
        // A session found here may have been refreshed since, and then expires later.
        ours.insert("_id", doc! { "$in": ids });
        let removed = collection.delete_many(ours).await.map_err(&failed)?;
        Ok(Some(removed.deleted_count))
    }
}

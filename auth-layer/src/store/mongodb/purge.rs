//! Removes expired documents on request, by the caller's time. The TTL indexes do the same by the
//! server's clock.

use std::sync::Arc;

use bson::{Document, Uuid, doc};
use futures_util::TryStreamExt;
use mongodb::{Collection, error::Result};

use super::{
    document::{IdDocument, date},
    error::store_error,
    ownership,
    records::Records,
    schema::{SESSION_EXPIRY, TOKEN_EXPIRY},
};
use crate::{
    clock::Timestamp,
    store::{Purged, StoreError},
};

/// How many documents one batch removes: few enough for one operation's time limit.
const BATCH: i64 = 1_000;

impl Records {
    /// Removes up to a batch of each kind. `None` when nothing had expired.
    pub(super) async fn purge_batch(
        self: Arc<Self>,
        before: Timestamp,
    ) -> std::result::Result<Option<Purged>, StoreError> {
        let what = "could not purge";
        // With the filter of the TTL index, so that the index serves this query.
        let due = |expiry: &str, mut ours: Document| {
            ours.insert(expiry, doc! { "$lt": date(before) });
            ours
        };
        let (due_tokens, due_sessions) =
            (due(TOKEN_EXPIRY, ownership::token_filter()), due(SESSION_EXPIRY, ownership::session_filter()));
        let tokens = self.find_ids(&self.tokens.clone_with_type(), &due_tokens).await.map_err(store_error(what))?;
        let sessions =
            self.find_ids(&self.sessions.clone_with_type(), &due_sessions).await.map_err(store_error(what))?;
        if tokens.is_empty() && sessions.is_empty() {
            return Ok(None);
        }
        // A session found here may have been refreshed since, and then expires later.
        let still_due = |ids: Vec<Uuid>, mut due: Document| {
            due.insert("_id", doc! { "$in": ids });
            due
        };
        let tokens = self.tokens.delete_many(still_due(tokens, due_tokens)).await.map_err(store_error(what))?;
        let sessions = self.sessions.delete_many(still_due(sessions, due_sessions)).await.map_err(store_error(what))?;
        Ok(Some(Purged { tokens: tokens.deleted_count, sessions: sessions.deleted_count }))
    }

    async fn find_ids(&self, collection: &Collection<IdDocument>, filter: &Document) -> Result<Vec<Uuid>> {
        let found = collection.find(filter.clone()).projection(doc! { "_id": 1 }).limit(BATCH).max_time(self.limit);
        found.await?.map_ok(|document| document.id).try_collect().await
    }
}

//! Removes what has expired. The TTL indexes do the same with the server's clock; this is for those who will not wait for it.

use std::sync::Arc;

use bson::{Uuid, doc};
use futures_util::TryStreamExt;
use mongodb::{Collection, error::Result};

use super::{
    document::{IdDocument, date},
    fault::fault,
    records::Records,
    schema::{SESSION_EXPIRY, TOKEN_EXPIRY},
};
use crate::{
    clock::Timestamp,
    store::{Purged, StoreError},
};

/// How many documents go at a time: few enough for one operation's time limit.
const BATCH: i64 = 1_000;

impl Records {
    /// Removes up to a batch of each kind; `None` when nothing had expired.
    pub(super) async fn purge_batch(
        self: Arc<Self>,
        before: Timestamp,
    ) -> std::result::Result<Option<Purged>, StoreError> {
        let what = "could not purge";
        let tokens = self.expired(&self.tokens.clone_with_type(), TOKEN_EXPIRY, before).await.map_err(fault(what))?;
        let sessions =
            self.expired(&self.sessions.clone_with_type(), SESSION_EXPIRY, before).await.map_err(fault(what))?;
        if tokens.is_empty() && sessions.is_empty() {
            return Ok(None);
        }
        // What was found may have gone on since: a session that is refreshed expires later.
        let gone = |ids: Vec<Uuid>, expiry: &str| doc! { "_id": { "$in": ids }, expiry: { "$lt": date(before) } };
        let tokens = self.tokens.delete_many(gone(tokens, TOKEN_EXPIRY)).await.map_err(fault(what))?;
        let sessions = self.sessions.delete_many(gone(sessions, SESSION_EXPIRY)).await.map_err(fault(what))?;
        Ok(Some(Purged { tokens: tokens.deleted_count, sessions: sessions.deleted_count }))
    }

    async fn expired(&self, collection: &Collection<IdDocument>, expiry: &str, before: Timestamp) -> Result<Vec<Uuid>> {
        let found = collection
            .find(doc! { expiry: { "$lt": date(before) } })
            .projection(doc! { "_id": 1 })
            .limit(BATCH)
            .max_time(self.limit)
            .await?;
        found.map_ok(|document| document.id).try_collect().await
    }
}

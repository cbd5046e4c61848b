//! Denials. One update of the key's document makes one: `$max` keeps the later of each time.

use std::sync::Arc;

use bson::{Bson, doc};
use futures_util::TryStreamExt;

use super::{
    document::{DenialDocument, date, hashed_key},
    error::{is_duplicate_key, store_error},
    records::Records,
};
use crate::{
    clock::Timestamp,
    store::{Denial, HashedKey, StoreError},
};

impl Records {
    pub(super) async fn deny(self: Arc<Self>, key: HashedKey, denial: Denial) -> Result<(), StoreError> {
        let later = doc! { "denied_at": date(denial.denied_at), "expires_at": date(denial.expires_at) };
        loop {
            let this = doc! { "_id": hashed_key(key) };
            match self.denials.update_one(this, doc! { "$max": later.clone() }).upsert(true).await {
                Ok(_) => return Ok(()),
                // Another call inserted the document at the same time. The update now finds it.
                Err(error) if is_duplicate_key(&error) => {}
                Err(error) => return Err(store_error("could not record a denial")(error)),
            }
        }
    }

    pub(super) async fn denials(
        self: Arc<Self>,
        keys: Vec<HashedKey>,
        now: Timestamp,
    ) -> Result<Vec<Option<Denial>>, StoreError> {
        let failed = store_error("could not read denials");
        let ids: Vec<Bson> = keys.iter().copied().map(hashed_key).collect();
        let live = doc! { "_id": { "$in": ids }, "expires_at": { "$gt": date(now) } };
        let found = self.denials.find(live).max_time(self.limit).await.map_err(&failed)?;
        let found: Vec<DenialDocument> = found.try_collect().await.map_err(&failed)?;
        let denial = |key| found.iter().find(|document| document.is_of(key)).map(DenialDocument::denial);
        Ok(keys.into_iter().map(denial).collect())
    }
}

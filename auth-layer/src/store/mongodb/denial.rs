//! Denials. One update of the key's document makes one: `$max` keeps the later of each time.

use std::sync::Arc;

use bson::doc;

use super::{
    document::{date, hashed_key},
    error::{is_duplicate_key, store_error},
    records::Records,
};
use crate::{
    clock::Timestamp,
    store::{Denial, HashedKey, StoreError, only_live, within},
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

    /// As [`token_status`](Self::token_status): each check of another issuer's token asks.
    pub(super) async fn denials(
        &self,
        keys: Vec<HashedKey>,
        now: Timestamp,
    ) -> Result<Vec<Option<Denial>>, StoreError> {
        let found = within(self.limit, self.denial_lookups.find_all(keys)).await?;
        Ok(only_live(found, now))
    }
}

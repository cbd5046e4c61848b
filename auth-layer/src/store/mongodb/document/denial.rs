//! The documents of `denials`.

use bson::{Bson, DateTime};
use serde::Deserialize;

use super::one_time::key_of;
use crate::store::{Denial, HashedKey};

/// A denial. Only read: updates alone write it.
#[derive(Debug, Deserialize)]
pub(in crate::store::mongodb) struct DenialDocument {
    #[serde(rename = "_id")]
    key: Bson,
    denied_at: DateTime,
    expires_at: DateTime,
}

impl DenialDocument {
    /// Returns whether this is the denial of `key`.
    pub(in crate::store::mongodb) fn is_of(&self, key: HashedKey) -> bool {
        key_of(&self.key) == Some(key)
    }

    pub(in crate::store::mongodb) fn denial(&self) -> Denial {
        Denial { denied_at: self.denied_at.to_chrono(), expires_at: self.expires_at.to_chrono() }
    }
}

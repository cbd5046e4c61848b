//! Continues revocations that broke off on any node. Their mark finds them.

use std::{sync::Arc, time::Duration};

use bson::{Document, doc};
use mongodb::{
    Collection,
    options::{Hint, ReturnDocument},
};
use serde::Deserialize;

use super::{
    document::{LiveToken, Mark, MarkedSession, UserRevocationsDocument, id},
    error::store_error,
    records::{BACKGROUND, Records},
    revoke::{RaiseFence, revoked_token},
};
use crate::{
    clock::Timestamp,
    store::{Resumed, StoreError, TokenKind},
};

/// How long a revocation is left to the node that last worked on it.
const IDLE_MS: i64 = 5_000;

/// How many of each kind one call continues.
const MAX_CLAIMS: usize = 64;

impl Records {
    /// Claims revocations that broke off, and completes them.
    pub(super) async fn resume(self: Arc<Self>, since: Timestamp) -> Result<Vec<Resumed>, StoreError> {
        let mut resumed = Vec::new();
        let retry = vec![doc! { "$set": { "unfinished.tried": "$$NOW" } }];
        for _ in 0..MAX_CLAIMS {
            let Some(marked) = claim::<MarkedSession, _>(&self.sessions, &retry).await? else { break };
            let age = age_of(marked.unfinished.as_ref());
            let revoked = self.sweep_session(marked, since).await?;
            resumed.push(Resumed { revoked, age });
        }
        for _ in 0..MAX_CLAIMS {
            let Some(token) = claim::<LiveToken, _>(&self.tokens, &retry).await? else { break };
            let (id, expires_at) = token.id_and_expiry();
            let kind = if token.is_access() { TokenKind::Access } else { TokenKind::SingleUse };
            let revoked = revoked_token(id, kind, expires_at, since);
            resumed.push(Resumed { revoked, age: age_of(token.unfinished.as_ref()) });
        }
        let retry_all = vec![doc! { "$set": { "unfinished": { "$map": {
            "input": "$unfinished",
            "in": { "$mergeObjects": ["$$this", { "tried": "$$NOW" }] },
        } } } }];
        for _ in 0..MAX_CLAIMS {
            let Some(document) = claim::<UserRevocationsDocument, _>(&self.subjects, &retry_all).await? else { break };
            for entry in &document.unfinished {
                let user = document.user.0.clone();
                let raise = RaiseFence { user, id: entry.id, except: entry.except.map(id), disables: false };
                let revoked = self.revoke_sessions_before(&raise, entry.epoch, since).await?;
                resumed.push(Resumed { revoked, age: age_of(Some(&entry.mark())) });
            }
        }
        Ok(resumed)
    }
}

/// Claims one document with an old mark, so that no other node does for a while. `None` if there is
/// none.
///
/// Uses the server's clock: a node whose clock is ahead would disturb a revocation in progress.
async fn claim<D, T>(collection: &Collection<T>, step: &[Document]) -> Result<Option<D>, StoreError>
where
    D: for<'de> Deserialize<'de> + Send + Sync,
    T: Send + Sync,
{
    // A user's document may have several marks. The oldest counts.
    let oldest = doc! { "$min": "$unfinished.tried" };
    let due = doc! { "$lt": [oldest, { "$subtract": ["$$NOW", IDLE_MS] }] };
    let claimed = collection
        .clone_with_type::<D>()
        .find_one_and_update(doc! { "unfinished.tried": { "$exists": true }, "$expr": due }, step.to_vec())
        .return_document(ReturnDocument::After)
        // Without the index this fails, instead of scanning the collection every few seconds.
        .hint(Hint::Keys(doc! { "unfinished.tried": 1 }))
        .comment(BACKGROUND)
        .await;
    claimed.map_err(store_error("could not look for revocations that broke off"))
}

/// Returns how old a revocation was when it was claimed. Zero if its mark cannot be read.
fn age_of(mark: Option<&Mark>) -> Duration {
    let millis = mark.map_or(0, |mark| mark.tried.timestamp_millis() - mark.since.timestamp_millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use bson::{DateTime, Uuid};

    use super::*;

    #[test]
    fn resume_age_is_never_negative() {
        let [before, after] = [1_000, 4_500].map(DateTime::from_millis);
        assert_eq!(age_of(Some(&Mark { since: before, tried: after })), Duration::from_millis(3_500));
        assert_eq!(age_of(Some(&Mark { since: after, tried: before })), Duration::ZERO);
        assert_eq!(age_of(None), Duration::ZERO);
    }

    #[test]
    fn resume_reads_the_marks_of_sessions_tokens_and_users() {
        let id = Uuid::new();
        let mark = doc! { "since": DateTime::from_millis(1_000), "tried": DateTime::from_millis(2_000) };
        let session = doc! {
            "_id": id, "user_id": id, "revoked": true, "current": { "refresh_id": id, "scope": "" },
            "unfinished": mark.clone(),
        };
        let session: MarkedSession = read(&session);
        assert_eq!((session.refresh_id(), session.was_active()), (Some(id), false));
        assert_eq!(age_of(session.unfinished.as_ref()), Duration::from_secs(1));
        let token = doc! {
            "_id": id, "session_id": id, "kind": "access", "expires_at": DateTime::from_millis(5_000), "revoked": true,
            "unfinished": mark.clone(),
        };
        let token: LiveToken = read(&token);
        assert!(token.is_access() && token.revoked);
        assert_eq!(age_of(token.unfinished.as_ref()), Duration::from_secs(1));
        let mut entry = doc! { "id": id, "epoch": 3_i64, "except": null };
        entry.extend(mark);
        let document: UserRevocationsDocument = read(&doc! { "_id": id, "epoch": 3_i64, "unfinished": [entry] });
        let entry = &document.unfinished[0];
        assert_eq!((entry.id, entry.epoch, entry.except), (id, 3, None));
        assert_eq!(age_of(Some(&entry.mark())), Duration::from_secs(1));
    }

    /// Reads from the bytes of a document, as the driver does.
    fn read<D: for<'de> Deserialize<'de>>(document: &Document) -> D {
        bson::deserialize_from_slice(&document.to_vec().unwrap()).unwrap()
    }
}

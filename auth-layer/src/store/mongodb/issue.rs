//! Operations that issue tokens: they write records first, then commit on one document.

use std::{collections::HashSet, sync::Arc};

use bson::{Bson, Uuid, doc, serialize_to_bson};

use super::{
    document::{IdDocument, PairDocument, SessionDocument, TokenDocument, date, user, uuid},
    error::{duplicates, is_duplicate_key, store_error},
    records::{Records, cheap_write_concern},
};
use crate::{
    clock::Timestamp,
    id::{SessionId, TokenId},
    store::{
        ActiveToken, Admission, Consumed, Rotated, Rotation, Session, StoreError, StoreErrorKind, TokenKind,
        TokenRecord,
    },
};

impl Records {
    /// Inserts the session, then its tokens, commits on the user's document, then removes
    /// `pending`.
    ///
    /// The session comes before its tokens. [`revoke_user`](Self::revoke_user) can then tell a new
    /// session's tokens from those of a session that is gone.
    pub(super) async fn open_session(
        self: Arc<Self>,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> Result<Admission, StoreError> {
        // No fence has an epoch that cannot be stored.
        let Ok(epoch) = i64::try_from(epoch) else { return Ok(Admission::Fenced) };
        let (id, user, now) = (uuid(session.session_id), user(&session.user_id), date(session.created_at));
        let ours = match self.sessions.insert_one(SessionDocument::new_pending(session, epoch)?).await {
            Ok(_) => true,
            Err(error) if is_duplicate_key(&error) => false,
            Err(error) => return Err(store_error("could not record a session")(error)),
        };
        let recorded = self.insert_tokens(&tokens).await?;
        if self.commit_sign_in(user, epoch, now).await? {
            let mark = doc! { "$unset": { "pending": "" } };
            // No match: a `revoke_user` that came between has revoked this session too.
            let opened = self.sessions.update_one(doc! { "_id": id, "revoked": false }, mark).await;
            if opened.map_err(store_error("could not open a session"))?.matched_count == 1 {
                return Ok(Admission::Admitted);
            }
        }
        if ours && let Err(error) = self.sessions.delete_one(doc! { "_id": id }).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a fenced session is left to expire");
        }
        self.delete_tokens(recorded).await;
        Ok(Admission::Fenced)
    }

    /// Commits a sign-in. True if the user's fence is at `epoch` and the user is not disabled.
    async fn commit_sign_in(&self, user: Bson, epoch: i64, now: bson::DateTime) -> Result<bool, StoreError> {
        // Without a document, or with one made by hand without these fields, the fence is the
        // default.
        let absent = (epoch == 0).then_some(Bson::Null);
        let epochs: Vec<Bson> = [Bson::Int64(epoch)].into_iter().chain(absent).collect();
        let fence = doc! { "_id": user, "epoch": { "$in": epochs }, "disabled": { "$in": [false, Bson::Null] } };
        let stamp = doc! {
            "$inc": { "sign_ins": 1_i64 },
            "$set": { "last_sign_in_at": now },
            "$setOnInsert": { "epoch": 0_i64, "disabled": false },
        };
        if epoch == 0 {
            match self.subjects.update_one(fence.clone(), stamp.clone()).upsert(true).await {
                Ok(_) => return Ok(true),
                // The fence has moved, or another first sign-in just made the document: look again.
                Err(error) if is_duplicate_key(&error) => {}
                Err(error) => return Err(store_error("could not commit a sign-in")(error)),
            }
        }
        let passed = self.subjects.update_one(fence, stamp).await.map_err(store_error("could not commit a sign-in"))?;
        Ok(passed.matched_count == 1)
    }

    /// Inserts the child's tokens, then commits on the session.
    pub(super) async fn rotate(self: Arc<Self>, rotation: Rotation) -> Result<Rotated, StoreError> {
        let Rotation { session_id, parent, child, tokens, now } = rotation;
        let child_id = uuid(child.refresh_id);
        let replacement = serialize_to_bson(&PairDocument::try_from(child)?).map_err(unwritable)?;

        let recorded = self.insert_tokens(&tokens).await?;
        let condition = doc! { "_id": uuid(session_id), "revoked": false, "current.refresh_id": uuid(parent) };
        // The grace window is measured by the server's clock, which all nodes share.
        let retired = doc! { "$mergeObjects": [{ "refresh_id": uuid(parent), "delivered": false }, { "at": "$$NOW" }] };
        let step = doc! { "current": { "$literal": replacement }, "previous": retired, "last_used_at": date(now) };
        let committed = self
            .sessions
            .update_one(condition, vec![doc! { "$set": step }])
            .await
            .map_err(store_error("could not commit a rotation"))?;
        if committed.matched_count == 1 {
            return Ok(Rotated::Committed);
        }
        // The parent will never be current again, so nobody can still commit this child. But
        // another call with the same child may have committed it, and then these records are in
        // use.
        let in_use = doc! {
            "_id": uuid(session_id),
            "$or": [{ "current.refresh_id": child_id }, { "previous.refresh_id": child_id }],
        };
        let sessions = self.sessions.clone_with_type::<IdDocument>();
        match sessions.find_one(in_use).projection(doc! { "_id": 1 }).max_time(self.limit).await {
            Ok(None) => self.delete_tokens(recorded).await,
            Ok(Some(_)) => {}
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a lost rotation's records are left to expire"
                );
            }
        }
        Ok(Rotated::Lost)
    }

    /// Matches what was read, by a write. The write counts something, so that it waits for a
    /// majority.
    pub(super) async fn confirm(self: Arc<Self>, session: SessionId, current: TokenId) -> Result<Rotated, StoreError> {
        let condition = doc! { "_id": uuid(session), "revoked": false, "current.refresh_id": uuid(current) };
        let confirmed = self.sessions.update_one(condition, doc! { "$inc": { "repeats": 1_i64 } }).await;
        let confirmed = confirmed.map_err(store_error("could not confirm a pair"))?;
        Ok(if confirmed.matched_count == 1 { Rotated::Committed } else { Rotated::Lost })
    }

    /// Writes to the primary only: losing this note is harmless.
    pub(super) async fn note_delivered(
        self: Arc<Self>,
        session: SessionId,
        current: TokenId,
    ) -> Result<(), StoreError> {
        let pair = doc! { "_id": uuid(session), "current.refresh_id": uuid(current), "previous.delivered": false };
        // The rotation was stamped by a server's clock; a new primary's clock may be behind it.
        let at = doc! { "$max": ["$previous.at", "$$NOW"] };
        let delivered = vec![doc! { "$set": { "previous.delivered": true, "previous.at": at } }];
        let noted = self.sessions.update_one(pair, delivered).write_concern(cheap_write_concern(self.limit)).await;
        noted.map(drop).map_err(store_error("could not note that a pair was handed out"))
    }

    /// Inserts the token, then commits on its session by counting it.
    pub(super) async fn record_token(self: Arc<Self>, token: TokenRecord) -> Result<Admission, StoreError> {
        let condition = doc! { "_id": uuid(token.session_id), "revoked": false };
        let recorded = self.insert_tokens(&[token]).await?;
        let committed = self.sessions.update_one(condition, doc! { "$inc": { "single_use_issued": 1_i64 } }).await;
        if committed.map_err(store_error("could not commit a token"))?.matched_count == 1 {
            return Ok(Admission::Admitted);
        }
        self.delete_tokens(recorded).await;
        Ok(Admission::Fenced)
    }

    /// One conditional update has one winner. If its answer is lost, the token stays used up.
    pub(super) async fn consume(
        self: Arc<Self>,
        id: TokenId,
        expected: ActiveToken,
        now: Timestamp,
    ) -> Result<Consumed, StoreError> {
        if expected.kind != TokenKind::SingleUse || expected.expires_at <= now {
            return Ok(Consumed::Refused);
        }
        let usable = doc! {
            "_id": uuid(id),
            "user_id": user(&expected.user_id),
            "session_id": uuid(expected.session_id),
            "kind": expected.kind.as_str(),
            "expires_at": date(expected.expires_at),
            "revoked": false,
        };
        let used = doc! { "$set": { "revoked": true, "consumed_at": date(now) } };
        let consumed = self.tokens.update_one(usable, used).await.map_err(store_error("could not use up a token"))?;
        Ok(if consumed.matched_count == 1 { Consumed::Accepted } else { Consumed::Refused })
    }

    /// Inserts tokens and returns those that this call wrote. An existing record may be revoked:
    /// keep it.
    async fn insert_tokens(&self, tokens: &[TokenRecord]) -> Result<Vec<Uuid>, StoreError> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let ids = tokens.iter().map(|token| uuid(token.token_id));
        let present: HashSet<usize> =
            match self.tokens.insert_many(tokens.iter().map(TokenDocument::from)).ordered(false).await {
                Ok(_) => HashSet::new(),
                Err(error) => duplicates(error).map_err(store_error("could not record tokens"))?.into_iter().collect(),
            };
        Ok(ids.enumerate().filter(|(at, _)| !present.contains(at)).map(|(_, id)| id).collect())
    }

    /// Removes records of tokens that were never handed out. If this fails, they expire.
    async fn delete_tokens(&self, recorded: Vec<Uuid>) {
        if let Err(error) = self.tokens.delete_many(doc! { "_id": { "$in": recorded } }).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "records of tokens that nobody holds are left to expire"
            );
        }
    }
}

fn unwritable(error: bson::error::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "could not write a pair as BSON").with_source(error)
}

//! What issues: records first, then the commit on one document.

use std::{collections::HashSet, sync::Arc};

use bson::{Bson, Uuid, doc, serialize_to_bson};

use super::{
    document::{IdDocument, PairDocument, SessionDocument, TokenDocument, date, user, uuid},
    fault::{duplicates, fault, is_duplicate_key},
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
    /// Session, then tokens, then the commit on the user's document, then the mark off.
    ///
    /// The session is there before its tokens so that [`revoke_user`](Self::revoke_user) can tell a new session's tokens from
    /// those of a session that is gone.
    pub(super) async fn open_session(
        self: Arc<Self>,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> Result<Admission, StoreError> {
        // A fence that cannot be stored stands nowhere.
        let Ok(epoch) = i64::try_from(epoch) else { return Ok(Admission::Fenced) };
        let (id, user, now) = (uuid(session.session_id), user(&session.user_id), date(session.created_at));
        let ours = match self.sessions.insert_one(SessionDocument::opening(session, epoch)?).await {
            Ok(_) => true,
            Err(error) if is_duplicate_key(&error) => false,
            Err(error) => return Err(fault("could not record a session")(error)),
        };
        let recorded = self.record(&tokens).await?;
        if self.pass_fence(user, epoch, now).await? {
            let mark = doc! { "$unset": { "pending": "" } };
            // Not matched: a revocation of all that came between has revoked this session too.
            let opened = self.sessions.update_one(doc! { "_id": id, "revoked": false }, mark).await;
            if opened.map_err(fault("could not open a session"))?.matched_count == 1 {
                return Ok(Admission::Admitted);
            }
        }
        if ours && let Err(error) = self.sessions.delete_one(doc! { "_id": id }).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a fenced session is left to expire");
        }
        self.forget(recorded).await;
        Ok(Admission::Fenced)
    }

    /// Commits a sign-in: true when the user's fence stands at `epoch` and the user is not disabled.
    async fn pass_fence(&self, user: Bson, epoch: i64, now: bson::DateTime) -> Result<bool, StoreError> {
        // A user without a document, or whose document was made by hand without these fields, has the default fence.
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
                // Either the fence has moved, or another first sign-in made the document a moment ago: look again.
                Err(error) if is_duplicate_key(&error) => {}
                Err(error) => return Err(fault("could not commit a sign-in")(error)),
            }
        }
        let passed = self.subjects.update_one(fence, stamp).await.map_err(fault("could not commit a sign-in"))?;
        Ok(passed.matched_count == 1)
    }

    /// The child's tokens, then the commit on the session.
    pub(super) async fn rotate(self: Arc<Self>, rotation: Rotation) -> Result<Rotated, StoreError> {
        let Rotation { session_id, parent, child, tokens, now } = rotation;
        let child_id = uuid(child.refresh_id);
        let replacement = serialize_to_bson(&PairDocument::try_from(child)?).map_err(unwritable)?;

        let recorded = self.record(&tokens).await?;
        let stands = doc! { "_id": uuid(session_id), "revoked": false, "current.refresh_id": uuid(parent) };
        // By the server's clock, which all nodes share, begins the grace window.
        let retired = doc! { "$mergeObjects": [{ "refresh_id": uuid(parent), "delivered": false }, { "at": "$$NOW" }] };
        let step = doc! { "current": { "$literal": replacement }, "previous": retired, "last_used_at": date(now) };
        let committed = self
            .sessions
            .update_one(stands, vec![doc! { "$set": step }])
            .await
            .map_err(fault("could not commit a rotation"))?;
        if committed.matched_count == 1 {
            return Ok(Rotated::Committed);
        }
        // The answer is definite: this parent is not current, nor will it ever be again. So no one can still commit this child. But a twin of
        // this call may have done so, and then the records are in use, even if it was this call that wrote them.
        let in_use = doc! {
            "_id": uuid(session_id),
            "$or": [{ "current.refresh_id": child_id }, { "previous.refresh_id": child_id }],
        };
        let sessions = self.sessions.clone_with_type::<IdDocument>();
        match sessions.find_one(in_use).projection(doc! { "_id": 1 }).max_time(self.limit).await {
            Ok(None) => self.forget(recorded).await,
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

    /// A write of the majority that matches what was read. It counts, so that it is no mere read.
    pub(super) async fn confirm(self: Arc<Self>, session: SessionId, current: TokenId) -> Result<Rotated, StoreError> {
        let stands = doc! { "_id": uuid(session), "revoked": false, "current.refresh_id": uuid(current) };
        let confirmed = self.sessions.update_one(stands, doc! { "$inc": { "repeats": 1_i64 } }).await;
        let confirmed = confirmed.map_err(fault("could not confirm a pair"))?;
        Ok(if confirmed.matched_count == 1 { Rotated::Committed } else { Rotated::Lost })
    }

    /// Held by the primary alone: what is lost with it was a convenience.
    pub(super) async fn note_delivered(
        self: Arc<Self>,
        session: SessionId,
        current: TokenId,
    ) -> Result<(), StoreError> {
        let pair = doc! { "_id": uuid(session), "current.refresh_id": uuid(current), "previous.delivered": false };
        // By the clock that the rotation was stamped by; another primary's may be behind that.
        let at = doc! { "$max": ["$previous.at", "$$NOW"] };
        let delivered = vec![doc! { "$set": { "previous.delivered": true, "previous.at": at } }];
        let noted = self.sessions.update_one(pair, delivered).write_concern(cheap_write_concern(self.limit)).await;
        noted.map(drop).map_err(fault("could not note that a pair was handed out"))
    }

    /// The token, then the commit on its session, which counts it.
    pub(super) async fn record_token(self: Arc<Self>, token: TokenRecord) -> Result<Admission, StoreError> {
        let stands = doc! { "_id": uuid(token.session_id), "revoked": false };
        let recorded = self.record(&[token]).await?;
        let committed = self.sessions.update_one(stands, doc! { "$inc": { "single_use_issued": 1_i64 } }).await;
        if committed.map_err(fault("could not commit a token"))?.matched_count == 1 {
            return Ok(Admission::Admitted);
        }
        self.forget(recorded).await;
        Ok(Admission::Fenced)
    }

    /// One conditional update has one winner. An answer that is lost on the way leaves the token used up.
    pub(super) async fn consume(
        self: Arc<Self>,
        id: TokenId,
        says: ActiveToken,
        now: Timestamp,
    ) -> Result<Consumed, StoreError> {
        if says.kind != TokenKind::SingleUse || says.expires_at <= now {
            return Ok(Consumed::Refused);
        }
        let usable = doc! {
            "_id": uuid(id),
            "user_id": user(&says.user_id),
            "session_id": uuid(says.session_id),
            "kind": says.kind.as_str(),
            "expires_at": date(says.expires_at),
            "revoked": false,
        };
        let used = doc! { "$set": { "revoked": true, "consumed_at": date(now) } };
        let consumed = self.tokens.update_one(usable, used).await.map_err(fault("could not use up a token"))?;
        Ok(if consumed.matched_count == 1 { Consumed::Accepted } else { Consumed::Refused })
    }

    /// Records tokens and answers which ones this call wrote. A record that is there is left as it is: it may be revoked.
    async fn record(&self, tokens: &[TokenRecord]) -> Result<Vec<Uuid>, StoreError> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let ids = tokens.iter().map(|token| uuid(token.token_id));
        let present: HashSet<usize> =
            match self.tokens.insert_many(tokens.iter().map(TokenDocument::from)).ordered(false).await {
                Ok(_) => HashSet::new(),
                Err(error) => duplicates(error).map_err(fault("could not record tokens"))?.into_iter().collect(),
            };
        Ok(ids.enumerate().filter(|(at, _)| !present.contains(at)).map(|(_, id)| id).collect())
    }

    /// Removes records of tokens that were never handed out. Should it fail, they expire.
    async fn forget(&self, recorded: Vec<Uuid>) {
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

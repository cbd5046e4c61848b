//! What revokes: the committing document first, then the sweep. Each step can be repeated, and a retry repeats all of them.

use std::sync::Arc;

use bson::{Bson, Document, RawDocumentBuf, Uuid, doc};
use futures_util::TryStreamExt;
use mongodb::{
    Collection,
    options::{ReadConcern, ReturnDocument},
};

use super::{
    document::{AccessDocument, IdDocument, SubjectDocument, corrupt, date, record, uuid},
    fault::{fault, is_duplicate_key},
    records::Records,
};
use crate::{
    clock::Timestamp,
    id::{SessionId, TokenId, UserId},
    store::{Revoked, StoreError, StoreErrorKind, TokenKind},
};

impl Records {
    pub(super) async fn revoke_token(self: Arc<Self>, id: TokenId, since: Timestamp) -> Result<Revoked, StoreError> {
        let what = "could not revoke a token";
        let tokens = self.tokens.clone_with_type::<RawDocumentBuf>();
        let found = tokens.find_one_and_update(doc! { "_id": uuid(id) }, dead()).max_time(self.limit).await;
        let Some(found) = found.map_err(fault(what))? else {
            return self.be_absent(&self.tokens, uuid(id), what).await.map(|()| Revoked::default());
        };
        let token = record(&found)?;
        match token.kind {
            TokenKind::Refresh => self.revoke_session(token.session_id, since).await,
            TokenKind::Access if token.expires_at > since => {
                Ok(Revoked { access_tokens: vec![(id, token.expires_at)], sessions: 0 })
            }
            TokenKind::Access | TokenKind::SingleUse => Ok(Revoked::default()),
        }
    }

    pub(super) async fn revoke_session(
        self: Arc<Self>,
        session: SessionId,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        let (what, id) = ("could not revoke a session", uuid(session));
        let ended = self.sessions.update_one(doc! { "_id": id }, dead()).await.map_err(fault(what))?;
        if ended.matched_count == 0 {
            self.be_absent(&self.sessions, id, what).await?;
        }
        // Also where the session was dead before: an earlier try may have stopped here.
        let access_tokens = self.sweep(doc! { "session_id": uuid(session) }, since).await?;
        Ok(Revoked { access_tokens, sessions: ended.modified_count })
    }

    /// The update that commits it has the condition, and is one of the majority's also where the session was dead before.
    pub(super) async fn punish(
        self: Arc<Self>,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        let as_read = doc! { "_id": uuid(session), "current.refresh_id": uuid(current) };
        let ended = self.sessions.update_one(as_read, dead()).await.map_err(fault("could not punish a reuse"))?;
        if ended.matched_count == 0 {
            return Ok(None);
        }
        let access_tokens = self.sweep(doc! { "session_id": uuid(session) }, since).await?;
        Ok(Some(Revoked { access_tokens, sessions: ended.modified_count }))
    }

    pub(super) async fn revoke_user(
        self: Arc<Self>,
        user: UserId,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        let epoch = self.raise_fence(user, doc! { "$inc": { "epoch": 1_i64 } }).await?;
        self.revoke_before(user, epoch, except, since).await
    }

    pub(super) async fn disable_user(self: Arc<Self>, user: UserId, since: Timestamp) -> Result<Revoked, StoreError> {
        let step = doc! { "$inc": { "epoch": 1_i64 }, "$set": { "disabled": true } };
        let epoch = self.raise_fence(user, step).await?;
        self.revoke_before(user, epoch, None, since).await
    }

    pub(super) async fn enable_user(self: Arc<Self>, user: UserId) -> Result<Revoked, StoreError> {
        let (what, id) = ("could not enable a user", uuid(user));
        let enabled = doc! { "$set": { "disabled": false } };
        let done = self.subjects.update_one(doc! { "_id": id }, enabled).await.map_err(fault(what))?;
        if done.matched_count == 0 {
            self.be_absent(&self.subjects, id, what).await?;
        }
        Ok(Revoked::default())
    }

    /// Succeeds where an update found no document of this id because there is none.
    ///
    /// An update that finds nothing writes nothing, and so has nothing to wait for a majority with: a primary that was deposed and does not know
    /// it would say so of what its successor has. A linearizable read writes an entry of its own, and is answered once a majority has taken it.
    /// What it finds is then another server's: that one was not asked to update it.
    async fn be_absent<T: Send + Sync>(
        &self,
        collection: &Collection<T>,
        id: Uuid,
        what: &'static str,
    ) -> Result<(), StoreError> {
        let found = collection
            .clone_with_type::<IdDocument>()
            .find_one(doc! { "_id": id })
            .projection(doc! { "_id": 1 })
            .read_concern(ReadConcern::linearizable())
            .max_time(self.limit)
            .await;
        match found.map_err(fault(what))? {
            None => Ok(()),
            Some(_) => Err(StoreError::new(StoreErrorKind::Unavailable, what)),
        }
    }

    /// Applies `step` to the user's document, making it where there is none, and answers the epoch that it led to.
    async fn raise_fence(&self, user: UserId, step: Document) -> Result<i64, StoreError> {
        let raise = || {
            self.subjects
                .find_one_and_update(doc! { "_id": uuid(user) }, step.clone())
                .upsert(true)
                .return_document(ReturnDocument::After)
                .max_time(self.limit)
        };
        let raised = match raise().await {
            // Another call made the document a moment ago, and nothing removes it.
            Err(error) if is_duplicate_key(&error) => raise().await,
            raised => raised,
        };
        let raised = raised.map_err(fault("could not raise a user's fence"))?;
        raised.as_ref().and_then(|SubjectDocument { epoch, .. }| *epoch).ok_or_else(corrupt)
    }

    /// Revokes what was opened before `epoch`. A session opened under it began after the fence was raised and is spared.
    async fn revoke_before(
        &self,
        user: UserId,
        epoch: i64,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        let user = uuid(user);
        let except = except.map(uuid);
        let mut older = doc! { "user_id": user, "epoch": { "$not": { "$gte": epoch } }, "revoked": { "$ne": true } };
        if let Some(except) = except {
            older.insert("_id", doc! { "$ne": except });
        }
        let ended = self.sessions.update_many(older, dead()).await;
        let sessions = ended.map_err(fault("could not revoke a user's sessions"))?.modified_count;

        // From the tokens' side, so that a token whose session is gone is found as well. The tokens first and the spared
        // sessions second: a session is recorded before its tokens, so that a spared one with a token in the list is in the second, too.
        let listed = self.tokens.distinct("session_id", doc! { "user_id": user }).max_time(self.limit).await;
        let listed = listed.map_err(fault("could not list the sessions of a user's tokens"))?;
        let spared = self.opened_under(user, epoch).await?;
        let except = except.map(Bson::from);
        let doomed: Vec<Bson> = listed
            .into_iter()
            .filter(|session| Some(session) != except.as_ref() && !spared.contains(session))
            .collect();
        let access_tokens = self.sweep(doc! { "user_id": user, "session_id": { "$in": doomed } }, since).await?;
        Ok(Revoked { access_tokens, sessions })
    }

    async fn opened_under(&self, user: Uuid, epoch: i64) -> Result<Vec<Bson>, StoreError> {
        let what = "could not list a user's new sessions";
        let found = self
            .sessions
            .clone_with_type::<IdDocument>()
            .find(doc! { "user_id": user, "epoch": { "$gte": epoch } })
            .projection(doc! { "_id": 1 })
            .max_time(self.limit)
            .await
            .map_err(fault(what))?;
        found.map_ok(|session| Bson::from(session.id)).try_collect().await.map_err(fault(what))
    }

    /// Revokes the tokens that match, then lists the access tokens among them that have not expired, whoever revoked them.
    async fn sweep(&self, tokens: Document, since: Timestamp) -> Result<Vec<(TokenId, Timestamp)>, StoreError> {
        let what = "could not list the access tokens that were revoked";
        let mut live = tokens.clone();
        live.insert("revoked", doc! { "$ne": true });
        self.tokens.update_many(live, dead()).await.map_err(fault("could not revoke tokens"))?;

        let mut listed = tokens;
        listed.insert("kind", TokenKind::Access.as_str());
        listed.insert("expires_at", doc! { "$gt": date(since) });
        let found = self
            .tokens
            .clone_with_type::<AccessDocument>()
            .find(listed)
            .projection(doc! { "_id": 1, "expires_at": 1 })
            .max_time(self.limit)
            .await
            .map_err(fault(what))?;
        found.map_ok(<(TokenId, Timestamp)>::from).try_collect().await.map_err(fault(what))
    }
}

/// The one change that a revocation makes, never undone.
fn dead() -> Document {
    doc! { "$set": { "revoked": true } }
}

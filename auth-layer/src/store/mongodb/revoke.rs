//! Operations that revoke: they update the committing document first, then sweep. A retry repeats
//! all steps.
//!
//! The commit leaves a mark, `unfinished`, that [`settle`](Records::settle) removes. A mark that is
//! a few seconds old belongs to a revocation that broke off. Any node continues it: see `resume`.

use std::{collections::HashSet, sync::Arc};

use bson::{Bson, Document, RawDocumentBuf, Uuid, doc};
use futures_util::TryStreamExt;
use mongodb::{
    Collection,
    options::{ReadConcern, ReturnDocument},
};

use super::{
    document::{IdDocument, LiveToken, MarkedSession, UserRevocationsDocument, corrupt, date, record, user, uuid},
    error::{is_duplicate_key, store_error},
    records::{BACKGROUND, Records, cheap_write_concern},
};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
    store::{ActiveToken, Revocation, Revoked, StoreError, StoreErrorKind, TokenKind},
};

/// How many tokens or sessions one command names at most.
const BATCH: usize = 10_000;

/// How many settled revocations a user's document remembers.
const MAX_SETTLED: i32 = 16;

/// A request to raise a user's fence.
#[derive(Clone, Debug)]
pub(super) struct RaiseFence {
    pub(super) user: Subject,
    /// The same for a call and all its retries, so that together they raise the fence once.
    pub(super) id: Uuid,
    pub(super) except: Option<SessionId>,
    pub(super) disables: bool,
}

/// The document on which the revocation of a token was committed.
pub(super) enum MarkedDocument {
    /// There is no such token.
    Nothing,
    /// On the token itself.
    Token(ActiveToken),
    /// On the session of a refresh token.
    Session(MarkedSession),
}

impl Records {
    pub(super) async fn revoke_token(self: Arc<Self>, id: TokenId, since: Timestamp) -> Result<Revoked, StoreError> {
        match self.mark_token(id).await? {
            MarkedDocument::Nothing => Ok(Revoked::default()),
            MarkedDocument::Token(token) => Ok(revoked_token(id, token.kind, token.expires_at, since)),
            MarkedDocument::Session(marked) => self.sweep_session(marked, since).await,
        }
    }

    /// Marks a token as revoked. For a refresh token, marks its session first: if this breaks off,
    /// that mark covers both.
    ///
    /// The fields read before the commit never change.
    pub(super) async fn mark_token(&self, id: TokenId) -> Result<MarkedDocument, StoreError> {
        let what = "could not revoke a token";
        let tokens = self.tokens.clone_with_type::<RawDocumentBuf>();
        let found = tokens.find_one(doc! { "_id": uuid(id) }).max_time(self.limit).await;
        let Some(found) = found.map_err(store_error(what))? else {
            self.confirm_absent(&self.tokens, uuid(id), what).await?;
            return Ok(MarkedDocument::Nothing);
        };
        let token = record(&found)?;
        if token.kind == TokenKind::Refresh {
            let session = self.mark_session(doc! { "_id": uuid(token.session_id) }).await?;
            self.revoke_tokens([uuid(id)]).await?;
            return Ok(MarkedDocument::Session(session.unwrap_or_else(|| MarkedSession::unknown(token.session_id))));
        }
        let marked = self
            .tokens
            .update_one(doc! { "_id": uuid(id) }, set_revoked_and_marked())
            .await
            .map_err(store_error(what))?;
        if marked.matched_count == 0 {
            self.confirm_absent(&self.tokens, uuid(id), what).await?;
            return Ok(MarkedDocument::Nothing);
        }
        Ok(MarkedDocument::Token(token))
    }

    pub(super) async fn revoke_session(
        self: Arc<Self>,
        session: SessionId,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        let id = uuid(session);
        let marked = match self.mark_session(doc! { "_id": id }).await? {
            Some(marked) => marked,
            None => {
                self.confirm_absent(&self.sessions, id, "could not revoke a session").await?;
                MarkedSession::unknown(session)
            }
        };
        self.sweep_session(marked, since).await
    }

    /// The committing update has the condition. It waits for a majority even if the session was
    /// already revoked.
    pub(super) async fn revoke_for_reuse(
        self: Arc<Self>,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        match self.mark_session(session_with_current(session, current)).await? {
            Some(marked) => self.sweep_session(marked, since).await.map(Some),
            None => Ok(None),
        }
    }

    /// Marks the matching session as revoked and unfinished. `None` if there is none.
    pub(super) async fn mark_session(&self, session: Document) -> Result<Option<MarkedSession>, StoreError> {
        let before = self
            .sessions
            .clone_with_type::<MarkedSession>()
            .find_one_and_update(session, set_revoked_and_marked())
            .projection(doc! { "revoked": 1, "current.refresh_id": 1 })
            .max_time(self.limit)
            .await;
        before.map_err(store_error("could not revoke a session"))
    }

    /// Revokes the tokens of a marked session, even if it was revoked before: an earlier try may
    /// have stopped here.
    pub(super) async fn sweep_session(&self, marked: MarkedSession, since: Timestamp) -> Result<Revoked, StoreError> {
        let live = self.live_tokens(doc! { "session_id": marked.id }, since).await?;
        self.revoke_tokens(not_revoked(&live).chain(marked.refresh_id())).await?;
        Ok(Revoked {
            access_tokens: access_tokens(&live),
            sessions: u64::from(marked.was_active()),
            unsettled: marked.is_known().then(|| Revocation::Session(marked.session_id())),
        })
    }

    /// Raises the fence, then revokes the sessions from before.
    pub(super) async fn revoke_user(
        self: Arc<Self>,
        raise: RaiseFence,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        match self.raise_fence(&raise).await? {
            Some(epoch) => self.revoke_sessions_before(&raise, epoch, since).await,
            None => Ok(Revoked::default()),
        }
    }

    pub(super) async fn enable_user(self: Arc<Self>, of: Subject) -> Result<Revoked, StoreError> {
        let (what, id) = ("could not enable a user", user(&of));
        let enabled = doc! { "$set": { "disabled": false } };
        let done = self.subjects.update_one(doc! { "_id": id.clone() }, enabled).await.map_err(store_error(what))?;
        if done.matched_count == 0 {
            self.confirm_absent(&self.subjects, id, what).await?;
        }
        Ok(Revoked::default())
    }

    /// Confirms that there is no document with this id, after an update matched none.
    ///
    /// An update without a match writes nothing that a majority would have to acknowledge, so a
    /// stale primary would report success. A linearizable read needs a majority, so a stale primary
    /// cannot answer it. If the read finds the document, another server has it and has not updated
    /// it. The call then fails.
    async fn confirm_absent<T: Send + Sync>(
        &self,
        collection: &Collection<T>,
        id: impl Into<Bson>,
        what: &'static str,
    ) -> Result<(), StoreError> {
        let found = collection
            .clone_with_type::<RawDocumentBuf>()
            .find_one(doc! { "_id": id.into() })
            .projection(doc! { "_id": 1 })
            .read_concern(ReadConcern::linearizable())
            .max_time(self.limit)
            .await;
        match found.map_err(store_error(what))? {
            None => Ok(()),
            Some(_) => Err(StoreError::new(StoreErrorKind::Unavailable, what)),
        }
    }

    /// Raises the user's fence, and creates the document if there is none. Returns the new epoch,
    /// or `None` if another node has already settled this revocation.
    pub(super) async fn raise_fence(&self, raise: &RaiseFence) -> Result<Option<i64>, StoreError> {
        let what = "could not raise a user's fence";
        let &RaiseFence { user: ref of, id, except, disables } = raise;
        let (user, except) = (user(of), except.map_or(Bson::Null, |except| uuid(except).into()));
        let epoch = doc! { "$add": [{ "$ifNull": ["$epoch", 0_i64] }, 1_i64] };
        let entry = doc! { "id": id, "epoch": epoch.clone(), "except": except, "since": "$$NOW", "tried": "$$NOW" };
        let entries = doc! { "$concatArrays": [{ "$ifNull": ["$unfinished", []] }, [entry]] };
        let mut step = doc! { "epoch": epoch, "unfinished": entries };
        if disables {
            step.insert("disabled", true);
        }
        let subjects = self.subjects.clone_with_type::<UserRevocationsDocument>();
        let raise = || {
            subjects
                .find_one_and_update(
                    doc! { "_id": user.clone(), "unfinished.id": { "$ne": id }, "settled": { "$ne": id } },
                    vec![doc! { "$set": step.clone() }],
                )
                .upsert(true)
                .return_document(ReturnDocument::After)
                .projection(doc! { "unfinished": 1 })
                .max_time(self.limit)
        };
        let raised = match raise().await {
            // Another call just made the document, and nothing removes it.
            Err(error) if is_duplicate_key(&error) => raise().await,
            raised => raised,
        };
        let raised = match raised {
            // The revocation is already recorded: this is a retry.
            Err(error) if is_duplicate_key(&error) => {
                subjects.find_one(doc! { "_id": user.clone() }).max_time(self.limit).await
            }
            raised => raised,
        };
        let fence = raised.map_err(store_error(what))?.ok_or_else(corrupt)?;
        Ok(fence.unfinished.iter().find(|entry| entry.id == id).map(|entry| entry.epoch))
    }

    /// Revokes the sessions opened before `epoch`. A session under `epoch` began after the fence
    /// was raised, and is spared.
    pub(super) async fn revoke_sessions_before(
        &self,
        raise: &RaiseFence,
        epoch: i64,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        let (user, except) = (user(&raise.user), raise.except.map(uuid));
        let mut older =
            doc! { "user_id": user.clone(), "epoch": { "$not": { "$gte": epoch } }, "revoked": { "$ne": true } };
        if let Some(except) = except {
            older.insert("_id", doc! { "$ne": except });
        }
        let older_ids = self.session_ids(older.clone()).await?;
        let updated = self.sessions.update_many(older, set_revoked()).await;
        let sessions = updated.map_err(store_error("could not revoke a user's sessions"))?.modified_count;

        // Listing by user also finds tokens whose session is gone. Tokens are listed before the
        // spared sessions: a session is recorded before its tokens, so a spared token's session is
        // found.
        let mut live = self.live_tokens(doc! { "user_id": user.clone() }, since).await?;
        let opened_since = doc! { "user_id": user, "revoked": { "$ne": true }, "epoch": { "$gte": epoch } };
        let spared: HashSet<Uuid> = self.session_ids(opened_since).await?.into_iter().chain(except).collect();
        live.retain(|token| !spared.contains(&token.session_id));
        let refresh_tokens = self.refresh_tokens_of(&older_ids).await?;
        self.revoke_tokens(not_revoked(&live).chain(refresh_tokens)).await?;
        let unsettled = Some(Revocation::User(raise.user.clone(), raise.id.into()));
        Ok(Revoked { access_tokens: access_tokens(&live), sessions, unsettled })
    }

    /// Removes the mark of a revocation, by a write that may be lost.
    pub(super) async fn settle(self: Arc<Self>, revocation: Revocation) -> Result<(), StoreError> {
        let unmark = doc! { "$unset": { "unfinished": "" } };
        let (concern, what) = (cheap_write_concern(self.limit), "could not note the end of a revocation");
        let settled = match revocation {
            Revocation::Token(id) => {
                self.tokens
                    .update_one(doc! { "_id": uuid(id) }, unmark)
                    .write_concern(concern)
                    .comment(BACKGROUND)
                    .await
            }
            Revocation::Session(id) => {
                self.sessions
                    .update_one(doc! { "_id": uuid(id) }, unmark)
                    .write_concern(concern)
                    .comment(BACKGROUND)
                    .await
            }
            Revocation::User(of, id) => {
                let id = Uuid::from_bytes(id.into_bytes());
                let settle = doc! {
                    "$pull": { "unfinished": { "id": id } },
                    "$push": { "settled": { "$each": [id], "$slice": -MAX_SETTLED } },
                };
                let of_user = doc! { "_id": user(&of), "unfinished.id": id };
                self.subjects.update_one(of_user, settle).write_concern(concern).comment(BACKGROUND).await
            }
        };
        settled.map(drop).map_err(store_error(what))
    }

    /// Lists the unexpired access and single-use tokens that match, revoked or not. Refresh tokens
    /// are decided by their session.
    pub(super) async fn live_tokens(
        &self,
        mut tokens: Document,
        since: Timestamp,
    ) -> Result<Vec<LiveToken>, StoreError> {
        let what = "could not list the tokens to revoke";
        tokens.insert("kind", doc! { "$in": [TokenKind::Access.as_str(), TokenKind::SingleUse.as_str()] });
        tokens.insert("expires_at", doc! { "$gt": date(since) });
        let found = self
            .tokens
            .clone_with_type::<LiveToken>()
            .find(tokens)
            .projection(doc! { "session_id": 1, "kind": 1, "expires_at": 1, "revoked": 1 })
            .max_time(self.limit)
            .await
            .map_err(store_error(what))?;
        found.try_collect().await.map_err(store_error(what))
    }

    async fn revoke_tokens(&self, ids: impl IntoIterator<Item = Uuid>) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = ids.into_iter().collect();
        for batch in ids.chunks(BATCH) {
            let live = doc! { "_id": { "$in": batch }, "revoked": { "$ne": true } };
            self.tokens.update_many(live, set_revoked()).await.map_err(store_error("could not revoke tokens"))?;
        }
        Ok(())
    }

    async fn session_ids(&self, sessions: Document) -> Result<Vec<Uuid>, StoreError> {
        let what = "could not list a user's sessions";
        let found = self
            .sessions
            .clone_with_type::<IdDocument>()
            .find(sessions)
            .projection(doc! { "_id": 1 })
            .max_time(self.limit)
            .await
            .map_err(store_error(what))?;
        found.map_ok(|session| session.id).try_collect().await.map_err(store_error(what))
    }

    /// Lists the newest refresh tokens of these sessions.
    async fn refresh_tokens_of(&self, sessions: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        let what = "could not list the refresh tokens to revoke";
        let mut refresh_tokens = Vec::with_capacity(sessions.len());
        for batch in sessions.chunks(BATCH) {
            let mut found = self
                .sessions
                .clone_with_type::<MarkedSession>()
                .find(doc! { "_id": { "$in": batch } })
                .projection(doc! { "revoked": 1, "current.refresh_id": 1 })
                .max_time(self.limit)
                .await
                .map_err(store_error(what))?;
            while let Some(session) = found.try_next().await.map_err(store_error(what))? {
                refresh_tokens.extend(session.refresh_id());
            }
        }
        Ok(refresh_tokens)
    }
}

/// Matches the session as it was when the reuse was judged.
pub(super) fn session_with_current(session: SessionId, current: TokenId) -> Document {
    doc! { "_id": uuid(session), "current.refresh_id": uuid(current) }
}

/// Returns what the revocation of one access or single-use token covers.
pub(super) fn revoked_token(id: TokenId, kind: TokenKind, expires_at: Timestamp, since: Timestamp) -> Revoked {
    let live_access = kind == TokenKind::Access && expires_at > since;
    Revoked {
        access_tokens: if live_access { vec![(id, expires_at)] } else { Vec::new() },
        sessions: 0,
        unsettled: Some(Revocation::Token(id)),
    }
}

fn not_revoked(tokens: &[LiveToken]) -> impl Iterator<Item = Uuid> {
    tokens.iter().filter(|token| !token.revoked).map(|token| token.id)
}

fn access_tokens(tokens: &[LiveToken]) -> Vec<(TokenId, Timestamp)> {
    tokens.iter().filter(|token| token.is_access()).map(LiveToken::id_and_expiry).collect()
}

/// The one change that a revocation makes, never undone.
fn set_revoked() -> Document {
    doc! { "$set": { "revoked": true } }
}

/// The change to the committing document: also sets the mark, by the server's clock.
fn set_revoked_and_marked() -> Document {
    doc! {
        "$set": { "revoked": true },
        "$currentDate": { "unfinished.since": true, "unfinished.tried": true },
    }
}

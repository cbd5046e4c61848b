//! Users, sessions and tokens that the laws work on.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::Utc;

use crate::{
    clock::{Timestamp, later, whole_millis},
    id::{SessionId, Subject, TokenId},
    store::{
        Admission, HashedKey, Pair, Payload, Revoked, Rotated, Rotation, Session, StoreError, TokenKind, TokenRecord,
        TokenStatus, TokenStore,
    },
};

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const MINUTE: Duration = Duration::from_mins(1);
pub(super) const DAY: Duration = Duration::from_hours(24);
pub(super) const ACCESS_LIFE: Duration = Duration::from_mins(15);
pub(super) const REFRESH_LIFE: Duration = Duration::from_hours(30 * 24);

/// How often a race is run: often enough for the tasks to meet at every point of an operation. The
/// broken stores of `tests/stores/broken.rs` fall in a third of it.
const ROUNDS: usize = 48;

/// How many of these rounds run at the same time, so that they also delay each other.
const CONCURRENT_ROUNDS: usize = 16;

/// The kind of users that a law is tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Users whose subject is a UUID.
    Uuids,
    /// Users whose subject is another text, with any characters and of the maximum length.
    Texts,
}

impl Users {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Uuids, Self::Texts];

    /// Returns a user that no store knows.
    pub(super) fn new_user(self) -> Subject {
        match self {
            Self::Uuids => Subject::generate(),
            Self::Texts => {
                let start = format!("{}|n\u{e4}her $a.b\"'\\\u{1f980}%_ ", Subject::generate());
                let longest = start.chars().chain(std::iter::repeat('\u{10ffff}')).take(255);
                longest.collect::<String>().parse().expect("a subject of 255 characters")
            }
        }
    }
}

/// Returns a key that no store knows.
pub(super) fn new_key() -> HashedKey {
    HashedKey::of("conformance", SessionId::generate().as_bytes())
}

/// Returns the current time in whole milliseconds, which every store keeps.
pub(super) fn now() -> Timestamp {
    whole_millis(Utc::now())
}

/// Unwraps the answer of a store, and panics on an error.
#[track_caller]
pub(super) fn answer<T>(result: Result<T, StoreError>) -> T {
    match result {
        Ok(answer) => answer,
        Err(error) => panic!("the store failed ({:?}): {error}, {:?}", error.kind(), std::error::Error::source(&error)),
    }
}

/// A task for [`at_once`] when the tasks differ.
pub(super) type BoxedTask<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Starts the tasks at the same moment, and returns their results in order.
pub(super) async fn at_once<T, F>(tasks: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<F> = tasks.into_iter().collect();
    let missing = Arc::new(AtomicUsize::new(tasks.len()));
    let start = |task: F| {
        let missing = Arc::clone(&missing);
        tokio::spawn(async move {
            missing.fetch_sub(1, Ordering::AcqRel);
            // Not a barrier: the runtime would run the tasks that it wakes one after the other, on
            // one thread.
            while missing.load(Ordering::Acquire) > 0 {
                tokio::task::yield_now().await;
            }
            task.await
        })
    };
    let running: Vec<_> = tasks.into_iter().map(start).collect();
    let mut results = Vec::with_capacity(running.len());
    for task in running {
        results.push(task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    results
}

/// How often a sign-in is tried that a sweep may disturb. The sweeps of many concurrent races may
/// disturb many tries in a row.
const TRIES: usize = 100;

/// Runs the race `round` many times, each with its number.
pub(super) async fn rounds<F: Future<Output = ()> + Send + 'static>(round: impl Fn(usize) -> F) {
    for first in (0..ROUNDS).step_by(CONCURRENT_ROUNDS) {
        at_once((first..first + CONCURRENT_ROUNDS).map(&round)).await;
    }
}

/// A session with the records of its newest pair.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) session: Session,
    pub(super) tokens: Vec<TokenRecord>,
}

impl Login {
    /// Creates a login that no store knows.
    pub(super) fn new(user: &Subject, at: Timestamp) -> Self {
        let current = pair(at);
        let session = Session {
            session_id: SessionId::generate(),
            user_id: user.clone(),
            created_at: at,
            last_used_at: at,
            ends_at: later(at, 2 * REFRESH_LIFE),
            revoked: false,
            current,
            previous: None,
            payload: payload(&[("client_id", "conformance")]),
        };
        let tokens = records(&session, &session.current);
        Self { session, tokens }
    }

    /// Records it under the user's current fence.
    pub(super) async fn admit(self, store: &impl TokenStore) -> Self {
        let admission = self.open(store).await;
        assert_eq!(admission, Admission::Admitted, "a sign-in under the fence that stands must be admitted");
        self
    }

    /// Records a login that has expired by the server's clock.
    ///
    /// A store that sweeps by itself may remove its records before all are written, and then
    /// answers `Fenced`. It is then recorded again.
    pub(super) async fn admit_expired(self, store: &impl TokenStore) -> Self {
        for _ in 0..TRIES {
            if self.open(store).await == Admission::Admitted {
                return self;
            }
        }
        panic!("a sign-in under the fence that stands must be admitted; it was not in {TRIES} tries");
    }

    /// Records it, or records it again, under the user's current fence.
    pub(super) async fn open(&self, store: &impl TokenStore) -> Admission {
        let fence = answer(store.user_fence(self.session.user_id.clone()).await);
        answer(store.open_session(self.session.clone(), self.tokens.clone(), fence.epoch).await)
    }

    /// Creates and records a login of this user.
    pub(super) async fn opened(store: &impl TokenStore, user: &Subject) -> Self {
        Self::new(user, now()).admit(store).await
    }

    pub(super) fn id(&self) -> SessionId {
        self.session.session_id
    }

    pub(super) fn access(&self) -> TokenId {
        self.session.current.access_id
    }

    pub(super) fn refresh(&self) -> TokenId {
        self.session.current.refresh_id
    }

    /// Returns its access token as a revocation reports it.
    pub(super) fn reported(&self) -> (TokenId, Timestamp) {
        (self.access(), self.session.current.access_expires_at)
    }

    /// Returns a request to replace its pair by a new one.
    pub(super) fn rotation(&self, at: Timestamp) -> Rotation {
        let child = pair(at);
        Rotation {
            session_id: self.id(),
            parent: self.refresh(),
            tokens: records(&self.session, &child),
            child,
            now: at,
        }
    }

    /// Replaces its pair in the store and here.
    pub(super) async fn rotate(&mut self, store: &impl TokenStore, at: Timestamp) {
        let rotation = self.rotation(at);
        assert_eq!(
            answer(store.rotate(rotation.clone()).await),
            Rotated::Committed,
            "the current refresh token of a live session must rotate"
        );
        self.session.current = rotation.child;
        self.tokens = rotation.tokens;
    }

    /// Returns a single-use token of this session that no store knows.
    pub(super) fn single_use(&self, at: Timestamp) -> TokenRecord {
        record(&self.session, TokenId::generate(), TokenKind::SingleUse, at, later(at, MINUTE))
    }
}

fn pair(at: Timestamp) -> Pair {
    Pair {
        access_id: TokenId::generate(),
        refresh_id: TokenId::generate(),
        issued_at: at,
        access_expires_at: later(at, ACCESS_LIFE),
        refresh_expires_at: later(at, REFRESH_LIFE),
        payload: payload(&[("scope", ""), ("custom", "{}"), ("kid", "conformance")]),
    }
}

pub(super) fn payload(members: &[(&str, &str)]) -> Payload {
    members.iter().copied().collect()
}

/// Returns the records of a pair's two tokens.
pub(super) fn records(session: &Session, pair: &Pair) -> Vec<TokenRecord> {
    vec![
        record(session, pair.access_id, TokenKind::Access, pair.issued_at, pair.access_expires_at),
        record(session, pair.refresh_id, TokenKind::Refresh, pair.issued_at, pair.refresh_expires_at),
    ]
}

fn record(session: &Session, id: TokenId, kind: TokenKind, from: Timestamp, to: Timestamp) -> TokenRecord {
    TokenRecord {
        token_id: id,
        user_id: session.user_id.clone(),
        session_id: session.session_id,
        kind,
        issued_at: from,
        expires_at: to,
        jwt_token: None,
    }
}

/// Returns the session as the store of record has it, with [`ANY_TIME`] in place of
/// [`Retired::at`](crate::store::Retired::at).
///
/// A store may take that moment from a clock of its own. [`retired_at`] returns it.
pub(super) async fn stored_session(store: &impl TokenStore, login: &Login) -> Session {
    let mut session = session_for_refresh(store, login).await;
    if let Some(previous) = &mut session.previous {
        previous.at = ANY_TIME;
    }
    session
}

pub(super) const ANY_TIME: Timestamp = Timestamp::UNIX_EPOCH;

/// Returns when the session's previous refresh token was retired, by the caller's clock.
pub(super) async fn retired_at(store: &impl TokenStore, login: &Login) -> Timestamp {
    session_for_refresh(store, login)
        .await
        .previous
        .expect("a session that was refreshed has a previous refresh token")
        .at
}

async fn session_for_refresh(store: &impl TokenStore, login: &Login) -> Session {
    let found = answer(store.session_for_refresh(login.id(), login.refresh(), now()).await);
    found.expect("a session that was admitted and has not expired must be there").0
}

pub(super) async fn expect_active(store: &impl TokenStore, tokens: &[TokenRecord], when: &str) {
    for token in tokens {
        let status = answer(store.token_status(token.token_id).await);
        assert_eq!(status, TokenStatus::Active(token.into()), "{when}: {} token", token.kind);
    }
}

/// Checks the access tokens as a layer does, so that a cache in front of the store holds them when
/// they are revoked.
pub(super) async fn fill_cache<'a>(store: &impl TokenStore, logins: impl IntoIterator<Item = &'a Login>) {
    for login in logins {
        for when in ["before the revocation", "before the revocation, from a cache"] {
            expect_active(store, &login.tokens[..1], when).await;
        }
    }
}

pub(super) async fn expect_revoked(store: &impl TokenStore, tokens: &[TokenRecord], when: &str) {
    for token in tokens {
        let status = answer(store.token_status(token.token_id).await);
        assert_eq!(status, TokenStatus::Revoked, "{when}: {} token", token.kind);
    }
}

/// Expects refused tokens not to be active. A store may have left a revoked record of them or none.
pub(super) async fn expect_not_active(store: &impl TokenStore, tokens: &[TokenRecord], when: &str) {
    for token in tokens {
        let status = answer(store.token_status(token.token_id).await);
        assert!(!matches!(status, TokenStatus::Active(_)), "{when}: {} token is {status:?}", token.kind);
    }
}

/// Expects a revocation to cover this number of sessions and these access tokens, in any order.
#[track_caller]
pub(super) fn expect_covered(
    mut revoked: Revoked,
    sessions: u64,
    access: impl IntoIterator<Item = (TokenId, Timestamp)>,
    when: &str,
) {
    let mut access: Vec<_> = access.into_iter().collect();
    access.sort();
    revoked.access_tokens.sort();
    assert_eq!((revoked.sessions, revoked.access_tokens), (sessions, access), "{when}");
}

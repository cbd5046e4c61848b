//! Forwards store operations to another store.

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    ActiveToken, Admission, Consumed, Denial, HashedKey, LocalCache, OneTimeRecord, Payload, Purged, Redeemed, Resumed,
    Revocation, RevocationListener, Revoked, Rotated, Rotation, Session, StoreError, TokenRecord, TokenStatus,
    TokenStore, UserFence,
};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
};

/// Passes the list of [`TokenStore`]'s methods to another macro.
///
/// This is the only copy of the list. Everything that forwards operations is generated from it, and
/// a test compares it with the trait.
macro_rules! operations {
    ($then:ident!) => {
        $then! {
            async {
                token_status(id: TokenId) -> TokenStatus;
                user_fence(user: Subject) -> UserFence;
                open_session(session: Session, tokens: Vec<TokenRecord>, epoch: u64) -> Admission;
                session(id: SessionId, now: Timestamp) -> Option<Session>;
                session_for_refresh(
                    session: SessionId,
                    refresh: TokenId,
                    now: Timestamp,
                ) -> Option<(Session, TokenStatus)>;
                rotate(rotation: Rotation) -> Rotated;
                confirm(session: SessionId, current: TokenId) -> Rotated;
                note_delivered(session: SessionId, current: TokenId, now: Timestamp) -> ();
                record_token(token: TokenRecord) -> Admission;
                consume(id: TokenId, expected: ActiveToken, now: Timestamp) -> Consumed;
                reserve(key: HashedKey, expires_at: Timestamp, now: Timestamp) -> bool;
                put_one_time(key: HashedKey, payload: Payload, expires_at: Timestamp) -> ();
                one_time(key: HashedKey, now: Timestamp) -> Option<OneTimeRecord>;
                redeem(key: HashedKey, by: SessionId, now: Timestamp) -> Redeemed;
                open_and_redeem(
                    session: Session,
                    tokens: Vec<TokenRecord>,
                    epoch: u64,
                    key: HashedKey,
                    now: Timestamp,
                ) -> Option<Redeemed>;
                deny(key: HashedKey, denial: Denial) -> ();
                denials(keys: Vec<HashedKey>, now: Timestamp) -> Vec<Option<Denial>>;
                revoke_token(id: TokenId, since: Timestamp) -> Revoked;
                revoke_session(session: SessionId, since: Timestamp) -> Revoked;
                revoke_for_reuse(session: SessionId, current: TokenId, since: Timestamp) -> Option<Revoked>;
                revoke_user(user: Subject, except: Option<SessionId>, since: Timestamp) -> Revoked;
                set_user_disabled(user: Subject, disabled: bool, since: Timestamp) -> Revoked;
                resume(since: Timestamp) -> Vec<Resumed>;
                settle(revocation: Revocation) -> ();
                sessions(user: Subject, now: Timestamp) -> Vec<Session>;
                sessions_of_client(
                    client_id: String,
                    after: Option<SessionId>,
                    limit: usize,
                    now: Timestamp,
                ) -> Vec<SessionId>;
                surplus_sessions(
                    user: Subject,
                    new: SessionId,
                    keep: usize,
                    now: Timestamp,
                ) -> Vec<SessionId>;
                purge_expired(before: Timestamp) -> Purged;
                ping() -> ();
            }
            plain {
                local_cache() -> &LocalCache;
                revokes_in_steps() -> bool;
                answers_within() -> Option<Duration>;
                retention_margin() -> Option<Duration>;
                subscribe(listener: Weak<dyn RevocationListener>) -> ();
            }
        }
    };
}

pub(super) use operations;

macro_rules! decorator {
    (
        async { $($name:ident($($arg:ident: $type:ty),* $(,)?) -> $answer:ty;)+ }
        plain { $($plain:ident($($plain_arg:ident: $plain_type:ty),*) -> $plain_answer:ty;)+ }
    ) => {
        /// Changes some operations of another store and forwards all others.
        ///
        /// Each implementation is also a [`TokenStore`]. The methods have the same names, and by
        /// default each calls [`inner`](Self::inner). Where you call methods of a decorator, import
        /// only one of the two traits, or the compiler cannot tell which one you mean.
        ///
        /// ```
        /// use std::sync::atomic::{AtomicUsize, Ordering};
        ///
        /// use auth_layer::{
        ///     TokenId,
        ///     store::{MemoryStore, StoreDecorator, StoreError, TokenStatus, TokenStore},
        /// };
        ///
        /// #[derive(Default)]
        /// struct CountingStore {
        ///     store: MemoryStore,
        ///     checks: AtomicUsize,
        /// }
        ///
        /// impl StoreDecorator for CountingStore {
        ///     type Inner = MemoryStore;
        ///
        ///     fn inner(&self) -> &MemoryStore {
        ///         &self.store
        ///     }
        ///
        ///     async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        ///         self.checks.fetch_add(1, Ordering::Relaxed);
        ///         self.store.token_status(id).await
        ///     }
        /// }
        /// ```
        pub trait StoreDecorator: Send + Sync + 'static {
            /// The type of the wrapped store.
            type Inner: TokenStore;

            /// Returns the wrapped store.
            fn inner(&self) -> &Self::Inner;

            $(
                #[doc = concat!("See [`TokenStore::", stringify!($name), "`].")]
                fn $name(&self, $($arg: $type),*) -> impl Future<Output = Result<$answer, StoreError>> + Send {
                    self.inner().$name($($arg),*)
                }
            )+

            $(
                #[doc = concat!("See [`TokenStore::", stringify!($plain), "`].")]
                fn $plain(&self, $($plain_arg: $plain_type),*) -> $plain_answer {
                    self.inner().$plain($($plain_arg),*)
                }
            )+
        }

        impl<D: StoreDecorator> TokenStore for D {
            $(
                fn $name(&self, $($arg: $type),*) -> impl Future<Output = Result<$answer, StoreError>> + Send {
                    StoreDecorator::$name(self, $($arg),*)
                }
            )+

            $(
                fn $plain(&self, $($plain_arg: $plain_type),*) -> $plain_answer {
                    StoreDecorator::$plain(self, $($plain_arg),*)
                }
            )+
        }
    };
}

operations!(decorator!);

/// Makes a shared store a store.
impl<S: TokenStore> StoreDecorator for Arc<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    macro_rules! names {
        (async { $($name:ident($($arguments:tt)*) -> $answer:ty;)+ } plain { $($plain:ident($($more:tt)*) -> $given:ty;)+ }) => {
            BTreeSet::from([$(stringify!($name),)+ $(stringify!($plain)),+])
        };
    }

    /// The compiler reports a missing method only if it has no default body. This test finds the
    /// others.
    #[test]
    fn store_decorator_forwards_every_method_of_the_trait() {
        let source = include_str!("token_store.rs");
        let (_, body) = source.split_once("pub trait TokenStore").unwrap();
        let methods =
            body.lines().filter_map(|line| line.strip_prefix("    fn ")?.split_once('(')).map(|(name, _)| name);
        assert_eq!(methods.collect::<BTreeSet<_>>(), operations!(names!));
    }
}

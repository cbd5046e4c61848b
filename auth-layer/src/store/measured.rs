//! Measures the calls of a store.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    ActiveToken, Admission, Consumed, Denial, HashedKey, LocalCache, OneTimeRecord, Payload, Purged, Redeemed, Resumed,
    Revocation, RevocationListener, Revoked, Rotated, Rotation, Session, StoreDecorator, StoreError, TokenRecord,
    TokenStatus, TokenStore, UserFence, delegate::operations,
};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
    telemetry::Timer,
};

/// Measures how long each call of a store takes: `auth_store_operation_duration_seconds`, by
/// `store`, `operation` and `outcome`.
///
/// The outcome is `ok`, `error`, or `abandoned` if nobody waited to the end: a deadline passed or the
/// client went away. [`MeasuredCache`](crate::cache::MeasuredCache) does the same for a shared cache.
///
/// ```
/// use auth_layer::store::{MeasuredStore, MemoryStore};
///
/// let store = MeasuredStore::new("memory", MemoryStore::new()); // a store for `Authority::builder`
/// # let _ = store;
/// ```
#[derive(Clone)]
pub struct MeasuredStore<S> {
    store: S,
    operations: Arc<Operations>,
}

impl<S> MeasuredStore<S> {
    /// Measures `store`, and calls it `name` in the label `store`.
    pub fn new(name: &'static str, store: S) -> Self {
        Self { store, operations: Arc::new(Operations::new(name)) }
    }
}

impl<S: fmt::Debug> fmt::Debug for MeasuredStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeasuredStore").field("store", &self.store).finish_non_exhaustive()
    }
}

macro_rules! measured {
    (
        async { $($name:ident($($arg:ident: $type:ty),* $(,)?) -> $answer:ty;)+ }
        plain { $($plain:ident($($plain_arg:ident: $plain_type:ty),*) -> $plain_answer:ty;)+ }
    ) => {
        /// A timer for each operation.
        struct Operations {
            $($name: Timer,)+
        }

        impl Operations {
            fn new(store: &'static str) -> Self {
                Self { $($name: Timer::new(store, stringify!($name)),)+ }
            }
        }

        impl<S: TokenStore> StoreDecorator for MeasuredStore<S> {
            type Inner = S;

            fn inner(&self) -> &S {
                &self.store
            }

            $(
                fn $name(&self, $($arg: $type),*) -> impl Future<Output = Result<$answer, StoreError>> + Send {
                    self.operations.$name.time(TokenStore::$name(&self.store, $($arg),*))
                }
            )+

            // As by default. The list of methods comes with both kinds.
            $(
                fn $plain(&self, $($plain_arg: $plain_type),*) -> $plain_answer {
                    TokenStore::$plain(&self.store, $($plain_arg),*)
                }
            )+
        }
    };
}

operations!(measured!);

//! A [`TokenStore`] behind a pointer, whose type is chosen at run time.

use std::{
    any::Any,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    ActiveToken, Admission, Consumed, Denial, HashedKey, LocalCache, OneTimeRecord, Payload, Purged, Redeemed, Resumed,
    Revocation, RevocationListener, Revoked, Rotated, Rotation, Session, StoreError, StoreErrorKind, TokenRecord,
    TokenStatus, TokenStore, UserFence, delegate::operations,
};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
};

pub(crate) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A layer's request to a store about one token.
#[derive(Clone, Debug)]
pub(crate) enum StoreRequest {
    /// Looks the token up.
    Status(TokenId),
    /// Uses up a single-use token with these claims, at this time.
    Consume(TokenId, ActiveToken, Timestamp),
}

/// The store's answer to a [`StoreRequest`].
#[derive(Clone, Debug)]
pub(crate) enum StoreResponse {
    Status(TokenStatus),
    Consumed(Consumed),
}

/// A store whose type is chosen at run time. Cloning it copies one pointer.
///
/// ```
/// # #[cfg(feature = "embedded")]
/// # fn example(path: Option<&str>) -> Result<(), auth_layer::store::embedded::OpenError> {
/// use auth_layer::store::{DynStore, MemoryStore, embedded::EmbeddedStore};
///
/// let store = match path {
///     Some(path) => DynStore::new(EmbeddedStore::open(path)?),
///     None => DynStore::new(MemoryStore::new()),
/// };
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DynStore(Arc<dyn ErasedStore>);

impl DynStore {
    /// Wraps `store`. Wrapping a `DynStore` returns the same handle.
    pub fn new(store: impl TokenStore) -> Self {
        match (&store as &dyn Any).downcast_ref::<Self>() {
            Some(handle) => handle.clone(),
            None => Self(Arc::new(store)),
        }
    }

    /// Returns the pointer that an [`Authority`](crate::Authority) uses.
    pub(crate) fn into_inner(self) -> Arc<dyn ErasedStore> {
        self.0
    }
}

impl fmt::Debug for DynStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynStore").finish_non_exhaustive()
    }
}

macro_rules! erased {
    (
        async { $($name:ident($($arg:ident: $type:ty),* $(,)?) -> $answer:ty;)+ }
        plain { $($plain:ident($($plain_arg:ident: $plain_type:ty),*) -> $plain_answer:ty;)+ }
    ) => {
        /// Boxes one future per operation. For `ask`, the time limit is in the same box.
        pub(crate) trait ErasedStore: Send + Sync {
            fn ask(self: Arc<Self>, request: StoreRequest, limit: Duration) -> StoreFuture<'static, StoreResponse>;
            $(fn $name(&self, $($arg: $type),*) -> StoreFuture<'_, $answer>;)+
            $(fn $plain(&self, $($plain_arg: $plain_type),*) -> $plain_answer;)+
        }

        impl<S: TokenStore> ErasedStore for S {
            fn ask(self: Arc<Self>, request: StoreRequest, limit: Duration) -> StoreFuture<'static, StoreResponse> {
                ask(self, request, limit)
            }

            $(
                fn $name(&self, $($arg: $type),*) -> StoreFuture<'_, $answer> {
                    Box::pin(TokenStore::$name(self, $($arg),*))
                }
            )+

            $(
                fn $plain(&self, $($plain_arg: $plain_type),*) -> $plain_answer {
                    TokenStore::$plain(self, $($plain_arg),*)
                }
            )+
        }

        impl TokenStore for DynStore {
            $(
                fn $name(&self, $($arg: $type),*) -> impl Future<Output = Result<$answer, StoreError>> + Send {
                    ErasedStore::$name(&*self.0, $($arg),*)
                }
            )+

            $(
                fn $plain(&self, $($plain_arg: $plain_type),*) -> $plain_answer {
                    ErasedStore::$plain(&*self.0, $($plain_arg),*)
                }
            )+
        }
    };
}

operations!(erased!);

fn ask<S: TokenStore>(store: Arc<S>, request: StoreRequest, limit: Duration) -> StoreFuture<'static, StoreResponse> {
    // A separate box for each arm: every request asks for a status, and its future is the smallest.
    match request {
        // The store enforces its own limit, which saves a timer for each request.
        StoreRequest::Status(id) if TokenStore::answers_within(&*store).is_some_and(|bound| bound <= limit) => {
            Box::pin(async move { TokenStore::token_status(&*store, id).await.map(StoreResponse::Status) })
        }
        StoreRequest::Status(id) => {
            Box::pin(
                async move { within(limit, TokenStore::token_status(&*store, id)).await.map(StoreResponse::Status) },
            )
        }
        StoreRequest::Consume(id, token, now) => Box::pin(async move {
            within(limit, TokenStore::consume(&*store, id, token, now)).await.map(StoreResponse::Consumed)
        }),
    }
}

/// Runs `operation`, and fails when `limit` has passed.
pub(crate) async fn within<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, operation).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::new(StoreErrorKind::Unavailable, "the store did not answer in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn dyn_store_of_a_dyn_store_is_the_same_one() {
        let store = DynStore::new(MemoryStore::new());
        let again = DynStore::new(store.clone());
        assert!(Arc::ptr_eq(&store.0, &again.0));
        let user = Subject::generate();
        let _ = TokenStore::revoke_user(&store, user.clone(), None, chrono::Utc::now()).await.unwrap();
        assert_eq!(TokenStore::user_fence(&again, user).await.unwrap().epoch, 1);
    }
}

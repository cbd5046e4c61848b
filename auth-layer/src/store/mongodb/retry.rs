//! Retries the commits of failed revocations until the server has accepted them.
//!
//! The caller is told at once that a revocation failed, but cannot always repeat it. A client that
//! went away does not ask again. Nobody asks twice for the revocation after a reuse. A changed
//! password cannot be changed from the old one a second time. Once a commit is recorded, any node
//! continues it: see `resume`.

use std::{
    error::Error,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tracing::Instrument;

use super::records::Records;
use crate::store::{StoreError, StoreErrorKind};

/// How many commits are retried at a time. Each takes about a kilobyte.
const MAX_PENDING: usize = 4_096;

/// The pause before the next try: first and longest. It doubles each time.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// Retries commits in the background.
#[derive(Clone, Debug)]
pub(super) struct CommitRetries(Arc<Semaphore>);

impl CommitRetries {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_PENDING)))
    }

    /// Retries `commit` until it succeeds, if `failed` is a failure that may pass. Must be called
    /// within a Tokio runtime.
    pub(super) fn retry_in_background<F>(
        &self,
        failed: &StoreError,
        records: &Arc<Records>,
        commit: impl Fn(Arc<Records>) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        if failed.kind() != StoreErrorKind::Unavailable {
            return;
        }
        match Arc::clone(&self.0).try_acquire_owned() {
            Ok(permit) => {
                tokio::spawn(retry_until_done(Arc::downgrade(records), commit, permit).in_current_span());
            }
            Err(_) => tracing::error!(
                most = MAX_PENDING,
                "too many revocations wait for MongoDB: one that failed is not tried again"
            ),
        }
    }
}

/// Ends on success, on a lasting failure, and when the store is dropped.
async fn retry_until_done<F>(
    records: Weak<Records>,
    commit: impl Fn(Arc<Records>) -> F + Send,
    _permit: OwnedSemaphorePermit,
) where
    F: Future<Output = Result<(), StoreError>> + Send,
{
    let (mut pause, longest) = BACKOFF;
    loop {
        sleep(pause).await;
        pause = longest.min(pause * 2);
        let Some(records) = records.upgrade() else { return };
        match commit(records).await {
            Ok(()) => return tracing::info!("a revocation that had failed is recorded"),
            Err(error) if error.kind() == StoreErrorKind::Unavailable => {}
            Err(error) => {
                return tracing::error!(
                    error = &error as &dyn Error,
                    "a revocation that had failed cannot be recorded, and is not tried again"
                );
            }
        }
    }
}

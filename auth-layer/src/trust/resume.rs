//! Finishes interrupted revocations.
//!
//! A store may revoke in several steps. If its node or server dies in between, the session is
//! marked revoked, its access tokens are not, and the client may never retry. Every node looks for
//! such revocations every few seconds and finishes them, its own and those of other nodes.

use std::{
    error::Error,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{runtime::Handle, time::sleep};

use super::{Trust, TrustInner};
use crate::store::StoreError;

/// How often a node looks.
///
/// A store skips revocations that are only seconds old. With this interval all is done within the
/// promised 15 s.
const INTERVAL: Duration = Duration::from_secs(3);

impl Trust {
    /// Starts the task, once. Outside a runtime it does nothing and is tried again on the next use.
    pub(crate) fn resume_in_background(&self) {
        if self.inner.resume_started.get().is_some() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        self.inner.resume_started.get_or_init(|| {
            if self.inner.store.revokes_in_steps() {
                runtime.spawn(resume(Arc::downgrade(&self.inner)));
            }
        });
    }

    /// Finishes interrupted revocations. Fails while the stores are unreachable.
    async fn resume_once(&self) -> Result<(), StoreError> {
        for resumed in self.inner.store.resume(self.accepted_since()).await? {
            let Some(revocation) = resumed.revoked.unsettled else { continue };
            self.forget(revocation.news_id());
            tracing::info!(?revocation, age = ?resumed.age, "a revocation that had broken off is finished");
            self.settle_in_background(Some(revocation));
        }
        Ok(())
    }
}

/// Looks in a loop until the trust is dropped.
async fn resume(inner: Weak<TrustInner>) {
    loop {
        sleep(INTERVAL).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = (Trust { inner }).resume_once().await {
            // Calls that need the stores log the outage.
            tracing::debug!(error = &error as &dyn Error, "revocations that broke off cannot be finished yet");
        }
    }
}

//! Finishing revocations that broke off.
//!
//! A store that revokes in steps may lose its node, or its server, between two of them: the session
//! is marked, its access tokens are not, and the client may never ask again. Every node looks for
//! such revocations every few seconds and finishes them, its own and those of other nodes.

use std::{
    error::Error,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{runtime::Handle, time::sleep};

use super::{Inner, Trust};
use crate::store::{Revocation, StoreError};

/// How often a node looks. A store leaves a revocation alone for its first seconds, so that this
/// and the work itself stay within the 15 s that are promised.
const EVERY: Duration = Duration::from_secs(3);

impl Trust {
    /// Begins to look, once. Does nothing outside a runtime, where nothing can be begun: it is
    /// called again when the trust is used.
    pub(crate) fn resume_in_background(&self) {
        if self.inner.resuming.get().is_some() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        self.inner.resuming.get_or_init(|| {
            if self.inner.store.revokes_in_steps() {
                runtime.spawn(resume(Arc::downgrade(&self.inner)));
            }
        });
    }

    /// Finishes what has broken off. Fails where the stores are still away.
    async fn resume_once(&self) -> Result<(), StoreError> {
        for resumed in self.inner.store.resume(self.accepted_since()).await? {
            let Some(revocation) = resumed.revoked.unsettled else { continue };
            self.forget(match &revocation {
                Revocation::Token(id) => *id.as_uuid(),
                Revocation::Session(id) => *id.as_uuid(),
                Revocation::User(user, _) => user.tag(),
            });
            tracing::info!(?revocation, age = ?resumed.age, "a revocation that had broken off is finished");
            self.settle(Some(revocation));
        }
        Ok(())
    }
}

/// Looks until the trust is gone.
async fn resume(inner: Weak<Inner>) {
    loop {
        sleep(EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = (Trust { inner }).resume_once().await {
            // The calls that need the stores log that they are away.
            tracing::debug!(error = &error as &dyn Error, "revocations that broke off cannot be finished yet");
        }
    }
}

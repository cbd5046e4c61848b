//! Applies changes of the keys directory while the service runs.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, SystemTime},
};

use auth_layer::keys::Keyring;

use super::{KeysDir, KeysError};
use crate::logging::ProblemLog;

/// The interval between two reads of the directory.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Passes the directory's ring to `change` whenever it differs from `current`. Never returns,
/// except at shutdown. A failed read leaves the ring unchanged.
pub(crate) async fn follow(mut keys_dir: KeysDir, current: impl Fn() -> Keyring, change: impl Fn(Keyring)) {
    let mut problems = ProblemLog::new(
        "the keys directory has a problem; the loaded keys stay in use",
        "the keys directory is readable and complete again",
    );
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let load = tokio::task::spawn_blocking(move || {
            // A panic costs only this read; `keys_dir` survives it.
            let loaded = catch_unwind(AssertUnwindSafe(|| keys_dir.reload(SystemTime::now())));
            (keys_dir, loaded)
        });
        // The runtime is shutting down.
        let Ok((back, loaded)) = load.await else { return };
        keys_dir = back;
        keys_dir.record_metrics(SystemTime::now());
        let (ring, problem) = match loaded {
            Ok(Ok((ring, problem))) => (Some(ring), problem),
            Ok(Err(error)) => (None, Some(error)),
            Err(_) => (None, Some(KeysError::Panicked)),
        };
        problems.report(problem.as_ref().map(|problem| problem as _));
        if let Some(ring) = ring
            && kids(&ring) != kids(&current())
        {
            tracing::info!(keys = ?ring, "the signing keys changed");
            change(ring);
        }
    }
}

fn kids(keys: &Keyring) -> Vec<String> {
    keys.verifying_keys().map(|key| key.kid().to_owned()).collect()
}

//! Applies changes of the keys directory while the service runs.

use std::{
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, SystemTime},
};

use auth_layer::keys::Keyring;

use super::{KeysDir, KeysError};
use crate::logging::error_text;

/// The interval between two reads of the directory.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Passes the directory's ring to `change` whenever it differs from `current`. Never returns,
/// except at shutdown. A failed read leaves the ring unchanged.
pub(crate) async fn follow(mut keys_dir: KeysDir, current: impl Fn() -> Keyring, change: impl Fn(Keyring)) {
    let mut problems = ProblemLog::default();
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
        problems.report(problem.as_ref());
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

/// Logs a problem once, and once more when it is over.
#[derive(Debug, Default)]
pub(super) struct ProblemLog {
    last: Option<String>,
}

/// What a [`ProblemLog`] logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logged {
    Nothing,
    Problem,
    Resolved,
}

impl ProblemLog {
    pub(super) fn report(&mut self, problem: Option<&KeysError>) -> Logged {
        match problem {
            Some(error) => {
                let text = error_text(error);
                if self.last.as_ref() == Some(&text) {
                    return Logged::Nothing;
                }
                tracing::error!(
                    error = error as &dyn Error,
                    "the keys directory has a problem; the loaded keys stay in use"
                );
                self.last = Some(text);
                Logged::Problem
            }
            None if self.last.take().is_some() => {
                tracing::info!("the keys directory is readable and complete again");
                Logged::Resolved
            }
            None => Logged::Nothing,
        }
    }
}

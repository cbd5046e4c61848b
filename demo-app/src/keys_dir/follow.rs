//! Applies changes of the keys directory while the service runs.

use std::{
    error::Error,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, SystemTime},
};

use auth_layer::keys::Keyring;

use super::{KeysDir, KeysError};

/// The interval between two reads of the directory.
const EVERY: Duration = Duration::from_secs(2);

/// Passes the directory's ring to `change` whenever it differs from `current`. Never returns,
/// except at shutdown. A failed read leaves the ring unchanged.
pub(crate) async fn follow(mut keys_dir: KeysDir, current: impl Fn() -> Keyring, change: impl Fn(Keyring)) {
    let mut complaint = Complaint::default();
    loop {
        tokio::time::sleep(EVERY).await;
        let load = tokio::task::spawn_blocking(move || {
            // A panic costs only this read; `keys_dir` survives it.
            let loaded = catch_unwind(AssertUnwindSafe(|| keys_dir.reload(SystemTime::now())));
            (keys_dir, loaded)
        });
        // The runtime is shutting down.
        let Ok((back, loaded)) = load.await else { return };
        keys_dir = back;
        let (ring, problem) = match loaded {
            Ok(Ok((ring, problem))) => (Some(ring), problem),
            Ok(Err(error)) => (None, Some(error)),
            Err(_) => (None, Some(KeysError::Panicked)),
        };
        complaint.note(problem.as_ref());
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
pub(super) struct Complaint {
    said: Option<String>,
}

/// What a [`Complaint`] logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Problem,
    Over,
}

impl Complaint {
    pub(super) fn note(&mut self, problem: Option<&KeysError>) -> Said {
        match problem {
            Some(error) => {
                let text = whole(error);
                if self.said.as_ref() == Some(&text) {
                    return Said::Nothing;
                }
                tracing::error!(error = error as &dyn Error, "the signing keys in use stay as they are");
                self.said = Some(text);
                Said::Problem
            }
            None if self.said.take().is_some() => {
                tracing::info!("the keys directory is in order again");
                Said::Over
            }
            None => Said::Nothing,
        }
    }
}

/// Formats an error with its causes.
fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

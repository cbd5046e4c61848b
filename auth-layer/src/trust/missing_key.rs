//! Warns when another node signs with a key that this node lacks.
//!
//! The client gets 401, as for any unknown key. The operator has to know that the nodes' keys
//! differ. So a few such tokens a second are looked up in the background. The warning is logged
//! only when the store has a live record: forged tokens have none, so they cannot fill the log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;

use super::{Trust, check::expected_record, meter::Meter};
use crate::{
    jwt::{Expected, MissingKey},
    store::{StoreRequest, StoreResponse, TokenStatus},
};

/// How many of these tokens are looked up per second at most.
const LOOKUPS: u32 = 5;

/// The shortest time between two warnings.
const QUIET: Duration = Duration::from_mins(1);

/// Bounds the lookups and the log.
#[derive(Debug)]
pub(super) struct MissingKeyLimits {
    lookups: Meter,
    /// In milliseconds of the trust's monotonic clock.
    quiet_until: AtomicU64,
}

impl MissingKeyLimits {
    pub(super) fn new() -> Self {
        Self { lookups: Meter::new(LOOKUPS), quiet_until: AtomicU64::new(0) }
    }

    fn may_look_up(&self, now: Duration) -> bool {
        millis(now) >= self.quiet_until.load(Ordering::Relaxed) && self.lookups.try_acquire(now)
    }

    /// Whether a warning is due. Silences further ones for a minute.
    fn may_warn(&self, now: Duration) -> bool {
        let quiet = |until: u64| (millis(now) >= until).then(|| millis(now.saturating_add(QUIET)));
        self.quiet_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, quiet).is_ok()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Trust {
    /// Looks up the record of a token whose key was not found, in the background.
    pub(super) fn warn_of_missing_key(&self, token: &str, expected: &Expected<'_>) {
        let now = self.monotonic();
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.inner.missing_keys.may_look_up(now) {
            return;
        }
        let Some(missing) = MissingKey::read(token, &self.inner.issuer.keys().0, expected) else { return };
        let trust = self.clone();
        runtime.spawn(async move {
            if trust.is_live(&missing).await && trust.inner.missing_keys.may_warn(now) {
                tracing::warn!(
                    kid = missing.kid,
                    "a token of a live session is signed with a key that this node does not have: the nodes of a service need \
                     the same keys"
                );
            }
        });
    }

    /// Whether the store has a live record that matches the token.
    async fn is_live(&self, MissingKey { claims, kind, .. }: &MissingKey) -> bool {
        let request = StoreRequest::Status(claims.jti);
        let answer = Arc::clone(&self.inner.store).ask(request, self.inner.settings.deadline).await;
        matches!(answer, Ok(StoreResponse::Status(TokenStatus::Active(record))) if record == expected_record(claims, *kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_key_is_logged_once_a_minute_and_few_are_looked_up() {
        let missing = MissingKeyLimits::new();
        let begun = Duration::from_secs(1_000);
        let lookups = (0..10_000).filter(|_| missing.may_look_up(begun)).count();
        assert!(lookups <= 2 * LOOKUPS as usize, "{lookups}");
        assert!(missing.may_warn(begun));
        assert!(!missing.may_warn(begun), "another lookup was under way");
        let soon = begun + QUIET.mul_f32(0.9);
        assert!(!missing.may_look_up(soon), "nothing is looked up that would not be logged");
        assert!(missing.may_look_up(begun + QUIET) && missing.may_warn(begun + QUIET));
    }
}

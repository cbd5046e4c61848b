//! Says that others sign with a key that this node does not have.
//!
//! To clients such a token is one with a key of nobody's: 401. To an operator it is a node whose
//! keys are not the fleet's. The two differ in the store, which has a live record of the one and
//! none of the other. So a few such tokens a second are looked up, beside the answer, and only what
//! the store vouches for is logged: forged tokens fill no log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;

use super::{Authority, meter::Meter};
use crate::{
    claims::CustomClaims,
    jwt::{Expected, MissingKey},
    store::{Question, Standing, TokenStatus},
};

/// How many of these tokens are looked up a second at most.
const LOOKS: u32 = 5;

/// How long nothing more is said.
const QUIET: Duration = Duration::from_mins(1);

/// What bounds the lookups and the log.
#[derive(Debug)]
pub(super) struct MissingKeys {
    looks: Meter,
    /// In milliseconds of the authority's monotonic clock.
    quiet_until: AtomicU64,
}

impl MissingKeys {
    pub(super) fn new() -> Self {
        Self { looks: Meter::new(LOOKS), quiet_until: AtomicU64::new(0) }
    }

    fn may_look(&self, now: Duration) -> bool {
        millis(now) >= self.quiet_until.load(Ordering::Relaxed) && self.looks.take(now)
    }

    /// Whether this is to be said now. Then nothing more is for a while.
    fn may_speak(&self, now: Duration) -> bool {
        let quiet = |until: u64| (millis(now) >= until).then(|| millis(now.saturating_add(QUIET)));
        self.quiet_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, quiet).is_ok()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl<C: CustomClaims> Authority<C> {
    /// To be called for a token whose key was not found. Looks its record up in the background, and
    /// waits for nothing.
    pub(super) fn note_missing_key(&self, token: &str, expected: &Expected<'_>) {
        let now = self.inner.clock.monotonic();
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.inner.missing_keys.may_look(now) {
            return;
        }
        let Some(missing) = MissingKey::read(token, &self.inner.keys.load(), expected) else { return };
        let authority = self.clone();
        runtime.spawn(async move {
            if authority.is_live(&missing).await && authority.inner.missing_keys.may_speak(now) {
                tracing::warn!(
                    kid = missing.kid,
                    "a token of a live session is signed with a key that this node does not have: the nodes of a service need \
                     the same keys"
                );
            }
        });
    }

    /// Whether the store has a live record of what the token says.
    async fn is_live(&self, MissingKey { claims, kind, .. }: &MissingKey) -> bool {
        let question = Question::Status(claims.jti);
        let answer = Arc::clone(&self.inner.store).ask(question, self.inner.settings.deadline).await;
        matches!(answer, Ok(Standing::Status(TokenStatus::Active(record))) if record == claims.says(*kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_key_is_said_once_a_minute_and_few_are_looked_up() {
        let missing = MissingKeys::new();
        let begun = Duration::from_secs(1_000);
        let looks = (0..10_000).filter(|_| missing.may_look(begun)).count();
        assert!(looks <= 2 * LOOKS as usize, "{looks}");
        assert!(missing.may_speak(begun));
        assert!(!missing.may_speak(begun), "another lookup was under way");
        let soon = begun + QUIET.mul_f32(0.9);
        assert!(!missing.may_look(soon), "nothing is looked up that would not be said");
        assert!(missing.may_look(begun + QUIET) && missing.may_speak(begun + QUIET));
    }
}

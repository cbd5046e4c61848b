//! A circuit breaker for a failing cache.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Closed until a failure, then open for a pause. After the pause, one caller at a time may try.
#[derive(Debug)]
pub(super) struct Breaker {
    start: Instant,
    pause: Duration,
    /// Zero while closed, else the time of the next try, in microseconds after `start`.
    retry_at: AtomicU64,
}

impl Breaker {
    pub(super) fn new(pause: Duration) -> Self {
        Self { start: Instant::now(), pause, retry_at: AtomicU64::new(0) }
    }

    /// Returns whether the caller may try. While open, the one caller that may try delays the next
    /// try by a pause.
    pub(super) fn allows(&self) -> bool {
        let retry_at = self.retry_at.load(Ordering::Relaxed);
        if retry_at == 0 {
            return true;
        }
        let now = self.micros();
        now >= retry_at
            && self
                .retry_at
                .compare_exchange(retry_at, now + self.pause_micros(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Opens. Returns true if it was closed.
    pub(super) fn trip(&self) -> bool {
        self.retry_at.swap(self.micros() + self.pause_micros(), Ordering::Relaxed) == 0
    }

    /// Closes.
    pub(super) fn reset(&self) {
        // Read first: all requests share this word, and it is nearly always zero already.
        if self.retry_at.load(Ordering::Relaxed) != 0 {
            self.retry_at.store(0, Ordering::Relaxed);
            tracing::info!("the shared cache serves again");
        }
    }

    fn micros(&self) -> u64 {
        // Never zero, which means closed.
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn pause_micros(&self) -> u64 {
        u64::try_from(self.pause.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn breaker_allows_one_try_per_pause_while_open() {
        let pause = Duration::from_secs(1);
        let breaker = Breaker::new(pause);
        assert!(breaker.allows() && breaker.allows());
        assert!(breaker.trip(), "the first to fail opens it");
        assert!(!breaker.trip(), "the next finds it open");
        for _ in 0..3 {
            assert!(!breaker.allows());
            advance(pause + Duration::from_millis(1)).await;
            assert!(breaker.allows());
            assert!(!breaker.allows());
        }
        breaker.reset();
        assert!(breaker.allows() && breaker.allows());
        assert!(breaker.trip());
    }
}

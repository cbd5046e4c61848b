//! Runs the two sides of a race in both orders.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use tests::client::{Response, Tokens};
use tokio::time::sleep;

use super::issued_pair;

/// Returns how long the other side of a race waits: a fraction of `took`, up to a little more,
/// round after round.
///
/// Two sides that start together would come in the order of their lengths each time.
pub(super) fn staggered_delay(took: Duration, round: usize) -> Duration {
    took * u32::try_from(round % 16).unwrap() / 12
}

/// Delays the two sides in turns by [`staggered_delay`] the time that the first side took last.
#[derive(Debug, Default)]
pub(super) struct RaceOrder {
    begun: AtomicUsize,
    took: Mutex<Duration>,
    granted: AtomicUsize,
    refused: AtomicUsize,
}

impl RaceOrder {
    /// Runs both sides, one before the other or beside it.
    pub(super) async fn run<A, B>(&self, first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        let wait = staggered_delay(*self.took.lock().unwrap(), begun / 2);
        let (early, late) = if begun.is_multiple_of(2) { (Duration::ZERO, wait) } else { (wait, Duration::ZERO) };
        let timed = async {
            sleep(early).await;
            let begun = Instant::now();
            let answer = first.await;
            (answer, begun.elapsed())
        };
        let ((answer, took), other) = tokio::join!(timed, async {
            sleep(late).await;
            second.await
        });
        *self.took.lock().unwrap() = took;
        (answer, other)
    }

    /// Counts an answer that was granted, or refused with this error.
    pub(super) fn count(&self, answer: &Response, error: &str) {
        let granted = answer.status == StatusCode::OK;
        if !granted {
            assert_eq!((answer.status, answer.error().as_str()), (StatusCode::UNAUTHORIZED, error), "{answer:?}");
        }
        self.record_winner(granted);
    }

    /// Counts a round that the first side won, or the second.
    pub(super) fn record_winner(&self, first: bool) {
        let count = if first { &self.granted } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the answer to a refresh. Returns the child if there is one.
    pub(super) fn count_refresh(&self, refreshed: &Response) -> Option<Tokens> {
        self.count(refreshed, "invalid_grant");
        issued_pair(refreshed)
    }

    /// Returns whether each side has won a round.
    pub(super) fn both_seen(&self) -> bool {
        [&self.granted, &self.refused].iter().all(|count| count.load(Ordering::Relaxed) > 0)
    }
}

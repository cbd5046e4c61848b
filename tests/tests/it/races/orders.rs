//! The order of the two sides of a race.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use tests::client::{Answer, Tokens};
use tokio::time::sleep;

use super::pair;

/// Returns how long the other side of a race waits: a fraction of `took`, up to a little more,
/// round after round.
///
/// Two sides that start together would come in the order of their lengths each time.
pub(super) fn some_part_of(took: Duration, round: usize) -> Duration {
    took * u32::try_from(round % 16).unwrap() / 12
}

/// Delays the two sides in turns by [`some_part_of`] the time that the first side took last.
#[derive(Debug, Default)]
pub(super) struct Orders {
    begun: AtomicUsize,
    took: Mutex<Duration>,
    granted: AtomicUsize,
    refused: AtomicUsize,
}

impl Orders {
    /// Runs both sides, one before the other or beside it.
    pub(super) async fn meet<A, B>(&self, first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        let wait = some_part_of(*self.took.lock().unwrap(), begun / 2);
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
    pub(super) fn count(&self, answer: &Answer, error: &str) {
        let granted = answer.status == StatusCode::OK;
        if !granted {
            assert_eq!((answer.status, answer.error().as_str()), (StatusCode::UNAUTHORIZED, error), "{answer:?}");
        }
        self.came_first(granted);
    }

    /// Counts a round that the first side won, or the second.
    pub(super) fn came_first(&self, first: bool) {
        let count = if first { &self.granted } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the answer to a refresh. Returns the child if there is one.
    pub(super) fn child(&self, refreshed: &Answer) -> Option<Tokens> {
        self.count(refreshed, "invalid_grant");
        pair(refreshed)
    }

    /// Returns whether some were granted and some were refused.
    pub(super) fn are_all_seen(&self) -> bool {
        [&self.granted, &self.refused].iter().all(|count| count.load(Ordering::Relaxed) > 0)
    }
}

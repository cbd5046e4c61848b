//! Bounds the time of a request.
//!
//! A request is answered in time even when the stores do not answer. The body has a time limit and
//! an error of its own, because there the client takes the time. The request's limit starts again
//! when the body has arrived.
//!
//! tower-http's `TimeoutLayer` keeps counting while the client sends, and its answer has neither a
//! body nor `Retry-After`. Its `RequestBodyDeadlineLayer` also counts the server's time.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// The time limit of a request, and that of its body. An answer is promised within 3 s; the rest is
/// for an overloaded machine whose timers run late.
const LIMIT: Duration = Duration::from_millis(2_600);

/// The deadline of a request. It is suspended while the body is read. All clones belong to one
/// request.
#[derive(Clone, Debug)]
pub(crate) struct Deadline(Arc<Mutex<Option<Instant>>>);

/// The body did not arrive in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyTimeout;

impl Deadline {
    /// Starts the deadline of a request whose head has just arrived.
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now() + LIMIT))))
    }

    /// Returns the deadline; `None` while it is suspended.
    fn end(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_end(&self, end: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }

    /// Reads a request's body within its own time limit.
    pub(crate) async fn read_body<T>(&self, reading: impl Future<Output = T>) -> Result<T, BodyTimeout> {
        let mut reading = pin!(reading);
        // Most bodies have arrived with the head, and need no time limit.
        if let Some(read) = reading.as_mut().now_or_never() {
            return Ok(read);
        }
        self.set_end(None);
        let read = timeout(LIMIT, reading).await;
        self.set_end(Some(Instant::now() + LIMIT));
        read.map_err(|_| BodyTimeout)
    }

    /// Waits for `answer` until the deadline; `None` if it did not come.
    pub(crate) async fn until<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        // The end only moves back, so it is read again when the time has come.
        let late = async {
            loop {
                match self.end() {
                    Some(end) if end <= Instant::now() => return,
                    Some(end) => sleep_until(end).await,
                    // The end comes no sooner than this after the body.
                    None => sleep(LIMIT).await,
                }
            }
        };
        tokio::select! {
            // An answer that is ready is returned, even if late.
            biased;
            answer = answer => Some(answer),
            () = late => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn deadline_ends_unanswered_request() {
        let began = Instant::now();
        assert_eq!(Deadline::start().until(pending::<()>()).await, None);
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_excludes_body_time() {
        let deadline = Deadline::start();
        let answer = async {
            sleep(LIMIT / 2).await;
            deadline.read_body(sleep(LIMIT * 9 / 10)).await.unwrap();
            sleep(LIMIT * 9 / 10).await;
        };
        assert_eq!(deadline.until(answer).await, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_of_body_ends_before_that_of_request() {
        let deadline = Deadline::start();
        assert_eq!(deadline.until(deadline.read_body(pending::<()>())).await, Some(Err(BodyTimeout)));
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_restarts_after_body() {
        let deadline = Deadline::start();
        let answer = async {
            deadline.read_body(sleep(LIMIT / 2)).await.unwrap();
            pending::<()>().await;
        };
        let began = Instant::now();
        assert_eq!(deadline.until(answer).await, None);
        assert_eq!(began.elapsed(), LIMIT + LIMIT / 2);
    }
}

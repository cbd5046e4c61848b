//! How long a request may take.
//!
//! It is answered in time whatever the stores do. While its body is awaited it is the client that takes the time: the body has a
//! limit of its own, with an answer of its own, and ours begins again when the body is there.
//!
//! tower-http's `TimeoutLayer` does not stop its clock while the client sends, and its answer has
//! neither a body nor `Retry-After`. Its `RequestBodyDeadlineLayer` counts our time, too.

use std::{future::pending, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

/// After how long a request is answered that is not done, and how long its body may take to come. An answer is promised within
/// 3 s; what is left of them is for a machine that has too much to do and comes to its timers late.
const LIMIT: Duration = Duration::from_millis(2_600);

/// When a request is to be answered at the latest; not while its body is awaited. The clones are of one request.
#[derive(Clone, Debug)]
pub(crate) struct Deadline(watch::Sender<Option<Instant>>);

/// The body did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slow;

impl Deadline {
    /// Of a request whose head has come just now.
    pub(crate) fn start() -> Self {
        Self(watch::Sender::new(Some(Instant::now() + LIMIT)))
    }

    /// Reads a request's body in a time of its own.
    pub(crate) async fn body<T>(&self, reading: impl Future<Output = T>) -> Result<T, Slow> {
        self.0.send_replace(None);
        let read = timeout(LIMIT, reading).await;
        self.0.send_replace(Some(Instant::now() + LIMIT));
        read.map_err(|_| Slow)
    }

    /// Waits for `answer` until the time has come; `None` where it was not there by then.
    pub(crate) async fn until<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut end = self.0.subscribe();
        let late = async {
            loop {
                let now = *end.borrow_and_update();
                let end_comes = async {
                    match now {
                        Some(end) => sleep_until(end).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    () = end_comes => return,
                    // `self` has a sender, so this is no error.
                    _ = end.changed() => {}
                }
            }
        };
        tokio::select! {
            // An answer that is there is given, however late.
            biased;
            answer = answer => Some(answer),
            () = late => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_never_answered_is_given_up() {
        let began = Instant::now();
        assert_eq!(Deadline::start().until(pending::<()>()).await, None);
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_a_body_takes_is_not_ours() {
        let deadline = Deadline::start();
        let answer = async {
            sleep(LIMIT / 2).await;
            deadline.body(sleep(LIMIT * 9 / 10)).await.unwrap();
            sleep(LIMIT * 9 / 10).await;
        };
        assert_eq!(deadline.until(answer).await, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up_before_the_request_is() {
        let deadline = Deadline::start();
        assert_eq!(deadline.until(deadline.body(pending::<()>())).await, Some(Err(Slow)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_late_after_its_body_is_given_up() {
        let deadline = Deadline::start();
        let answer = async {
            deadline.body(sleep(LIMIT / 2)).await.unwrap();
            pending::<()>().await;
        };
        let began = Instant::now();
        assert_eq!(deadline.until(answer).await, None);
        assert_eq!(began.elapsed(), LIMIT + LIMIT / 2);
    }
}

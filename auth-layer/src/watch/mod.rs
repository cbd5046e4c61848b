//! The open streams of a store handle: what each depends on, and when the store is asked.
//!
//! A [`Revoked`] is one stream's end. Streams of one session share an entry, and the store is asked
//! once per entry however many streams there are. This module decides what to ask and when, and
//! does no I/O: a scheduler takes [`Question`]s and answers them.
//!
//! - **What is asked.** While a stream's token lives, its record: a revocation of the session
//!   reaches that record too, as for a check. After that, the record of the session. So a refresh
//!   ends nothing. A token without a record is asked about by its denials; its stream ends when it
//!   expires.
//! - **When.** At once for a new stream, so that no revocation slips in between its check and its
//!   registration. Then within each interval, spread over the last tenth of it. At once after news.
//! - **No answer.** A stream ends when its state is overdue for longer than its limit. The ends are
//!   spread, so that the clients do not come back all at once.
//!
//! News only bring a question forward: they are hints, and the store decides.

mod revoked;
mod state;
#[cfg(test)]
mod tests;

use std::{
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};
use uuid::Uuid;

pub use self::revoked::{Revoked, StreamEnd};
pub(crate) use self::state::{Answer, SessionState, StreamRules, Watched, WatchedToken};
use self::{
    revoked::Registration,
    state::{Asked, Ended, State},
};
use crate::{
    clock::{Clock, Timestamp},
    id::SessionId,
};

/// The watched streams of a store handle.
pub(crate) struct Watches {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Wakes the scheduler.
    due: Notify,
}

/// What the scheduler does next.
pub(crate) struct Turn {
    pub(crate) questions: Vec<Question>,
    /// How long nothing more is due.
    pub(crate) pause: Duration,
}

impl Watches {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default(), due: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> (Duration, Timestamp) {
        (self.clock.monotonic(), self.clock.now())
    }

    /// Registers a stream. Also returns whether the caller must start a scheduler.
    pub(crate) fn watch(self: &Arc<Self>, watched: Watched, rules: StreamRules) -> (Revoked, bool) {
        let (now, _) = self.now();
        let mut state = self.state();
        let Some((stream, ended)) = state.add(watched, rules, now) else {
            return (Revoked::ended(StreamEnd::Unavailable), false);
        };
        let starts = !std::mem::replace(&mut state.is_scheduled, true);
        drop(state);
        count_opened();
        self.due.notify_one();
        (Revoked::new(ended, Registration { watches: Arc::clone(self), stream }), starts)
    }

    /// Makes a stream end with its token as well.
    fn end_at_expiry(&self, stream: u64) {
        self.state().end_at_expiry(stream);
        self.due.notify_one();
    }

    /// Forgets a stream that was dropped.
    fn forget(&self, stream: u64) {
        let mut state = self.state();
        if !state.remove(stream) {
            return;
        }
        let is_last = state.is_empty();
        drop(state);
        count_closed(1);
        if is_last {
            // Lets the scheduler stop, which holds the store.
            self.due.notify_one();
        }
    }

    /// Asks at once about what depends on this token id, session id or user tag.
    pub(crate) fn wake(&self, id: Uuid) {
        let woken = self.state().wake(id);
        if woken {
            self.due.notify_one();
        }
    }

    /// Asks soon about everything: news may have been missed.
    pub(crate) fn wake_all(&self) {
        let (now, _) = self.now();
        self.state().wake_all(now);
        self.due.notify_one();
    }

    /// Ends the streams whose time has come, and returns what to ask. `None` once there is no
    /// stream left: the scheduler stops.
    pub(crate) fn turn(self: &Arc<Self>) -> Option<Turn> {
        let (now, time) = self.now();
        let mut state = self.state();
        if state.is_empty() {
            state.is_scheduled = false;
            return None;
        }
        let (asked, ended, pause) = state.turn(now, time);
        drop(state);
        let questions =
            asked.into_iter().map(|asked| Question { watches: Arc::clone(self), asked, answer: None }).collect();
        send(ended);
        Some(Turn { questions, pause })
    }

    /// Completes when something may be due earlier than the last turn said.
    pub(crate) fn until_due(&self) -> Notified<'_> {
        self.due.notified()
    }

    /// Ends all streams: the scheduler was dropped, so nobody would end them.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        state.is_scheduled = false;
        let ended = state.end_all(StreamEnd::Unavailable);
        drop(state);
        send(ended);
    }

    fn conclude(&self, asked: &Asked, answer: Option<Answer>) {
        let (now, _) = self.now();
        let (ended, is_due) = self.state().conclude(asked, answer, now);
        send(ended);
        // Otherwise the scheduler sleeps until the next question is due, or sooner.
        if is_due {
            self.due.notify_one();
        }
    }

    /// Returns the number of streams.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.state().len()
    }
}

/// A question to the store about one session or token. It has failed if it is dropped unanswered.
pub(crate) struct Question {
    watches: Arc<Watches>,
    asked: Asked,
    answer: Option<Answer>,
}

impl Question {
    /// Returns the tokens that are asked about.
    pub(crate) fn tokens(&self) -> &[WatchedToken] {
        &self.asked.tokens
    }

    /// Returns the session whose record is asked for, if any.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.asked.session
    }

    /// Returns the time of day of the question.
    pub(crate) fn time(&self) -> Timestamp {
        self.asked.time
    }

    /// Answers it.
    pub(crate) fn answer(mut self, answer: Answer) {
        self.answer = Some(answer);
    }

    /// Logs why there is no answer, unless that was logged a moment ago.
    pub(crate) fn fail(self, error: &(dyn Error + 'static)) {
        let (now, _) = self.watches.now();
        if self.watches.state().may_warn(now) {
            tracing::warn!(error, "the store does not answer about open streams");
        } else {
            tracing::debug!(error, "the store does not answer about an open stream");
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let answer = self.answer.take();
        self.watches.conclude(&self.asked, answer);
    }
}

/// Tells the streams. Not under the lock: a waker may do anything.
fn send(ended: Vec<Ended>) {
    count_closed(ended.len());
    for Ended { stream, end } in ended {
        count_ended(end);
        // It may have been dropped meanwhile.
        let _ = stream.send(end);
    }
}

#[cfg(feature = "metrics")]
fn count_opened() {
    metrics::gauge!("auth_streams_open").increment(1.0);
}

#[cfg(feature = "metrics")]
fn count_closed(streams: usize) {
    if streams > 0 {
        metrics::gauge!("auth_streams_open").decrement(f64::from(u32::try_from(streams).unwrap_or(u32::MAX)));
    }
}

#[cfg(feature = "metrics")]
fn count_ended(end: StreamEnd) {
    metrics::counter!("auth_streams_ended_total", "reason" => end.as_str()).increment(1);
}

#[cfg(not(feature = "metrics"))]
fn count_opened() {}

#[cfg(not(feature = "metrics"))]
fn count_closed(_: usize) {}

#[cfg(not(feature = "metrics"))]
fn count_ended(_: StreamEnd) {}

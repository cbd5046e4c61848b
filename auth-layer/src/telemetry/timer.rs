use std::{
    future::Future,
    sync::OnceLock,
    time::{Duration, Instant},
};

use metrics::Histogram;

use super::STORE_OPERATIONS;

/// The histograms of one operation, each resolved when it is first needed.
pub(crate) struct Timer {
    store: &'static str,
    operation: &'static str,
    ok: OnceLock<Histogram>,
    error: OnceLock<Histogram>,
    abandoned: OnceLock<Histogram>,
}

impl Timer {
    pub(crate) fn new(store: &'static str, operation: &'static str) -> Self {
        let [ok, error, abandoned] = [const { OnceLock::new() }; 3];
        Self { store, operation, ok, error, abandoned }
    }

    /// Runs a call and records its time.
    pub(crate) async fn time<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let running = Running { timer: self, begun: Instant::now(), is_done: false };
        let answer = call.await;
        running.end(answer.is_ok());
        answer
    }

    fn record(&self, outcome: &'static str, took: Duration) {
        let histogram = match outcome {
            "ok" => &self.ok,
            "error" => &self.error,
            _ => &self.abandoned,
        };
        let resolve = || {
            metrics::histogram!(
                STORE_OPERATIONS, "store" => self.store, "operation" => self.operation, "outcome" => outcome
            )
        };
        histogram.get_or_init(resolve).record(took);
    }
}

/// A call that has begun.
struct Running<'a> {
    timer: &'a Timer,
    begun: Instant,
    is_done: bool,
}

impl Running<'_> {
    fn end(mut self, is_ok: bool) {
        self.is_done = true;
        self.timer.record(if is_ok { "ok" } else { "error" }, self.begun.elapsed());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.timer.record("abandoned", self.begun.elapsed());
        }
    }
}

//! Samples what no event counts.

use std::time::Duration;

use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{SESSIONS, STORE_UP, Telemetry};
use crate::{routes::health::Readiness, state::AppState};

/// The time between two samples. Histograms keep each value until then.
const PERIOD: Duration = Duration::from_secs(5);

/// The stores are asked at each such sample only.
const SAMPLES_PER_QUESTION: u32 = 3;

/// The longest wait for the number of sessions.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// Samples the process, the stores and the number of sessions. Never returns.
pub(crate) async fn sample(state: AppState) {
    let readiness = Readiness::new(&state);
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        period.tick().await;
        sample_process(state.telemetry.clone()).await;
        if tick.is_multiple_of(SAMPLES_PER_QUESTION) {
            sample_stores(&state, &readiness).await;
        }
    }
}

/// Reads the system's files on a blocking thread: a process may have many open files to count.
async fn sample_process(telemetry: Telemetry) {
    let sample = move || {
        telemetry.process.collect();
        telemetry.exporter.run_upkeep();
    };
    // An error means that the runtime is shutting down.
    let _ = tokio::task::spawn_blocking(sample).await;
}

async fn sample_stores(state: &AppState, readiness: &Readiness) {
    for check in readiness.checks().await {
        gauge!(STORE_UP, "store" => check.store).set(if check.is_up { 1.0 } else { 0.0 });
    }
    // The last number stays while the store is down.
    if let Ok(Ok(sessions)) = timeout(COUNT_TIMEOUT, state.sessions.count()).await {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(SESSIONS).set(sessions as f64);
    }
}

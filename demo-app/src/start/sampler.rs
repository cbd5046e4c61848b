//! Samples what no event counts.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{state::AppState, telemetry};

/// The time between two samples. Histograms keep each value until then.
const PERIOD: Duration = Duration::from_secs(5);

/// The stores are asked at each such sample only.
const SAMPLES_PER_QUESTION: u32 = 3;

/// The longest wait for the number of sessions.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// Samples the process, the stores and the number of sessions. Never returns.
pub(crate) async fn sample(state: AppState) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        period.tick().await;
        let telemetry = state.telemetry.clone();
        // An error means that the runtime is shutting down.
        let _ = tokio::task::spawn_blocking(move || telemetry.sample()).await;
        if tick.is_multiple_of(SAMPLES_PER_QUESTION) {
            sample_stores(&state).await;
        }
    }
}

async fn sample_stores(state: &AppState) {
    for check in state.readiness.checks().await {
        telemetry::set_store_up(check.store, check.is_up);
    }
    // The last number stays while the store is down.
    if let Ok(Ok(sessions)) = timeout(COUNT_TIMEOUT, state.sessions.count()).await {
        telemetry::set_sessions(sessions);
    }
}

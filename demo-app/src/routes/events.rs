//! A stream of events that ends with its session.

use std::{convert::Infallible, time::Duration};

use auth_layer::{
    Trust,
    stream::{RevocableStream, StreamEnd},
};
use axum::{
    extract::State,
    response::{IntoResponse, Sse, sse::Event},
};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::{NO_STORE, signed_in::SignedIn};
use crate::{state::AppState, text::rfc3339};

/// The time between two events.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// Sends the time as event `tick` each second. The last event is `end`, with the reason.
///
/// Each event is whole, so an orderly end hides nothing from the client, and the page can say why.
pub(crate) async fn events(State(state): State<AppState>, caller: SignedIn) -> impl IntoResponse {
    let revoked = Trust::from(&state.authority).revoked(&caller.claims);
    let clock = state.clock.clone();
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ticks = stream::unfold((period, clock), async |(mut period, clock)| {
        period.tick().await;
        let tick = Event::default().event("tick").data(json!({ "time": rfc3339(clock.now()) }).to_string());
        Some((tick, (period, clock)))
    });
    let open = (Box::pin(ticks.until_revoked(revoked)), Box::pin(state.shutdown.clone().begun()));
    let events = stream::unfold(Some(open), async |open| {
        let (mut ticks, mut stopping) = open?;
        tokio::select! {
            biased;
            () = &mut stopping => Some((end("stopping"), None)),
            tick = ticks.next() => Some(match tick {
                Some(tick) => (tick, Some((ticks, stopping))),
                None => (end(reason(ticks.end())), None),
            }),
        }
    });
    (NO_STORE, Sse::new(events.map(Ok::<_, Infallible>)))
}

fn end(reason: &str) -> Event {
    Event::default().event("end").data(json!({ "reason": reason }).to_string())
}

fn reason(end: Option<StreamEnd>) -> &'static str {
    match end {
        Some(StreamEnd::Revoked) => "revoked",
        Some(StreamEnd::Expired) => "expired",
        _ => "unavailable",
    }
}

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
use crate::{error::ApiError, state::AppState, text::rfc3339};

/// The time between two events.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// Sends the time as event `tick` each second. The last event is `end`, with the reason.
///
/// A user may have [a number](crate::open_streams::MAX_PER_USER) of streams open on a node; the next
/// gets 429. A stream that ended, or whose client went away, does not count.
///
/// Each event is whole, so an orderly end hides nothing from the client, and the page can say why.
pub(crate) async fn events(State(state): State<AppState>, caller: SignedIn) -> Result<impl IntoResponse, ApiError> {
    let place = state.open_streams.open(caller.user_id).ok_or(ApiError::TooManyStreams)?;
    let revoked = Trust::from(&state.authority).revoked(&caller.claims);
    let clock = state.clock.clone();
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ticks = stream::unfold((period, clock), async |(mut period, clock)| {
        period.tick().await;
        let tick = Event::default().event("tick").data(json!({ "time": rfc3339(clock.now()) }).to_string());
        Some((tick, (period, clock)))
    });
    let open = (Box::pin(ticks.until_revoked(revoked)), Box::pin(state.shutdown.clone().begun()), place);
    let events = stream::unfold(Some(open), async |open| {
        let (mut ticks, mut stopping, place) = open?;
        tokio::select! {
            biased;
            () = &mut stopping => Some((end("stopping"), None)),
            tick = ticks.next() => Some(match tick {
                Some(tick) => (tick, Some((ticks, stopping, place))),
                None => (end(reason(ticks.end())), None),
            }),
        }
    });
    Ok((NO_STORE, Sse::new(events.map(Ok::<_, Infallible>))))
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

//! Health checks: one task keeps each connection.

use std::{error::Error, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use deadpool_redis::redis::RedisError;
use tokio::time::sleep;

use super::{
    connection::Connection,
    source::{OpenedConnection, Source},
};

/// How often a connection is checked if no call on it fails.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The pause after a check that a failed call asked for, so that failures do not add up to a load.
const MIN_CHECK_PAUSE: Duration = Duration::from_millis(50);

/// The pause before the next try to connect: first and longest. It doubles each time.
pub(super) const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// The connections in use. A slot is empty while its connection is being replaced.
pub(super) struct Slots(Box<[ArcSwapOption<Connection>]>);

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count).map(|_| ArcSwapOption::empty()).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn filled(&self) -> usize {
        self.0.iter().filter(|slot| slot.load().is_some()).count()
    }

    pub(super) fn put(&self, slot: usize, connection: &Arc<Connection>) {
        self.0[slot].store(Some(Arc::clone(connection)));
    }

    /// Returns the connection in the slot `number` modulo their count, or in the next slot that is
    /// filled.
    pub(super) fn pick(&self, number: usize) -> Option<Arc<Connection>> {
        let start = number % self.0.len();
        let (before, after) = self.0.split_at(start);
        after.iter().chain(before).find_map(ArcSwapOption::load_full)
    }
}

/// Keeps one slot filled with a working connection, without end.
pub(super) async fn maintain(slots: Arc<Slots>, slot: usize, source: Arc<Source>, first: Option<OpenedConnection>) {
    let (shortest, longest) = BACKOFF;
    let mut opened = first;
    let mut pause = shortest;
    loop {
        if let Some(OpenedConnection { connection, pooled }) = opened.take() {
            slots.put(slot, &connection);
            let error = check_until_failure(&connection).await;
            slots.0[slot].store(None);
            pooled.discard();
            log_lost(&error, &source);
        }
        match source.open().await {
            Ok(fresh) => {
                tracing::info!("connected to Redis");
                source.log().clear_settings_error();
                opened = Some(fresh);
                pause = shortest;
            }
            Err(error) => {
                source.log().log_settings_error(&error);
                tracing::debug!(error = &error as &dyn Error, "Redis is still away");
                sleep(pause).await;
                pause = longest.min(pause * 2);
            }
        }
    }
}

/// Logs that a connection was lost. If the settings are wrong, says so once.
pub(super) fn log_lost(error: &RedisError, source: &Source) {
    source.log().log_settings_error(error);
    tracing::warn!(error = error as &dyn Error, "no use of a connection to Redis; connecting anew");
}

async fn check_until_failure(connection: &Connection) -> RedisError {
    loop {
        let suspected = tokio::select! {
            () = sleep(CHECK_INTERVAL) => false,
            () = connection.suspected() => true,
        };
        if let Err(error) = connection.check().await {
            return error;
        }
        if suspected {
            sleep(MIN_CHECK_PAUSE).await;
        }
    }
}

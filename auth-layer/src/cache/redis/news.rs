//! Messages about revocations between nodes.
//!
//! A node that writes tombstones publishes their ids on `<prefix>revoked`, 16 bytes each, and a node
//! that writes denials the tags of their keys. It does so in the same round trip, after them, so a
//! check after the message sees them. Then it publishes the id of the session or the tag of the
//! user, for open streams whose tokens have expired. Each node listens on its own connection. A
//! message that comes back to its sender does no harm.
//!
//! Redis keeps no messages for absent nodes, so each node also listens to itself. Each second it
//! publishes on its own channel, by the connections that its revocations use. If the message does
//! not come back within the next second, the path is broken: a connection is half dead, or the two
//! lead to different servers. The node then reports a gap and connects again. It reports another
//! gap once it receives its own message, because the messages in between are lost.
//!
//! In a cluster every server forwards every message, so one connection to any server is enough.
//!
//! # Why not `CLIENT TRACKING`
//!
//! Redis can report which keys change (`CLIENT TRACKING ON BCAST PREFIX <prefix>`).
//!
//! - It names a key, not its new value. Each fill, each end of an active entry and each eviction
//!   would look like a revocation, and make every node drop a good token.
//! - Its load grows with the checks: one message per fill and node. The load here grows with the
//!   revocations.
//! - Without `BCAST` it reports only keys that were read on that connection. A token that is
//!   answered in process is not read.
//! - It is bound to a connection as a subscription is. When the connection is lost, it leaves the
//!   same gap.

use std::{error::Error, io, sync::Arc, time::Duration};

use deadpool_redis::redis::{self, Client, Cmd, RedisError, Value, aio::PubSub};
use futures_util::StreamExt;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

use super::{
    connection::timed_out,
    health::{BACKOFF, Slots},
};
use crate::store::Listeners;

/// How often a node publishes to itself, and how long the message may take.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The length of an id in bytes.
const ID: usize = 16;

/// Listens for messages.
#[derive(Clone)]
pub(super) struct News {
    /// Any of these servers will do.
    pub(super) servers: Arc<[Client]>,
    pub(super) slots: Arc<Slots>,
    pub(super) key_prefix: String,
    pub(super) open_timeout: Duration,
}

/// Creates the message that these tokens have tombstones, or these tags denials.
pub(super) fn message(key_prefix: &str, ids: &[Uuid]) -> Cmd {
    let ids: Vec<u8> = ids.iter().copied().flat_map(Uuid::into_bytes).collect();
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(channel(key_prefix)).arg(ids);
    publish
}

/// Returns the channel for tombstones.
pub(super) fn channel(key_prefix: &str) -> String {
    format!("{key_prefix}revoked")
}

/// Reads the ids in a message. `None` if it is not one of ours.
fn ids(message: &[u8]) -> Option<Vec<Uuid>> {
    let (ids, rest) = message.as_chunks::<ID>();
    (rest.is_empty() && !ids.is_empty()).then(|| ids.iter().copied().map(Uuid::from_bytes).collect())
}

impl News {
    /// Reports revocations to the listeners, without end.
    pub(super) async fn follow(self, listeners: Arc<Listeners>) {
        let (shortest, longest) = BACKOFF;
        let mut pause = shortest;
        let mut warned = false;
        for server in self.servers.iter().cycle() {
            let mut received = false;
            let error = self.follow_until_lost(server, &listeners, &mut received).await;
            if received {
                listeners.gap();
                pause = shortest;
            }
            if received || !warned {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "no news of revocations from Redis; in-process caches go by their lease"
                );
                warned = true;
            } else {
                tracing::debug!(error = &error as &dyn Error, "still no news of revocations from Redis");
            }
            sleep(pause).await;
            pause = longest.min(pause * 2);
        }
    }

    /// Listens to this server until that fails. Sets `received` if it worked at all.
    async fn follow_until_lost(&self, server: &Client, listeners: &Listeners, received: &mut bool) -> RedisError {
        let own = format!("{}news:{}", self.key_prefix, Uuid::new_v4());
        let subscription = timeout(self.open_timeout, self.subscribe(server, &own)).await;
        let subscription = match subscription.unwrap_or_else(|_| Err(timed_out())) {
            Ok(subscription) => subscription,
            Err(error) => return error,
        };
        let mut messages = subscription.into_on_message();
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut awaited = false;
        loop {
            tokio::select! {
                // Deliver waiting messages before the beat, which may fail.
                biased;
                message = messages.next() => match message {
                    None => return io::Error::from(io::ErrorKind::ConnectionAborted).into(),
                    Some(message) if message.get_channel_name() == own => {
                        awaited = false;
                        if !*received {
                            *received = true;
                            tracing::info!("news of revocations from Redis");
                            listeners.gap();
                        }
                    }
                    Some(message) => match ids(message.get_payload_bytes()) {
                        Some(ids) => listeners.revoked(&ids),
                        None => tracing::debug!("a message among the news of revocations is not understood"),
                    },
                },
                _ = beat.tick() => {
                    if awaited {
                        return timed_out();
                    }
                    awaited = true;
                    if let Err(error) = self.publish_to_self(&own).await {
                        return error;
                    }
                }
            }
        }
    }

    async fn subscribe(&self, server: &Client, own: &str) -> Result<PubSub, RedisError> {
        let mut subscription = server.get_async_pubsub().await?;
        subscription.subscribe(&[channel(&self.key_prefix).as_str(), own]).await?;
        Ok(subscription)
    }

    async fn publish_to_self(&self, own: &str) -> Result<(), RedisError> {
        let connection = self.slots.pick(0).ok_or_else(|| io::Error::other("no connection to Redis"))?;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(own).arg("");
        connection.send::<Value>(&publish).await.map(drop).inspect_err(|_| connection.suspect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_news_message_is_ids_and_nothing_else() {
        let sent = [Uuid::now_v7(), Uuid::new_v4()];
        let bytes: Vec<u8> = sent.into_iter().flat_map(Uuid::into_bytes).collect();
        assert_eq!(ids(&bytes).unwrap(), sent);
        let command = message("auth:", &sent).get_packed_command();
        assert!(command.starts_with(b"*3\r\n$7\r\nPUBLISH\r\n$12\r\nauth:revoked\r\n$32\r\n"));
        assert!(command.windows(bytes.len()).any(|part| part == bytes));
        for garbage in [&b""[..], b"x", &bytes[..31], &[&bytes[..], b"x"].concat(), b"revoked"] {
            assert!(ids(garbage).is_none(), "{garbage:?}");
        }
    }
}

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{sync::oneshot, task::coop::unconstrained};

use super::Watches;

/// Why a stream ends.
///
/// It is also the error with which a body or a stream of results ends.
///
/// ```
/// use auth_layer::stream::StreamEnd;
///
/// fn may_come_back(end: StreamEnd) -> bool {
///     end == StreamEnd::Unavailable
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StreamEnd {
    /// The token or its session was revoked, or the user was disabled.
    #[error("the token or its session was revoked")]
    Revoked,
    /// The session has expired; or the token, with [`Revoked::until_expiry`].
    #[error("the token or its session has expired")]
    Expired,
    /// The store has not answered for too long, so the state of the session is unknown.
    #[error("the state of the session is unknown")]
    Unavailable,
}

impl StreamEnd {
    /// Returns its name in metrics.
    #[cfg(feature = "metrics")]
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Completes when a token or its session ends. Made by [`Trust::revoked`](crate::Trust::revoked).
///
/// It may be polled and dropped at any time, and gives the same answer again once it has completed.
/// Dropping it costs no store request.
#[must_use = "a stream that does not wait for this outlives its session"]
pub struct Revoked {
    state: RevokedState,
}

enum RevokedState {
    Watched { ended: oneshot::Receiver<StreamEnd>, registration: Registration },
    Ended(StreamEnd),
}

/// A stream's place among the watched ones. Dropping it gives the place up.
pub(super) struct Registration {
    pub(super) watches: Arc<Watches>,
    pub(super) stream: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.watches.forget(self.stream);
    }
}

impl Revoked {
    pub(super) fn new(ended: oneshot::Receiver<StreamEnd>, registration: Registration) -> Self {
        Self { state: RevokedState::Watched { ended, registration } }
    }

    pub(super) fn ended(end: StreamEnd) -> Self {
        Self { state: RevokedState::Ended(end) }
    }

    /// Completes also when the token expires, even if its session goes on.
    ///
    /// For streams that must be opened again with a fresh token. The leeway applies to the expiry.
    ///
    /// ```
    /// # use auth_layer::{Claims, Trust, stream::Revoked};
    /// fn strict(trust: &Trust, claims: &Claims) -> Revoked {
    ///     trust.revoked(claims).until_expiry()
    /// }
    /// ```
    pub fn until_expiry(self) -> Self {
        if let RevokedState::Watched { registration, .. } = &self.state {
            registration.watches.end_at_expiry(registration.stream);
        }
        self
    }
}

impl Future for Revoked {
    type Output = StreamEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<StreamEnd> {
        let end = match &mut self.state {
            // A task whose budget is spent must see the end too. The sender is kept until it has sent.
            RevokedState::Watched { ended, .. } => {
                ready!(pin!(unconstrained(ended)).poll(cx)).unwrap_or(StreamEnd::Unavailable)
            }
            RevokedState::Ended(end) => return Poll::Ready(*end),
        };
        self.state = RevokedState::Ended(end);
        Poll::Ready(end)
    }
}

impl fmt::Debug for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match &self.state {
            RevokedState::Watched { .. } => None,
            RevokedState::Ended(end) => Some(end),
        };
        f.debug_struct("Revoked").field("ended", &end).finish_non_exhaustive()
    }
}

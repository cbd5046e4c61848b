//! Watches open streams: asks the store about the sessions of a store handle, all in one task.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::sleep};

use super::{Trust, check_foreign::hashed};
use crate::{
    background::again_after_panics,
    claims::{Claims, DenialKey, DenialKeys},
    clock::{Timestamp, later, whole_millis},
    kind::TokenKind,
    store::{ErasedStore, StoreError, TokenStatus, within},
    watch::{Answer, Question, Revoked, SessionState, StreamEnd, StreamRules, Turn, Watched, WatchedToken, Watches},
};

/// The store is asked about a stream at most this often, unless there are news.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// The pauses between two turns. The shortest lets questions go out together; after the longest, a
/// clock that was turned meanwhile is seen.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

impl Trust {
    /// Returns a future that completes when the token of these claims or its session ends.
    ///
    /// A check decides about a request when it begins. A stream (a WebSocket, server-sent events, a
    /// long body) goes on, also after its session was revoked. This future tells when to end it; the
    /// adapters in [`stream`](crate::stream) do.
    ///
    /// | it completes | when |
    /// | --- | --- |
    /// | [`StreamEnd::Revoked`] | the token, session or user is revoked or denied, or the user disabled |
    /// | [`StreamEnd::Expired`] | the session has expired and was not refreshed |
    /// | [`StreamEnd::Unavailable`] | the state was unknown for too long, see [`stream_outage_limit`] |
    ///
    /// - A refresh ends nothing, and the token's expiry ends nothing. For a stream that ends with its
    ///   token there is [`until_expiry`](Revoked::until_expiry).
    /// - Revocations on this store handle take effect at once. Of others it hears by news, usually
    ///   within milliseconds. Without news it learns of them by asking, within the lease of the
    ///   in-process cache or 1 s, whichever is longer.
    /// - Streams of one session share their questions to the store, however many there are: one
    ///   about each of their tokens that has not expired, and one about the session if any has.
    /// - A single-use token's stream ends with its session: the token is used up by then. A token
    ///   without a session ends at its expiry.
    /// - Another issuer's token is watched for denials. Its stream ends at the token's expiry: nobody
    ///   tells whether its session goes on.
    ///
    /// The claims must come from this trust. The first trust of a store handle whose streams are
    /// watched decides the clock, the leeway and the deadline of its questions.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    ///
    /// ```
    /// # use auth_layer::{Claims, Trust};
    /// use std::time::Duration;
    ///
    /// async fn work(trust: &Trust, claims: &Claims) {
    ///     let mut revoked = trust.revoked(claims);
    ///     loop {
    ///         tokio::select! {
    ///             end = &mut revoked => return println!("{end}"),
    ///             () = tokio::time::sleep(Duration::from_secs(1)) => println!("working"),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// [`stream_outage_limit`]: super::TrustBuilder::stream_outage_limit
    pub fn revoked(&self, claims: &Claims) -> Revoked {
        // Panics here, before the stream is registered.
        let runtime = Handle::current();
        let (inner, settings) = (&self.inner, self.settings());
        let recorded = || claims.token_id().filter(|_| claims.kind() == TokenKind::Access).map(WatchedToken::Recorded);
        let basis = Watched {
            token: claims.denial_keys().cloned().map(WatchedToken::Foreign).or_else(recorded),
            session: claims.session_id(),
            user: claims.is_recorded().then(|| claims.sub.tag()),
            expires_at: later(claims.exp, settings.leeway),
        };
        let rules = StreamRules {
            interval: settings.lease.max(SHORTEST_INTERVAL),
            outage_limit: settings.stream_outage_limit(),
        };
        if inner.local.start_listening() {
            inner.store.subscribe(inner.local.listener());
        }
        let watches = inner.local.watches(&settings.clock);
        let (revoked, needs_scheduler) = watches.watch(basis, rules);
        if needs_scheduler {
            let store = Arc::clone(&inner.store);
            let asker = Asker { store, deadline: settings.deadline, leeway: settings.leeway };
            runtime.spawn(SchedulerGuard::new(watches).run(asker));
        }
        revoked
    }
}

/// Ends the streams if the scheduler is dropped before its end, with its runtime: nobody would end
/// them.
struct SchedulerGuard {
    watches: Arc<Watches>,
    has_stopped: bool,
}

impl SchedulerGuard {
    fn new(watches: &Arc<Watches>) -> Self {
        Self { watches: Arc::clone(watches), has_stopped: false }
    }

    async fn run(mut self, asker: Asker) {
        again_after_panics("open streams", || schedule(Arc::clone(&self.watches), asker.clone())).await;
        self.has_stopped = true;
    }
}

impl Drop for SchedulerGuard {
    fn drop(&mut self) {
        if !self.has_stopped {
            self.watches.abandon();
        }
    }
}

/// Asks what is due until there is no stream left.
async fn schedule(watches: Arc<Watches>, asker: Asker) {
    while let Some(Turn { questions, pause }) = watches.turn() {
        for question in questions {
            tokio::spawn(asker.clone().ask(question));
        }
        let (shortest, longest) = PAUSES;
        tokio::select! {
            () = watches.until_due() => {}
            () = sleep(pause.clamp(shortest, longest)) => {}
        }
    }
}

/// Asks the store.
#[derive(Clone)]
struct Asker {
    store: Arc<dyn ErasedStore>,
    deadline: Duration,
    leeway: Duration,
}

impl Asker {
    async fn ask(self, question: Question) {
        match within(self.deadline, self.find(&question)).await {
            Ok(answer) => question.answer(answer),
            Err(error) => question.fail(&error),
        }
    }

    async fn find(&self, question: &Question) -> Result<Answer, StoreError> {
        let mut answer = Answer::default();
        let mut foreign = Vec::new();
        for token in question.tokens() {
            match token {
                WatchedToken::Recorded(id) => match self.store.token_status(*id).await? {
                    TokenStatus::Active(_) => {}
                    TokenStatus::Revoked | TokenStatus::Unknown => answer.dead_tokens.push(token.clone()),
                },
                WatchedToken::Foreign(keys) => foreign.push(keys),
            }
        }
        answer.dead_tokens.extend(self.denied(&foreign, question.time()).await?);
        if let Some(id) = question.session() {
            let session = self.store.session(id, whole_millis(question.time())).await?;
            answer.session = Some(match session {
                // A record that is gone was removed by hand: a purge comes long after the expiry.
                None => SessionState::Ended(StreamEnd::Revoked),
                Some(session) if session.revoked => SessionState::Ended(StreamEnd::Revoked),
                // Until the leeway is over, a refresh may still come.
                Some(session) if later(session.expires_at(), self.leeway) <= question.time() => {
                    SessionState::Ended(StreamEnd::Expired)
                }
                Some(session) => SessionState::Live([session.current.access_id, session.current.refresh_id]),
            });
        }
        Ok(answer)
    }

    /// Returns those of these tokens that are denied. Tokens of one session share most keys.
    async fn denied(&self, tokens: &[&Arc<DenialKeys>], time: Timestamp) -> Result<Vec<WatchedToken>, StoreError> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<DenialKey> =
            tokens.iter().flat_map(|keys| keys.iter()).collect::<BTreeSet<_>>().into_iter().collect();
        let denials = self.store.denials(keys.iter().map(hashed).collect(), whole_millis(time)).await?;
        let denied: Vec<(DenialKey, Timestamp)> = keys
            .into_iter()
            .zip(denials)
            .filter_map(|(key, denial)| Some((key, later(denial?.denied_at, self.leeway))))
            .collect();
        let is_denied = |keys: &DenialKeys| denied.iter().any(|(key, until)| keys.are_denied_by(*key, *until));
        let dead = tokens.iter().filter(|keys| is_denied(keys));
        Ok(dead.map(|keys| WatchedToken::Foreign(Arc::clone(keys))).collect())
    }
}

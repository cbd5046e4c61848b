//! Streams that end with their sessions, on the in-memory store. Time passes as fast as it can.

mod adapters;
mod counting;
#[cfg(feature = "ws")]
mod web_socket;

use std::{sync::Arc, time::Duration};

use auth_layer::{
    Authority, Claims, Grant, IssuedPair, SessionId, Trust, UserId,
    authority::AuthorityBuilder,
    clock::{Clock, Timestamp},
    keys::{Keyring, SigningKey},
    store::TokenStore,
    stream::{Revoked, StreamEnd},
    trust::BuildError,
};
use futures_util::FutureExt;
use tokio::{
    task::consume_budget,
    time::{Instant, advance, sleep, timeout},
};

use self::counting::{CountingStore, Outage};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// A clock that goes with tokio's, which a test can turn.
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_hours(500_000) + self.0.elapsed()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// An authority on a store that counts and fails.
struct Node {
    authority: Authority,
    trust: Trust,
    store: Arc<CountingStore>,
}

impl Node {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(settings: impl FnOnce(AuthorityBuilder) -> AuthorityBuilder) -> Self {
        let store = Arc::new(CountingStore::default());
        let keys = Keyring::new(SigningKey::generate().unwrap());
        let builder = Authority::builder("https://issuer", Arc::clone(&store)).audience("api").keys(keys);
        let authority = settings(builder.clock(TokioClock(Instant::now()))).build().unwrap();
        Self { trust: Trust::from(&authority), authority, store }
    }

    async fn sign_in(&self, user: UserId) -> IssuedPair {
        let sign_in = self.authority.begin_sign_in(user).await.unwrap();
        self.authority.sign_in(sign_in, Grant::new("web")).await.unwrap()
    }

    /// Returns the claims of a new session.
    async fn claims(&self) -> Claims {
        let pair = self.sign_in(UserId::generate()).await;
        self.authority.verify(&pair.access_token).await.unwrap()
    }

    /// Revokes a session as another process does: this one is not told.
    async fn revoke_elsewhere(&self, session: SessionId) {
        let _ = self.store.revoke_session(session, Timestamp::UNIX_EPOCH).await.unwrap();
    }
}

/// Returns the stream's end, which comes without time passing.
async fn end_at_once(revoked: &mut Revoked) -> StreamEnd {
    let begun = Instant::now();
    let end = timeout(MINUTE, revoked).await.expect("the stream ends");
    assert!(begun.elapsed() < SECOND / 10, "after {:?}", begun.elapsed());
    end
}

/// Fails if the stream ends within this time.
async fn assert_lasts(revoked: &mut Revoked, time: Duration) {
    if let Ok(end) = timeout(time, revoked).await {
        panic!("it ends as {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn stream_ends_at_once_with_each_revocation_on_its_node() {
    for way in 0..8 {
        let node = Node::with(|builder| builder.refresh_grace(Duration::ZERO));
        let (authority, user) = (&node.authority, UserId::generate());
        let pair = node.sign_in(user).await;
        let claims = authority.verify(&pair.access_token).await.unwrap();
        let mut revoked = node.trust.revoked(&claims);
        let mut other = node.trust.revoked(&node.claims().await);
        assert_lasts(&mut revoked, MINUTE).await;
        match way {
            0 => authority.revoke_token(claims.token_id().unwrap()).await.unwrap(),
            1 => authority.revoke_session(pair.session_id).await.unwrap(),
            2 => authority.revoke_user(user, None).await.unwrap(),
            3 => authority.set_user_disabled(user, true).await.unwrap(),
            4 => authority.sign_out(&claims).await.unwrap(),
            5 => authority.revoke(&pair.refresh_token).await.unwrap(),
            6 => {
                authority.revoke_as(&pair.refresh_token, "web").await.unwrap();
            }
            _ => {
                authority.refresh(&pair.refresh_token).await.unwrap();
                authority.refresh(&pair.refresh_token).await.unwrap_err();
            }
        }
        assert_eq!(end_at_once(&mut revoked).await, StreamEnd::Revoked, "{way}");
        assert_lasts(&mut other, MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn stream_whose_token_has_expired_ends_at_once_with_each_revocation_on_its_node() {
    for way in 0..6 {
        let node = Node::with(|builder| builder.access_ttl(MINUTE));
        let (authority, user) = (&node.authority, UserId::generate());
        let pair = node.sign_in(user).await;
        let claims = authority.verify(&pair.access_token).await.unwrap();
        let mut revoked = node.trust.revoked(&claims);
        assert_lasts(&mut revoked, 10 * MINUTE).await;
        match way {
            0 => authority.revoke_session(pair.session_id).await.unwrap(),
            1 => authority.revoke_user(user, None).await.unwrap(),
            2 => authority.set_user_disabled(user, true).await.unwrap(),
            3 => authority.sign_out(&claims).await.unwrap(),
            4 => authority.revoke(&pair.refresh_token).await.unwrap(),
            _ => {
                let refresh = authority.session(pair.session_id).await.unwrap().unwrap().current.refresh_id;
                authority.revoke_token(refresh).await.unwrap();
            }
        }
        assert_eq!(end_at_once(&mut revoked).await, StreamEnd::Revoked, "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn stream_ends_within_the_interval_when_nobody_tells_its_node() {
    for (lease, bound) in [(Duration::ZERO, SECOND), (SECOND / 2, SECOND), (5 * SECOND, 5 * SECOND)] {
        for passed in [Duration::ZERO, 20 * MINUTE] {
            let node = Node::with(|builder| builder.local_cache(lease));
            let claims = node.claims().await;
            let mut revoked = node.trust.revoked(&claims);
            assert_lasts(&mut revoked, passed + 10 * SECOND).await;
            node.revoke_elsewhere(claims.session_id().unwrap()).await;
            let begun = Instant::now();
            assert_eq!(timeout(MINUTE, &mut revoked).await, Ok(StreamEnd::Revoked));
            assert!(begun.elapsed() <= bound, "{lease:?} {passed:?}: after {:?}", begun.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stream_outlives_refreshes_and_the_expiry_of_its_token() {
    let node = Node::with(|builder| builder.access_ttl(MINUTE).refresh_grace(Duration::ZERO));
    let mut pair = node.sign_in(UserId::generate()).await;
    let claims = node.authority.verify(&pair.access_token).await.unwrap();
    let (mut revoked, mut strict) = (node.trust.revoked(&claims), node.trust.revoked(&claims).until_expiry());
    let begun = Instant::now();
    assert_eq!((&mut strict).await, StreamEnd::Expired);
    // The leeway is 30 s, and `exp` is in whole seconds.
    assert!(begun.elapsed() > 89 * SECOND && begun.elapsed() < 91 * SECOND, "{:?}", begun.elapsed());
    for _ in 0..60 {
        assert_lasts(&mut revoked, MINUTE).await;
        pair = node.authority.refresh(&pair.refresh_token).await.unwrap();
    }
    node.revoke_elsewhere(pair.session_id).await;
    let begun = Instant::now();
    assert_eq!(revoked.await, StreamEnd::Revoked);
    assert!(begun.elapsed() <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn stream_ends_when_its_session_expires() {
    let node = Node::with(|builder| builder.access_ttl(MINUTE).refresh_ttl(10 * MINUTE).session_ttl(15 * MINUTE));
    let pair = node.sign_in(UserId::generate()).await;
    let claims = node.authority.verify(&pair.access_token).await.unwrap();
    let mut revoked = node.trust.revoked(&claims);
    assert_lasts(&mut revoked, 9 * MINUTE).await;
    node.authority.refresh(&pair.refresh_token).await.unwrap();
    assert_lasts(&mut revoked, 6 * MINUTE).await;
    let begun = Instant::now();
    assert_eq!(revoked.await, StreamEnd::Expired);
    assert!(begun.elapsed() < 32 * SECOND, "the session is over after the leeway, not {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn stream_of_a_client_token_ends_with_it() {
    let node = Node::with(|builder| builder.access_ttl(MINUTE));
    let client = node.authority.begin_sign_in("client:ci".parse::<auth_layer::Subject>().unwrap()).await.unwrap();
    let issued = node.authority.issue_client_token(client, Grant::new("ci")).await.unwrap();
    let claims = node.authority.verify(&issued.token).await.unwrap();
    let mut revoked = node.trust.revoked(&claims);
    assert_lasts(&mut revoked, MINUTE).await;
    assert_eq!(timeout(32 * SECOND, revoked).await, Ok(StreamEnd::Expired));

    let client = node.authority.begin_sign_in("client:ci".parse::<auth_layer::Subject>().unwrap()).await.unwrap();
    let issued = node.authority.issue_client_token(client, Grant::new("ci")).await.unwrap();
    let claims = node.authority.verify(&issued.token).await.unwrap();
    let mut revoked = node.trust.revoked(&claims);
    node.authority.revoke(&issued.token).await.unwrap();
    assert_eq!(end_at_once(&mut revoked).await, StreamEnd::Revoked);
}

/// A single-use token opens a stream when its record is used up.
#[tokio::test(start_paused = true)]
async fn stream_of_a_single_use_token_ends_with_its_session() {
    let node = Node::new();
    let claims = node.claims().await;
    let once = node.authority.issue_single_use(&claims).await.unwrap();
    let spent = node.authority.spend(&once.token).await.unwrap();
    let mut revoked = node.trust.revoked(&spent);
    assert_lasts(&mut revoked, 10 * MINUTE).await;
    node.authority.sign_out(&claims).await.unwrap();
    assert_eq!(end_at_once(&mut revoked).await, StreamEnd::Revoked);
}

#[tokio::test(start_paused = true)]
async fn stream_of_what_was_revoked_before_ends_at_once() {
    let node = Node::new();
    for told in [true, false] {
        let claims = node.claims().await;
        if told {
            node.authority.sign_out(&claims).await.unwrap();
        } else {
            node.revoke_elsewhere(claims.session_id().unwrap()).await;
        }
        assert_eq!(end_at_once(&mut node.trust.revoked(&claims)).await, StreamEnd::Revoked);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_of_one_session_cost_one_question_in_an_interval_and_none_when_dropped() {
    let node = Node::new();
    let claims = node.claims().await;
    let mut streams: Vec<_> = (0..1_000).map(|_| node.trust.revoked(&claims)).collect();
    sleep(SECOND / 10).await;
    node.store.take_questions();
    sleep(100 * SECOND).await;
    let asked = node.store.take_questions();
    assert!((100..=118).contains(&asked), "{asked} questions in 100 s");
    node.store.revoke_session(claims.session_id().unwrap(), Timestamp::UNIX_EPOCH).await.map(drop).unwrap();
    for stream in &mut streams {
        assert_eq!(stream.await, StreamEnd::Revoked);
    }
    drop(streams);

    let claims = node.claims().await;
    let streams: Vec<_> = (0..10).map(|_| node.trust.revoked(&claims)).collect();
    sleep(10 * SECOND).await;
    drop(streams);
    sleep(SECOND / 10).await;
    node.store.take_questions();
    sleep(100 * SECOND).await;
    assert_eq!(node.store.take_questions(), 0);
    let Node { store, authority, trust } = node;
    drop((authority, trust, claims));
    assert_eq!(Arc::strong_count(&store), 1, "nothing keeps the store");
}

#[tokio::test(start_paused = true)]
async fn streams_end_as_unavailable_when_the_store_fails_hangs_or_panics_for_too_long() {
    for outage in Outage::ALL {
        let node = Node::new();
        let mut streams = Vec::new();
        for _ in 0..50 {
            streams.push(node.trust.revoked(&node.claims().await));
        }
        sleep(10 * SECOND).await;
        node.store.break_down(outage);
        let begun = Instant::now();
        let mut ends = Vec::new();
        for stream in streams {
            ends.push(tokio::spawn(async move { (stream.await, begun.elapsed()) }));
        }
        let mut took = Vec::new();
        for end in ends {
            let (end, after) = end.await.unwrap();
            assert_eq!(end, StreamEnd::Unavailable);
            took.push(after);
        }
        let (first, last) = (*took.iter().min().unwrap(), *took.iter().max().unwrap());
        assert!(first >= 15 * SECOND && last <= 21 * SECOND, "{first:?} to {last:?}, {outage:?}");
        assert!(last > first + 3 * SECOND, "{first:?} to {last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_go_on_when_the_store_is_back_in_time_and_hear_what_was_revoked_meanwhile() {
    for outage in Outage::ALL {
        let node = Node::new();
        let (claims, doomed) = (node.claims().await, node.claims().await);
        let (mut revoked, mut ended) = (node.trust.revoked(&claims), node.trust.revoked(&doomed));
        sleep(10 * SECOND).await;
        node.store.break_down(outage);
        assert_lasts(&mut revoked, 7 * SECOND).await;
        node.revoke_elsewhere(doomed.session_id().unwrap()).await;
        assert_lasts(&mut ended, 5 * SECOND).await;
        node.store.repair();
        // A question that hangs takes until the deadline.
        assert_eq!(timeout(4 * SECOND, ended).await, Ok(StreamEnd::Revoked));
        assert_lasts(&mut revoked, MINUTE).await;
    }
}

#[tokio::test]
async fn stream_outage_limit_is_settable_and_not_shorter_than_the_deadline() {
    let builder = |limit| {
        let keys = Keyring::new(SigningKey::generate().unwrap());
        let builder = Authority::builder("https://issuer", CountingStore::default()).audience("api").keys(keys);
        builder.stream_outage_limit(limit).build()
    };
    assert!(matches!(builder(SECOND), Err(BuildError::Order { longer: "stream_outage_limit", .. })));
    assert!(matches!(builder(Duration::ZERO), Err(BuildError::Duration("stream_outage_limit"))));
    // A longer deadline alone is no mistake.
    Node::with(|builder| builder.deadline(MINUTE));
    tokio::time::pause();
    let node = Node::with(|builder| builder.stream_outage_limit(MINUTE));
    let mut revoked = node.trust.revoked(&node.claims().await);
    node.store.break_down(Outage::Fails);
    assert_lasts(&mut revoked, MINUTE).await;
    assert_eq!(timeout(6 * SECOND, revoked).await, Ok(StreamEnd::Unavailable));
}

#[tokio::test]
async fn streams_end_when_the_runtime_that_watches_them_is_gone() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (node, revoked) = runtime
        .spawn(async {
            let node = Node::new();
            let claims = node.claims().await;
            let revoked = node.trust.revoked(&claims);
            (node, revoked)
        })
        .await
        .unwrap();
    runtime.shutdown_background();
    assert_eq!(revoked.await, StreamEnd::Unavailable);
    // Another runtime watches the next ones.
    let claims = node.claims().await;
    let revoked = node.trust.revoked(&claims);
    node.authority.sign_out(&claims).await.unwrap();
    assert_eq!(revoked.await, StreamEnd::Revoked);
}

/// A revocation beside the registration: whichever is first, the stream ends at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_is_opened_beside_a_revocation_ends() {
    let node = Arc::new(Node::new());
    for round in 0..500 {
        let claims = node.claims().await;
        let (node_of_stream, of_stream) = (Arc::clone(&node), claims.clone());
        // In half of the rounds another stream of the session is open.
        let other = (round % 2 == 0).then(|| node.trust.revoked(&claims));
        let stream = tokio::spawn(async move { node_of_stream.trust.revoked(&of_stream).await });
        if round % 3 == 0 {
            tokio::task::yield_now().await;
        }
        node.authority.sign_out(&claims).await.unwrap();
        // Asking alone would take nearly a second.
        let end = timeout(SECOND / 2, stream).await.expect("no wake-up is missed").unwrap();
        assert_eq!(end, StreamEnd::Revoked, "round {round}");
        drop(other);
    }
}

/// Tokio answers "not ready" to a task that has used up its budget.
#[tokio::test]
async fn stream_end_is_seen_by_a_task_whose_budget_is_spent() {
    let node = Node::new();
    let claims = node.claims().await;
    let [revoked, other] = [(); 2].map(|()| node.trust.revoked(&claims));
    node.authority.sign_out(&claims).await.unwrap();
    // Streams are told in the order in which they were opened.
    assert_eq!(other.await, StreamEnd::Revoked);
    while consume_budget().now_or_never().is_some() {}
    assert_eq!(revoked.now_or_never(), Some(StreamEnd::Revoked));
}

#[tokio::test(start_paused = true)]
async fn streams_are_heard_of_by_news_without_a_lease() {
    let node = Node::new();
    assert_eq!(node.store.listeners(), 0);
    let claims = node.claims().await;
    let mut revoked = node.trust.revoked(&claims);
    let _second = node.trust.revoked(&claims);
    assert_eq!(node.store.listeners(), 1);
    assert_lasts(&mut revoked, 10 * SECOND).await;
    node.revoke_elsewhere(claims.session_id().unwrap()).await;
    node.store.tell(claims.token_id().unwrap().into());
    assert_eq!(end_at_once(&mut revoked).await, StreamEnd::Revoked);
    // News of a live one end nothing.
    let claims = node.claims().await;
    let mut revoked = node.trust.revoked(&claims);
    node.store.tell(claims.sub.tag());
    node.store.tell_gap();
    assert_lasts(&mut revoked, MINUTE).await;
    advance(SECOND).await;
}

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
};

use bson::{Document, RawDocumentBuf, doc};
use futures_util::{FutureExt, future::join_all};
use mongodb::error::Error;
use tokio::{
    sync::mpsc,
    task::{JoinSet, yield_now},
    time::Instant,
};

use super::*;
use crate::{
    id::TokenId,
    store::{StoreErrorKind, TokenStatus, mongodb::document::status},
};

/// A server whose answers the test gives.
struct ScriptedServer(mpsc::UnboundedSender<PendingQuery>);

/// A query in flight. Dropping it without an answer makes it panic.
struct PendingQuery {
    ids: HashSet<TokenId>,
    answer: oneshot::Sender<MongoResult<Found<ScriptedServer>>>,
}

impl BatchQuery for ScriptedServer {
    type Id = TokenId;
    type Record = TokenStatus;

    const FAILURE: &'static str = "could not read";

    async fn read(&self, ids: Vec<TokenId>) -> MongoResult<Found<ScriptedServer>> {
        let asked = ids.len();
        let (answer, answered) = oneshot::channel();
        let ids: HashSet<_> = ids.into_iter().collect();
        assert_eq!(ids.len(), asked, "no token is asked for twice");
        self.0.send(PendingQuery { ids, answer }).expect("the test has not ended");
        answered.await.expect("the test lets this query panic")
    }
}

impl PendingQuery {
    /// Answers that every token asked for is revoked.
    fn revoked(self) {
        self.records(|_| doc! { "revoked": true });
    }

    fn unknown(self) {
        self.respond(Ok(Found::<ScriptedServer>::default()));
    }

    fn records(self, document: impl Fn(TokenId) -> Document) {
        let found = self.ids.iter().map(|&id| (id, read(&document(id)))).collect();
        self.respond(Ok(found));
    }

    fn respond(self, outcome: MongoResult<Found<ScriptedServer>>) {
        assert!(self.answer.send(outcome).is_ok(), "a query is never dropped");
    }
}

fn read(document: &Document) -> Result<TokenStatus, Unreadable> {
    status(&RawDocumentBuf::try_from(document).expect("BSON"))
}

struct Fixture {
    lookups: Arc<LookupBatcher<ScriptedServer>>,
    queries: mpsc::UnboundedReceiver<PendingQuery>,
}

type Call = Pin<Box<dyn Future<Output = LookupResult<ScriptedServer>> + Send>>;

impl Fixture {
    fn new() -> Self {
        let (sender, queries) = mpsc::unbounded_channel();
        Self { lookups: Arc::new(LookupBatcher::new(ScriptedServer(sender))), queries }
    }

    /// Creates a fixture with as many queries in flight as allowed.
    async fn at_the_limit() -> (Self, Vec<(Call, PendingQuery)>) {
        let mut fixture = Self::new();
        let mut in_flight = Vec::new();
        for _ in 0..MAX_IN_FLIGHT {
            let call = fixture.call(TokenId::generate());
            in_flight.push((call, fixture.next().await));
        }
        (fixture, in_flight)
    }

    /// Makes a call, which has begun when this returns.
    fn call(&self, id: TokenId) -> Call {
        let lookups = Arc::clone(&self.lookups);
        let mut call: Call = Box::pin(async move { lookups.find(id).await });
        assert!(call.as_mut().now_or_never().is_none(), "nobody has answered");
        call
    }

    async fn next(&mut self) -> PendingQuery {
        self.queries.recv().await.expect("the lookups are still there")
    }

    fn waiting(&self) -> usize {
        self.lookups.0.queue().waiting.len()
    }

    fn in_flight(&self) -> usize {
        self.lookups.0.queue().in_flight
    }

    /// Gives every ready task time to run.
    async fn expect_no_query(&mut self) {
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(self.queries.try_recv().is_err(), "no query starts that should not");
    }
}

fn is_revoked(answer: &LookupResult<ScriptedServer>) -> bool {
    matches!(answer, Ok(Some(TokenStatus::Revoked)))
}

#[tokio::test(start_paused = true)]
async fn lookup_below_the_query_limit_is_sent_at_once_and_alone() {
    let started = Instant::now();
    let mut fixture = Fixture::new();
    let id = TokenId::generate();
    let call = fixture.call(id);
    let query = fixture.next().await;
    assert_eq!(query.ids, [id].into());
    query.unknown();
    assert!(matches!(call.await, Ok(None)));
    assert_eq!(started.elapsed(), Duration::ZERO);
    fixture.expect_no_query().await;
    assert_eq!((fixture.waiting(), fixture.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn lookups_at_the_query_limit_share_the_next_query() {
    let (mut fixture, mut in_flight) = Fixture::at_the_limit().await;
    let ids: Vec<_> = (0..5).map(|_| TokenId::generate()).collect();
    let calls: Vec<_> = ids.iter().map(|&id| fixture.call(id)).collect();
    fixture.expect_no_query().await;
    assert_eq!(fixture.waiting(), 5);
    in_flight.pop().unwrap().1.unknown();
    let query = fixture.next().await;
    assert_eq!(query.ids, ids.iter().copied().collect());
    query.records(|id| {
        if id == ids[0] {
            doc! { "revoked": true }
        } else {
            doc! { "revoked": false }
        }
    });
    let answers = join_all(calls).await;
    assert!(is_revoked(&answers[0]));
    assert!(answers[1..].iter().all(|answer| answer.as_ref().unwrap_err().kind() == StoreErrorKind::Corrupt));
}

#[tokio::test(start_paused = true)]
async fn lookup_never_joins_a_query_in_flight_for_the_same_token() {
    let mut fixture = Fixture::new();
    let id = TokenId::generate();
    let mut in_flight = Vec::new();
    for _ in 0..MAX_IN_FLIGHT {
        let call = fixture.call(id);
        in_flight.push((call, fixture.next().await));
    }
    // All queries in flight have read the token. Now it is revoked, and asked for again.
    let mut late = fixture.call(id);
    for (call, query) in in_flight {
        query.unknown();
        assert!(matches!(call.await, Ok(None)));
    }
    assert!(late.as_mut().now_or_never().is_none(), "an answer from before the call");
    let fresh = fixture.next().await;
    assert_eq!(fresh.ids, [id].into());
    fresh.revoked();
    assert!(is_revoked(&late.await));
}

#[tokio::test(start_paused = true)]
async fn lookups_of_one_token_ask_for_it_once() {
    let (mut fixture, mut in_flight) = Fixture::at_the_limit().await;
    let id = TokenId::generate();
    let calls: Vec<_> = (0..1_000).map(|_| fixture.call(id)).collect();
    in_flight.pop().unwrap().1.unknown();
    let query = fixture.next().await;
    assert_eq!((query.ids.len(), fixture.waiting()), (1, 0));
    query.revoked();
    assert!(join_all(calls).await.iter().all(is_revoked));
    fixture.expect_no_query().await;
}

#[tokio::test(start_paused = true)]
async fn lookup_batch_is_bounded_and_takes_the_oldest_first() {
    let (mut fixture, in_flight) = Fixture::at_the_limit().await;
    let ids: Vec<_> = (0..MAX_BATCH * 2 + 7).map(|_| TokenId::generate()).collect();
    let calls: Vec<_> = ids.iter().map(|&id| fixture.call(id)).collect();
    // The first id once more, at the very end: it does not overtake.
    let again = fixture.call(ids[0]);
    for (_, query) in in_flight {
        query.unknown();
    }
    for expected in ids.chunks(MAX_BATCH) {
        let query = fixture.next().await;
        let mut expected: HashSet<_> = expected.iter().copied().collect();
        if expected.len() < MAX_BATCH {
            expected.insert(ids[0]);
        }
        assert_eq!(query.ids, expected);
        query.revoked();
    }
    assert!(join_all(calls).await.iter().all(is_revoked) && is_revoked(&again.await));
    fixture.expect_no_query().await;
    assert_eq!((fixture.waiting(), fixture.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn lookup_that_is_cancelled_leaves_the_queue() {
    let (mut fixture, mut in_flight) = Fixture::at_the_limit().await;
    let (gone, stays) = (fixture.call(TokenId::generate()), TokenId::generate());
    let call = fixture.call(stays);
    assert_eq!(fixture.waiting(), 2);
    drop(gone);
    assert_eq!(fixture.waiting(), 1);
    // A caller whose query is in flight does not cancel the query.
    let (leaver, query) = in_flight.pop().unwrap();
    drop(leaver);
    fixture.expect_no_query().await;
    query.unknown();
    let query = fixture.next().await;
    assert_eq!(query.ids, [stays].into(), "who left is not asked for");
    query.revoked();
    assert!(is_revoked(&call.await));
    fixture.expect_no_query().await;
    assert_eq!((fixture.waiting(), fixture.in_flight()), (0, MAX_IN_FLIGHT - 1));
}

#[tokio::test(start_paused = true)]
async fn lookup_queue_with_all_callers_cancelled_sends_no_query() {
    let (mut fixture, in_flight) = Fixture::at_the_limit().await;
    drop(fixture.call(TokenId::generate()));
    for (_, query) in in_flight {
        query.unknown();
    }
    fixture.expect_no_query().await;
    assert_eq!((fixture.waiting(), fixture.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn lookup_query_that_fails_fails_its_own_batch_only() {
    let (mut fixture, mut in_flight) = Fixture::at_the_limit().await;
    let id = TokenId::generate();
    let failing: Vec<_> = [id, id, TokenId::generate()].map(|id| fixture.call(id)).into();
    in_flight.pop().unwrap().1.unknown();
    let query = fixture.next().await;
    let next = fixture.call(id);
    query.respond(Err(Error::custom("the server has gone")));
    for answer in join_all(failing).await {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        let source = std::error::Error::source(&error).expect("the source is kept");
        assert!(source.is::<Error>(), "{source:?}");
    }
    fixture.next().await.revoked();
    assert!(is_revoked(&next.await));
}

#[tokio::test(start_paused = true)]
async fn lookup_of_an_unreadable_document_fails_its_own_callers_only() {
    let (mut fixture, mut in_flight) = Fixture::at_the_limit().await;
    let (odd, good) = (TokenId::generate(), TokenId::generate());
    let calls: Vec<_> = [odd, good, odd].map(|id| fixture.call(id)).into();
    in_flight.pop().unwrap().1.unknown();
    let text = doc! { "revoked": "true" };
    fixture.next().await.records(|id| {
        if id == odd {
            text.clone()
        } else {
            doc! { "revoked": true }
        }
    });
    let answers = join_all(calls).await;
    assert!(is_revoked(&answers[1]));
    for corrupt in [&answers[0], &answers[2]] {
        assert_eq!(corrupt.as_ref().unwrap_err().kind(), StoreErrorKind::Corrupt);
    }
}

#[tokio::test(start_paused = true)]
async fn lookup_query_that_hangs_frees_its_slot_and_still_answers() {
    let started = Instant::now();
    let (mut fixture, in_flight) = Fixture::at_the_limit().await;
    let behind = fixture.call(TokenId::generate());
    // Paused time advances only when no task can run.
    fixture.next().await.revoked();
    assert!(is_revoked(&behind.await));
    assert!((HANG_TIMEOUT..HANG_TIMEOUT * 2).contains(&started.elapsed()), "{:?}", started.elapsed());
    for (call, query) in in_flight {
        query.revoked();
        assert!(is_revoked(&call.await));
    }
    fixture.expect_no_query().await;
    assert_eq!((fixture.waiting(), fixture.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn lookup_query_that_panics_fails_its_own_callers_and_starts_the_next() {
    let (mut fixture, mut in_flight) = Fixture::at_the_limit().await;
    let behind = fixture.call(TokenId::generate());
    let (cut, query) = in_flight.pop().unwrap();
    drop(query);
    assert_eq!(cut.await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    fixture.next().await.revoked();
    assert!(is_revoked(&behind.await));
}

#[test]
fn lookup_in_a_runtime_that_shuts_down_fails_at_once() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (ending, other) = (runtime(), runtime());
    let (mut fixture, in_flight) = ending.block_on(Fixture::at_the_limit());
    let waiting: Vec<_> = (0..MAX_BATCH * 3).map(|_| fixture.call(TokenId::generate())).collect();
    drop(ending);
    other.block_on(async {
        let calls = in_flight.into_iter().map(|(call, _)| call).chain(waiting);
        for answer in join_all(calls).await {
            assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
        }
        assert_eq!((fixture.waiting(), fixture.in_flight()), (0, 0));
        // Callers in a live runtime are served as before.
        let call = fixture.call(TokenId::generate());
        fixture.next().await.revoked();
        assert!(is_revoked(&call.await));
    });
}

/// Its tasks are dropped while its thread panics. They have not panicked themselves.
#[test]
fn lookup_in_a_runtime_that_shuts_down_in_a_panic_fails_at_once() {
    let ending = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (fixture, in_flight) = ending.block_on(Fixture::at_the_limit());
    let waiting: Vec<_> = (0..MAX_BATCH * 3).map(|_| fixture.call(TokenId::generate())).collect();
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _ending = ending;
        resume_unwind(Box::new("the test of a caller failed"))
    }));
    assert!(unwound.is_err());
    for call in in_flight.into_iter().map(|(call, _)| call).chain(waiting) {
        let answer = call.now_or_never().expect("each waiting call has its answer");
        assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    assert_eq!((fixture.waiting(), fixture.in_flight()), (0, 0));
}

/// A server that answers late, on which each token is revoked from some moment on.
#[derive(Default)]
struct SlowServer(Mutex<HashSet<TokenId>>);

impl BatchQuery for Arc<SlowServer> {
    type Id = TokenId;
    type Record = TokenStatus;

    const FAILURE: &'static str = "could not read";

    async fn read(&self, ids: Vec<TokenId>) -> MongoResult<Found<Self>> {
        assert!(ids.len() <= MAX_BATCH);
        let found = {
            let revoked = self.0.lock().unwrap();
            ids.into_iter().map(|id| (id, read(&doc! { "revoked": revoked.contains(&id) }))).collect()
        };
        for _ in 0..20 {
            yield_now().await;
        }
        Ok(found)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lookup_under_load_sees_every_revocation_that_has_returned() {
    let server = Arc::new(SlowServer::default());
    let lookups = Arc::new(LookupBatcher::new(Arc::clone(&server)));
    let mut tasks = JoinSet::new();
    for task in 0..200 {
        let (server, lookups) = (Arc::clone(&server), Arc::clone(&lookups));
        tasks.spawn(async move {
            for round in 0..50 {
                let id = TokenId::generate();
                let before = lookups.find(id).await;
                assert!(!is_revoked(&before));
                // Another caller's lookup of the same token is in flight or waits while it is
                // revoked.
                let other = tokio::spawn({
                    let lookups = Arc::clone(&lookups);
                    async move { lookups.find(id).await }
                });
                if (task + round) % 3 == 0 {
                    yield_now().await;
                }
                server.0.lock().unwrap().insert(id);
                assert!(is_revoked(&lookups.find(id).await), "an answer from before the call");
                drop(other);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let queue = lookups.0.queue();
    assert!(queue.waiting.is_empty() && queue.in_flight <= MAX_IN_FLIGHT);
}

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
use crate::store::{StoreErrorKind, mongodb::document::status};

/// A server whose answers the test gives.
struct Scripted(mpsc::UnboundedSender<Begun>);

/// A query in flight. Dropping it without an answer makes it panic.
struct Begun {
    ids: HashSet<TokenId>,
    answer: oneshot::Sender<Outcome<Found>>,
}

impl RoundTrip for Scripted {
    async fn read(&self, ids: Vec<TokenId>) -> Outcome<Found> {
        let asked = ids.len();
        let (answer, answered) = oneshot::channel();
        let ids: HashSet<_> = ids.into_iter().collect();
        assert_eq!(ids.len(), asked, "no token is asked for twice");
        self.0.send(Begun { ids, answer }).expect("the test has not ended");
        answered.await.expect("as the script has it, this round trip panics")
    }
}

impl Begun {
    /// Answers that every token asked for is revoked.
    fn revoked(self) {
        self.records(|_| doc! { "revoked": true });
    }

    fn unknown(self) {
        self.settle(Ok(Found::default()));
    }

    fn records(self, document: impl Fn(TokenId) -> Document) {
        let found = self.ids.iter().map(|&id| (id, read(&document(id)))).collect();
        self.settle(Ok(found));
    }

    fn settle(self, outcome: Outcome<Found>) {
        assert!(self.answer.send(outcome).is_ok(), "a round trip is never dropped");
    }
}

fn read(document: &Document) -> Result<TokenStatus, Unreadable> {
    status(&RawDocumentBuf::try_from(document).expect("BSON"))
}

struct Fixture {
    lookups: Arc<Lookups<Scripted>>,
    begun: mpsc::UnboundedReceiver<Begun>,
}

type Call = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Fixture {
    fn new() -> Self {
        let (sender, begun) = mpsc::unbounded_channel();
        Self { lookups: Arc::new(Lookups::new(Scripted(sender))), begun }
    }

    /// Creates a fixture with as many queries in flight as allowed.
    async fn busy() -> (Self, Vec<(Call, Begun)>) {
        let mut fixture = Self::new();
        let mut out = Vec::new();
        for _ in 0..ABREAST {
            let call = fixture.call(TokenId::generate());
            out.push((call, fixture.next().await));
        }
        (fixture, out)
    }

    /// Makes a call, which has begun when this returns.
    fn call(&self, id: TokenId) -> Call {
        let lookups = Arc::clone(&self.lookups);
        let mut call: Call = Box::pin(async move { lookups.status(id).await });
        assert!(call.as_mut().now_or_never().is_none(), "nobody has answered");
        call
    }

    async fn next(&mut self) -> Begun {
        self.begun.recv().await.expect("the lookups are still there")
    }

    fn waiting(&self) -> usize {
        self.lookups.0.queue().waiting.len()
    }

    fn out(&self) -> usize {
        self.lookups.0.queue().out
    }

    /// Gives every ready task time to run.
    async fn settled(&mut self) {
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(self.begun.try_recv().is_err(), "no round trip begins that should not");
    }
}

fn is_revoked(answer: &Answer) -> bool {
    matches!(answer, Ok(TokenStatus::Revoked))
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_finds_room_goes_out_alone_and_waits_for_nothing() {
    let begun = Instant::now();
    let mut fixture = Fixture::new();
    let id = TokenId::generate();
    let call = fixture.call(id);
    let trip = fixture.next().await;
    assert_eq!(trip.ids, [id].into());
    trip.unknown();
    assert!(matches!(call.await, Ok(TokenStatus::Unknown)));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    fixture.settled().await;
    assert_eq!((fixture.waiting(), fixture.out()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn those_who_come_while_all_are_out_go_together_when_one_returns() {
    let (mut fixture, mut out) = Fixture::busy().await;
    let ids: Vec<_> = (0..5).map(|_| TokenId::generate()).collect();
    let calls: Vec<_> = ids.iter().map(|&id| fixture.call(id)).collect();
    fixture.settled().await;
    assert_eq!(fixture.waiting(), 5);
    out.pop().unwrap().1.unknown();
    let trip = fixture.next().await;
    assert_eq!(trip.ids, ids.iter().copied().collect());
    trip.records(|id| {
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
async fn no_answer_is_older_than_the_call_even_of_a_round_trip_that_asks_for_the_same_token() {
    let mut fixture = Fixture::new();
    let id = TokenId::generate();
    let mut out = Vec::new();
    for _ in 0..ABREAST {
        let call = fixture.call(id);
        out.push((call, fixture.next().await));
    }
    // All queries in flight have read the token. Now it is revoked, and asked for again.
    let mut late = fixture.call(id);
    for (call, trip) in out {
        trip.unknown();
        assert!(matches!(call.await, Ok(TokenStatus::Unknown)));
    }
    assert!(late.as_mut().now_or_never().is_none(), "an answer from before the call");
    let fresh = fixture.next().await;
    assert_eq!(fresh.ids, [id].into());
    fresh.revoked();
    assert!(is_revoked(&late.await));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_one_token_wait_for_one_lookup() {
    let (mut fixture, mut out) = Fixture::busy().await;
    let id = TokenId::generate();
    let calls: Vec<_> = (0..1_000).map(|_| fixture.call(id)).collect();
    out.pop().unwrap().1.unknown();
    let trip = fixture.next().await;
    assert_eq!((trip.ids.len(), fixture.waiting()), (1, 0));
    trip.revoked();
    assert!(join_all(calls).await.iter().all(is_revoked));
    fixture.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_round_trip_takes_so_many_and_those_first_who_have_waited_longest() {
    let (mut fixture, out) = Fixture::busy().await;
    let ids: Vec<_> = (0..FULL * 2 + 7).map(|_| TokenId::generate()).collect();
    let calls: Vec<_> = ids.iter().map(|&id| fixture.call(id)).collect();
    // The first id once more, at the very end: it does not overtake.
    let again = fixture.call(ids[0]);
    for (_, trip) in out {
        trip.unknown();
    }
    for expected in ids.chunks(FULL) {
        let trip = fixture.next().await;
        let mut expected: HashSet<_> = expected.iter().copied().collect();
        if expected.len() < FULL {
            expected.insert(ids[0]);
        }
        assert_eq!(trip.ids, expected);
        trip.revoked();
    }
    assert!(join_all(calls).await.iter().all(is_revoked) && is_revoked(&again.await));
    fixture.settled().await;
    assert_eq!((fixture.waiting(), fixture.out()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_leaves_nothing_behind() {
    let (mut fixture, mut out) = Fixture::busy().await;
    let (gone, stays) = (fixture.call(TokenId::generate()), TokenId::generate());
    let call = fixture.call(stays);
    assert_eq!(fixture.waiting(), 2);
    drop(gone);
    assert_eq!(fixture.waiting(), 1);
    // A caller whose query is in flight does not cancel the query.
    let (leaver, trip) = out.pop().unwrap();
    drop(leaver);
    fixture.settled().await;
    trip.unknown();
    let trip = fixture.next().await;
    assert_eq!(trip.ids, [stays].into(), "who left is not asked for");
    trip.revoked();
    assert!(is_revoked(&call.await));
    fixture.settled().await;
    assert_eq!((fixture.waiting(), fixture.out()), (0, ABREAST - 1));
}

#[tokio::test(start_paused = true)]
async fn where_all_who_waited_have_left_nothing_goes_out() {
    let (mut fixture, out) = Fixture::busy().await;
    drop(fixture.call(TokenId::generate()));
    for (_, trip) in out {
        trip.unknown();
    }
    fixture.settled().await;
    assert_eq!((fixture.waiting(), fixture.out()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_all_of_its_round_trip_and_to_nobody_else() {
    let (mut fixture, mut out) = Fixture::busy().await;
    let id = TokenId::generate();
    let failing: Vec<_> = [id, id, TokenId::generate()].map(|id| fixture.call(id)).into();
    out.pop().unwrap().1.unknown();
    let trip = fixture.next().await;
    let next = fixture.call(id);
    trip.settle(Err(Error::custom("the server has gone")));
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
async fn a_document_that_cannot_be_read_fails_only_who_asked_for_it() {
    let (mut fixture, mut out) = Fixture::busy().await;
    let (odd, good) = (TokenId::generate(), TokenId::generate());
    let calls: Vec<_> = [odd, good, odd].map(|id| fixture.call(id)).into();
    out.pop().unwrap().1.unknown();
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
async fn a_round_trip_that_hangs_gives_up_its_place_and_still_answers() {
    let begun = Instant::now();
    let (mut fixture, out) = Fixture::busy().await;
    let behind = fixture.call(TokenId::generate());
    // Paused time advances only when no task can run.
    fixture.next().await.revoked();
    assert!(is_revoked(&behind.await));
    assert!((PATIENCE..PATIENCE * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    for (call, trip) in out {
        trip.revoked();
        assert!(is_revoked(&call.await));
    }
    fixture.settled().await;
    assert_eq!((fixture.waiting(), fixture.out()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_cuts_its_own_callers_short_and_lets_the_next_go() {
    let (mut fixture, mut out) = Fixture::busy().await;
    let behind = fixture.call(TokenId::generate());
    let (cut, trip) = out.pop().unwrap();
    drop(trip);
    assert_eq!(cut.await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    fixture.next().await.revoked();
    assert!(is_revoked(&behind.await));
}

#[test]
fn a_runtime_that_shuts_down_leaves_nobody_hanging() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (ending, other) = (runtime(), runtime());
    let (mut fixture, out) = ending.block_on(Fixture::busy());
    let waiting: Vec<_> = (0..FULL * 3).map(|_| fixture.call(TokenId::generate())).collect();
    drop(ending);
    other.block_on(async {
        let calls = out.into_iter().map(|(call, _)| call).chain(waiting);
        for answer in join_all(calls).await {
            assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
        }
        assert_eq!((fixture.waiting(), fixture.out()), (0, 0));
        // Callers in a live runtime are served as before.
        let call = fixture.call(TokenId::generate());
        fixture.next().await.revoked();
        assert!(is_revoked(&call.await));
    });
}

/// Its tasks are dropped while its thread panics. They have not panicked themselves.
#[test]
fn nor_does_one_that_shuts_down_in_a_panic() {
    let ending = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (fixture, out) = ending.block_on(Fixture::busy());
    let waiting: Vec<_> = (0..FULL * 3).map(|_| fixture.call(TokenId::generate())).collect();
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _ending = ending;
        resume_unwind(Box::new("the test of a caller failed"))
    }));
    assert!(unwound.is_err());
    for call in out.into_iter().map(|(call, _)| call).chain(waiting) {
        let answer = call.now_or_never().expect("each waiting call has its answer");
        assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    assert_eq!((fixture.waiting(), fixture.out()), (0, 0));
}

/// A server that answers late, on which each token is revoked from some moment on.
#[derive(Default)]
struct Slow(Mutex<HashSet<TokenId>>);

impl RoundTrip for Arc<Slow> {
    async fn read(&self, ids: Vec<TokenId>) -> Outcome<Found> {
        assert!(ids.len() <= FULL);
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
async fn under_load_a_revocation_that_has_returned_is_always_seen() {
    let server = Arc::new(Slow::default());
    let lookups = Arc::new(Lookups::new(Arc::clone(&server)));
    let mut tasks = JoinSet::new();
    for task in 0..200 {
        let (server, lookups) = (Arc::clone(&server), Arc::clone(&lookups));
        tasks.spawn(async move {
            for round in 0..50 {
                let id = TokenId::generate();
                let before = lookups.status(id).await;
                assert!(!is_revoked(&before));
                // Another caller's lookup of the same token is in flight or waits while it is
                // revoked.
                let other = tokio::spawn({
                    let lookups = Arc::clone(&lookups);
                    async move { lookups.status(id).await }
                });
                if (task + round) % 3 == 0 {
                    yield_now().await;
                }
                server.0.lock().unwrap().insert(id);
                assert!(is_revoked(&lookups.status(id).await), "an answer from before the call");
                drop(other);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let queue = lookups.0.queue();
    assert!(queue.waiting.is_empty() && queue.out <= ABREAST);
}

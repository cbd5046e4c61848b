//! The keys of an issuer with their task, on a clock that is turned.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, mpsc},
};

use super::*;
use crate::clock::{ManualClock, Timestamp};

struct Fixture {
    issuer: FakeIssuer,
    clock: ManualClock,
    keys: RemoteKeys,
    /// What `on_keys` was told.
    told: mpsc::UnboundedReceiver<Option<Vec<String>>>,
}

fn remote(issuer: &FakeIssuer, clock: &ManualClock) -> RemoteKeys {
    let location = Location::key_set(&issuer.url(FakeIssuer::KEYS)).unwrap();
    RemoteKeys::new(location, read_key_set, Arc::new(clock.clone()))
}

fn start(keys: &RemoteKeys) -> mpsc::UnboundedReceiver<Option<Vec<String>>> {
    let (tell, told) = mpsc::unbounded_channel();
    keys.start(move |keys| tell.send(keys.map(kids)).unwrap());
    told
}

impl Fixture {
    /// Starts with an issuer that answers like this.
    async fn with(reply: Reply) -> Self {
        Self::with_limit(reply, LONG).await
    }

    async fn with_limit(reply: Reply, fetch: Duration) -> Self {
        let issuer = FakeIssuer::start().await;
        issuer.reply(FakeIssuer::KEYS, reply);
        let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
        let location = Location::key_set(&issuer.url(FakeIssuer::KEYS)).unwrap();
        let settings = Settings { fetch, ..Settings::default() };
        let keys = RemoteKeys::with_settings(location, read_key_set, Arc::new(clock.clone()), settings);
        let told = start(&keys);
        Self { issuer, clock, keys, told }
    }

    /// Starts with an issuer whose first set is known.
    async fn knowing(kids: &[&str]) -> Self {
        let mut fixture = Self::with(set(kids)).await;
        fixture.expect(Some(kids)).await;
        assert_eq!(fixture.issuer.take_requests().len(), 1);
        fixture
    }

    /// Waits until `on_keys` is told of something, which is this.
    async fn expect(&mut self, kids: Option<&[&str]>) {
        let told = timeout(LONG, self.told.recv()).await.unwrap().unwrap();
        assert_eq!(told.as_deref().map(|told| told.iter().map(String::as_str).collect()), kids.map(<[_]>::to_vec));
    }

    fn current(&self) -> Option<Vec<String>> {
        self.keys.current().as_ref().map(kids)
    }

    async fn refetch(&self) -> Result<Vec<String>, KeysUnavailable> {
        self.keys.refetch(LONG).await.as_ref().map(kids).map_err(|error| *error)
    }
}

fn set(kids: &[&str]) -> Reply {
    let key = |kid: &&str| SigningKey::generate().unwrap().verifying_key().with_kid(*kid).unwrap();
    Reply::Body(key_set(&VerifyingKeys::new(kids.iter().map(key)).unwrap()))
}

/// Polls once.
fn is_pending(future: impl Future) -> bool {
    matches!(pin!(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

#[tokio::test]
async fn jwks_start_waits_for_nothing() {
    let fixture = Fixture::with(Reply::Hangs).await;
    assert_eq!(fixture.current(), None);
    fixture.issuer.requested().await;
    assert_eq!(fixture.current(), None);
}

#[tokio::test]
async fn jwks_are_fetched_every_5_minutes_and_a_dropped_key_is_gone() {
    let mut fixture = Fixture::knowing(&["a", "b"]).await;
    fixture.issuer.reply(FakeIssuer::KEYS, set(&["b", "c"]));
    fixture.clock.advance(299 * SECOND);
    assert_eq!(fixture.current().unwrap(), ["a", "b"]);
    fixture.clock.advance(SECOND);
    assert_eq!(fixture.current().unwrap(), ["a", "b"], "nobody waits for it");
    fixture.expect(Some(&["b", "c"])).await;
    assert_eq!(fixture.current().unwrap(), ["b", "c"]);
    assert_eq!(fixture.issuer.take_requests().len(), 1);
}

#[tokio::test]
async fn jwks_are_fetched_again_without_any_use_of_them() {
    let mut fixture = Fixture::knowing(&["a"]).await;
    fixture.issuer.reply(FakeIssuer::KEYS, set(&["b"]));
    fixture.clock.advance(5 * MINUTE);
    fixture.expect(Some(&["b"])).await;
}

#[tokio::test]
async fn jwks_flood_of_unknown_kids_causes_one_fetch_in_10_seconds() {
    let mut fixture = Fixture::knowing(&["a"]).await;
    fixture.clock.advance(10 * SECOND);
    fixture.issuer.reply(FakeIssuer::KEYS, set(&["a", "b"]));
    let flood = async |fixture: &Fixture| {
        let requests = (0..1_000).map(|_| fixture.refetch());
        futures_util::future::join_all(requests).await
    };
    for answer in flood(&fixture).await {
        assert_eq!(answer.unwrap(), ["a", "b"], "a rotation is learnt at once");
    }
    fixture.expect(Some(&["a", "b"])).await;
    fixture.clock.advance(Duration::from_millis(9_999));
    assert!(flood(&fixture).await.iter().all(Result::is_ok));
    assert_eq!(fixture.issuer.take_requests().len(), 1);
    fixture.clock.advance(Duration::from_millis(1));
    assert!(flood(&fixture).await.iter().all(Result::is_ok));
    assert_eq!(fixture.issuer.take_requests().len(), 1);
}

#[tokio::test]
async fn jwks_flood_causes_one_fetch_in_10_seconds_from_an_issuer_that_fails() {
    let fixture = Fixture::with(Reply::Status(503)).await;
    for _ in 0..3 {
        let requests = (0..1_000).map(|_| fixture.refetch());
        for answer in futures_util::future::join_all(requests).await {
            assert_eq!(answer, Err(KeysUnavailable));
        }
        assert_eq!(fixture.issuer.take_requests().len(), 1);
        fixture.clock.advance(10 * SECOND);
    }
}

#[tokio::test]
async fn jwks_stay_known_while_the_issuer_misbehaves_and_unknown_kids_are_unavailable() {
    let mut fixture = Fixture::with_limit(set(&["a"]), SECOND).await;
    fixture.expect(Some(&["a"])).await;
    fixture.issuer.reply("/elsewhere", set(&["b"]));
    for reply in [
        Reply::Status(500),
        Reply::Status(404),
        Reply::Body("<!doctype html>".to_owned()),
        Reply::Body(r#"{"keys":[]}"#.to_owned()),
        Reply::Body(" ".repeat(10 * 1024 * 1024)),
        Reply::Endless,
        Reply::Redirect(fixture.issuer.url("/elsewhere")),
        Reply::Hangs,
        Reply::Drips,
    ] {
        fixture.issuer.reply(FakeIssuer::KEYS, reply);
        fixture.clock.advance(10 * SECOND);
        assert_eq!(fixture.refetch().await, Err(KeysUnavailable));
        assert_eq!(fixture.refetch().await, Err(KeysUnavailable), "at once, too");
        assert_eq!(fixture.current().unwrap(), ["a"]);
    }
    assert!(fixture.told.is_empty());
    assert_eq!(fixture.issuer.take_requests(), vec![FakeIssuer::KEYS; 10]);

    fixture.issuer.reply(FakeIssuer::KEYS, set(&["b"]));
    fixture.clock.advance(10 * SECOND);
    assert_eq!(fixture.refetch().await.unwrap(), ["b"]);
    fixture.expect(Some(&["b"])).await;
}

#[tokio::test]
async fn jwks_are_kept_for_24_hours_and_then_the_trust_is_told() {
    let mut fixture = Fixture::knowing(&["a"]).await;
    fixture.issuer.reply(FakeIssuer::KEYS, Reply::Status(500));
    fixture.clock.advance(86_399 * SECOND);
    assert_eq!(fixture.refetch().await, Err(KeysUnavailable));
    assert_eq!(fixture.current().unwrap(), ["a"]);
    fixture.clock.advance(SECOND);
    assert_eq!(fixture.current(), None);
    fixture.expect(None).await;
    assert_eq!(fixture.refetch().await, Err(KeysUnavailable));

    fixture.issuer.reply(FakeIssuer::KEYS, set(&["a"]));
    fixture.clock.advance(10 * SECOND);
    assert_eq!(fixture.refetch().await.unwrap(), ["a"]);
    fixture.expect(Some(&["a"])).await;
    assert_eq!(fixture.current().unwrap(), ["a"]);
}

#[tokio::test]
async fn jwks_request_waits_no_longer_than_it_may_and_the_fetch_goes_on() {
    let mut fixture = Fixture::knowing(&["a"]).await;
    let release = Arc::new(Notify::new());
    let Reply::Body(body) = set(&["a", "b"]) else { unreachable!("a body") };
    fixture.issuer.reply(FakeIssuer::KEYS, Reply::Held(Arc::clone(&release), body));
    fixture.issuer.requested().await;
    fixture.clock.advance(10 * SECOND);
    assert!(is_pending(fixture.keys.refetch(LONG)), "a client that went away stops no fetch");
    assert_eq!(fixture.keys.refetch(Duration::from_millis(10)).await.unwrap_err(), KeysUnavailable);
    fixture.issuer.requested().await;
    let next = fixture.refetch();
    let (answer, ()) = tokio::join!(next, async { release.notify_one() });
    assert_eq!(answer.unwrap(), ["a", "b"]);
    fixture.expect(Some(&["a", "b"])).await;
    assert_eq!(fixture.issuer.take_requests().len(), 1);
}

#[tokio::test]
async fn jwks_task_ends_with_its_owners_also_in_a_fetch() {
    for reply in [set(&["a"]), Reply::Hangs] {
        let fixture = Fixture::with(reply.clone()).await;
        fixture.issuer.requested().await;
        let task = fixture.keys.shared.task.lock().unwrap().clone().unwrap();
        let Fixture { issuer: _issuer, keys, mut told, .. } = fixture;
        if matches!(reply, Reply::Body(_)) {
            told.recv().await.unwrap();
        }
        let clone = keys.clone();
        drop(keys);
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        drop(clone);
        timeout(LONG, async {
            while !task.is_finished() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(told.recv().await, None, "`on_keys` is gone, too");
    }
}

#[test]
fn jwks_task_starts_with_the_first_use_in_a_runtime_and_again_in_the_next() {
    let server = Runtime::new().unwrap();
    let issuer = server.block_on(FakeIssuer::start());
    issuer.reply(FakeIssuer::KEYS, set(&["a"]));
    let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
    let keys = remote(&issuer, &clock);
    let mut told = start(&keys);
    assert!(keys.current().is_none(), "outside a runtime");
    for kid in ["a", "b"] {
        issuer.reply(FakeIssuer::KEYS, set(&[kid]));
        let keys = keys.clone();
        let refetch = move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(keys.refetch(LONG)).as_ref().map(kids).unwrap()
        };
        assert_eq!(thread::spawn(refetch).join().unwrap(), [kid]);
        assert_eq!(told.blocking_recv().unwrap().unwrap(), [kid]);
        clock.advance(10 * SECOND);
    }
}

#[test]
fn jwks_fetch_that_ends_with_its_runtime_lets_the_next_runtime_fetch() {
    let server = Runtime::new().unwrap();
    let issuer = server.block_on(FakeIssuer::start());
    issuer.reply(FakeIssuer::KEYS, Reply::Hangs);
    let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
    let keys = remote(&issuer, &clock);
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    runtime().block_on(async {
        assert!(keys.current().is_none());
        issuer.requested().await;
    });
    issuer.reply(FakeIssuer::KEYS, set(&["a"]));
    assert_eq!(runtime().block_on(keys.refetch(LONG)).unwrap_err(), KeysUnavailable, "10 s have not passed");
    clock.advance(10 * SECOND);
    assert_eq!(kids(&runtime().block_on(keys.refetch(LONG)).unwrap()), ["a"]);
}

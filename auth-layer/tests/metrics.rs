//! What is counted of checks and stores. The counts are of the process, so each test counts alone.

#![cfg(feature = "metrics")]

use std::{
    collections::HashMap,
    future::{Future, pending},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use auth_layer::{
    Authority, Grant, IssuedPair, TokenId, Trust, UserId,
    cache::{CacheAnswer, CacheError, Cached, DenialAnswer, MeasuredCache, StatusCache},
    clock::{ManualClock, Timestamp},
    keys::{Keyring, SigningKey},
    store::{
        ActiveToken, Denial, HashedKey, MeasuredStore, MemoryStore, StoreDecorator, StoreError, StoreErrorKind,
        TokenStatus, TokenStore,
    },
    telemetry,
    trust::Policy,
};
use http::Request;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// How long a check is believed.
const LEASE: Duration = Duration::from_secs(5);
/// After this it is no longer. A lease that begins with the clock ends a nanosecond late.
const AFTER_LEASE: Duration = Duration::from_millis(5_001);

/// A cache of tokens that never fails, and knows nothing of denials.
#[derive(Default)]
struct MapCache(Mutex<HashMap<TokenId, Option<ActiveToken>>>);

impl StatusCache for MapCache {
    type Miss = ();

    async fn get(&self, id: TokenId) -> Result<CacheAnswer<()>, CacheError> {
        Ok(match self.0.lock().unwrap().get(&id) {
            Some(Some(token)) => CacheAnswer::Active(token.clone()),
            Some(None) => CacheAnswer::Dead,
            None => CacheAnswer::Miss(()),
        })
    }

    async fn put_active_if_absent(&self, (): (), id: TokenId, token: ActiveToken) -> Result<(), CacheError> {
        self.0.lock().unwrap().entry(id).or_insert(Some(token));
        Ok(())
    }

    async fn put_tombstones(&self, tokens: &[(TokenId, Timestamp)], _: Timestamp) -> Result<(), CacheError> {
        self.0.lock().unwrap().extend(tokens.iter().map(|&(id, _)| (id, None)));
        Ok(())
    }

    async fn denials(&self, keys: &[HashedKey]) -> Result<(Vec<DenialAnswer>, ()), CacheError> {
        Ok((vec![DenialAnswer::Miss; keys.len()], ()))
    }

    async fn put_denials_if_absent(&self, (): (), _: &[(HashedKey, Option<Denial>)]) -> Result<(), CacheError> {
        Ok(())
    }

    async fn put_denials(&self, (): (), _: &[(HashedKey, Denial)]) -> Result<(), CacheError> {
        Ok(())
    }

    fn bound(&self) -> Duration {
        Duration::from_mins(1)
    }

    async fn ping(&self) -> Result<(), CacheError> {
        Ok(())
    }
}

/// A store whose lookups of tokens can fail or hang.
#[derive(Default)]
struct FailingStore {
    store: MemoryStore,
    fails: AtomicBool,
    hangs: AtomicBool,
}

impl StoreDecorator for FailingStore {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.store
    }

    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        if self.hangs.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "the store is away"));
        }
        TokenStore::token_status(&self.store, id).await
    }
}

/// A recorder of this thread, and the counts of the process as they were.
struct Recorded {
    exporter: PrometheusHandle,
    before: Option<String>,
    _alone: MutexGuard<'static, ()>,
}

impl Recorded {
    /// Runs a test with a recorder of its own.
    fn run<F: Future<Output = ()>>(test: impl FnOnce(Self) -> F) {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let recorder = PrometheusBuilder::new().set_buckets(&telemetry::BUCKETS).unwrap().build_recorder();
        let counts = Self { exporter: recorder.handle(), before: None, _alone: alone };
        metrics::with_local_recorder(&recorder, || {
            telemetry::describe();
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap()
                .block_on(test(counts));
        });
    }

    fn value(text: &str, series: &str) -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// Returns how often a check ended so since the last call of [`reset`](Self::reset).
    fn checks(&self, trust: &Trust, tier: &str, outcome: &str) -> u64 {
        trust.record_metrics();
        let series = format!(r#"auth_checks_total{{tier="{tier}",outcome="{outcome}"}}"#);
        let before = self.before.as_deref().map_or(0, |text| Self::value(text, &series));
        Self::value(&self.exporter.render(), &series) - before
    }

    fn reset(&mut self, trust: &Trust) {
        trust.record_metrics();
        self.before = Some(self.exporter.render());
    }

    /// Returns the sum of all checks since the last reset.
    fn all_checks(&self, trust: &Trust) -> u64 {
        trust.record_metrics();
        let sum = |text: &str| -> u64 {
            let lines = text.lines().filter(|line| line.starts_with("auth_checks_total{"));
            lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
        };
        sum(&self.exporter.render()) - self.before.as_deref().map_or(0, sum)
    }

    fn assert(&self, series: &str, value: u64) {
        let text = self.exporter.render();
        assert_eq!(Self::value(&text, series), value, "{series} in {text}");
    }
}

fn authority(store: impl TokenStore, clock: &ManualClock) -> Authority {
    let builder = Authority::builder("https://auth.example", store).audience("api").clock(clock.clone());
    builder.keys(Keyring::new(SigningKey::generate().unwrap())).local_cache(LEASE).build().unwrap()
}

async fn sign_in(authority: &Authority) -> IssuedPair {
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    authority.sign_in(sign_in, Grant::new("web")).await.unwrap()
}

fn clock() -> ManualClock {
    ManualClock::starting_at(chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

#[test]
fn metrics_of_checks_tell_tier_and_outcome() {
    Recorded::run(async |mut recorded| {
        let clock = clock();
        let store = Arc::new(FailingStore::default());
        let cached = Cached::new(MeasuredStore::new("memory", Arc::clone(&store)), MapCache::default());
        let authority = authority(cached, &clock);
        let trust = authority.trust();
        let pair = sign_in(&authority).await;
        let (open, guarded) = (Policy::default(), Policy::builder().scope("orders").build());
        let ask = async |policy: &Policy, token: &str| {
            let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
            drop(trust.authenticate(policy, &request).await);
        };
        recorded.reset(trust);
        let mut all = 0;
        let mut assert_counted = |recorded: &mut Recorded, tier: &str, outcome: &str| {
            assert_eq!(recorded.checks(trust, tier, outcome), 1, "{tier} {outcome}");
            assert_eq!(recorded.all_checks(trust), 1, "{tier} {outcome}, and nothing else");
            recorded.reset(trust);
            all += 1;
        };

        ask(&open, &pair.access_token).await;
        assert_counted(&mut recorded, "store", "accepted");
        ask(&open, &pair.access_token).await;
        assert_counted(&mut recorded, "local", "accepted");
        trust.verify(&pair.access_token).await.unwrap();
        assert_counted(&mut recorded, "local", "accepted");
        ask(&guarded, &pair.access_token).await;
        assert_counted(&mut recorded, "local", "insufficient");
        clock.advance(AFTER_LEASE);
        ask(&open, &pair.access_token).await;
        assert_counted(&mut recorded, "shared", "accepted");
        clock.advance(AFTER_LEASE);
        ask(&guarded, &pair.access_token).await;
        assert_counted(&mut recorded, "shared", "insufficient");

        drop(trust.authenticate(&open, &Request::get("/").body(()).unwrap()).await);
        assert_counted(&mut recorded, "none", "no_credentials");
        ask(&open, "").await;
        assert_counted(&mut recorded, "none", "invalid_request");
        ask(&open, "rubbish").await;
        assert_counted(&mut recorded, "none", "malformed");
        let forged = format!("{}{}", &pair.access_token[..pair.access_token.len() - 8], "AAAAAAAA");
        ask(&open, &forged).await;
        assert_counted(&mut recorded, "shared", "signature");

        let single_use = authority.issue_single_use(&trust.verify(&pair.access_token).await.unwrap()).await;
        let single_use = single_use.unwrap().token;
        recorded.reset(trust);
        trust.spend(&single_use).await.unwrap();
        assert_counted(&mut recorded, "store", "accepted");
        trust.spend(&single_use).await.unwrap_err();
        assert_counted(&mut recorded, "store", "used");
        recorded.assert(r#"auth_single_uses_total{outcome="accepted"}"#, 1);
        recorded.assert(r#"auth_single_uses_total{outcome="refused"}"#, 1);

        let unseen = sign_in(&authority).await;
        store.fails.store(true, Ordering::SeqCst);
        ask(&open, &unseen.access_token).await;
        assert_counted(&mut recorded, "store", "unavailable");
        store.fails.store(false, Ordering::SeqCst);

        authority.revoke_session(pair.session_id).await.unwrap();
        recorded.assert(r#"auth_revocations_total{kind="session",outcome="ok"}"#, 1);
        ask(&open, &pair.access_token).await;
        assert_counted(&mut recorded, "shared", "revoked");
        assert_eq!(all, 14);
    });
}

#[test]
fn metrics_of_a_store_time_each_call_also_one_that_nobody_waits_for() {
    Recorded::run(async |recorded| {
        let store = Arc::new(FailingStore::default());
        let measured = MeasuredStore::new("memory", Arc::clone(&store));
        let id = TokenId::generate();
        let calls = |outcome: &str| {
            format!(
                r#"auth_store_operation_duration_seconds_count{{store="memory",operation="token_status",outcome="{outcome}"}}"#
            )
        };
        TokenStore::token_status(&measured, id).await.unwrap();
        store.fails.store(true, Ordering::SeqCst);
        TokenStore::token_status(&measured, id).await.unwrap_err();
        store.hangs.store(true, Ordering::SeqCst);
        let hung = tokio::time::timeout(Duration::from_secs(1), TokenStore::token_status(&measured, id));
        hung.await.unwrap_err();
        for outcome in ["ok", "error", "abandoned"] {
            recorded.assert(&calls(outcome), 1);
        }
    });
}

#[test]
fn metrics_of_a_shared_cache_tell_what_it_knew() {
    Recorded::run(async |recorded| {
        let (clock, cache) = (clock(), MeasuredCache::new("map", MapCache::default()));
        let authority = authority(Cached::new(MemoryStore::new(), cache), &clock);
        let pair = sign_in(&authority).await;
        for _ in 0..3 {
            authority.verify(&pair.access_token).await.unwrap();
            clock.advance(AFTER_LEASE);
        }
        authority.revoke_session(pair.session_id).await.unwrap();
        authority.verify(&pair.access_token).await.unwrap_err();
        let lookups = |result: &str| format!(r#"auth_shared_cache_lookups_total{{store="map",result="{result}"}}"#);
        for (result, count) in [("miss", 1), ("active", 2), ("dead", 1), ("error", 0)] {
            recorded.assert(&lookups(result), count);
        }
        let timed =
            r#"auth_store_operation_duration_seconds_count{store="map",operation="put_tombstones",outcome="ok"}"#;
        recorded.assert(timed, 1);
    });
}

#[test]
fn metrics_of_the_in_process_cache_tell_its_size_and_limits() {
    Recorded::run(async |recorded| {
        let authority = authority(MemoryStore::new(), &clock());
        let pair = sign_in(&authority).await;
        authority.trust().record_metrics();
        recorded.assert("auth_local_cache_entries", 0);
        authority.verify(&pair.access_token).await.unwrap();
        authority.trust().record_metrics();
        recorded.assert("auth_local_cache_entries", 1);
        recorded.assert("auth_local_cache_max_entries", 100_000);
        recorded.assert("auth_local_cache_max_bytes", 64 << 20);
    });
}

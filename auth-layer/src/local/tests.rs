use super::*;
use crate::{
    claims::{CustomPayload, RegisteredClaims, Scope, VerifiedSignature},
    clock::{ManualClock, SystemClock},
    id::{SessionId, Subject, TokenId},
    keys::SigningKey,
    kind::TokenKind,
    layer_context::{LayerContext, Realm},
};

const LEASE: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_hours(1);
const ROOMY: Limits = Limits { entries: 1_000, bytes: 1 << 20 };

/// A cache, and the lease of an authority that uses it.
struct Fixture {
    local: LocalCache,
    clock: ManualClock,
    lease: Duration,
}

fn epoch() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn cache(lease: Duration) -> Fixture {
    Fixture::new(lease, ROOMY)
}

impl Fixture {
    fn new(lease: Duration, limits: Limits) -> Self {
        let (local, clock) = (LocalCache::new(), ManualClock::starting_at(epoch()));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        assert!(local.open(limits, &shared, lease).is_some());
        Self { local, clock, lease }
    }

    fn tokens(&self) -> &VerifiedTokens {
        self.local.get().unwrap()
    }

    fn known(&self, token: &str, now: Duration) -> Known {
        self.tokens().get(self.tokens().key(token.as_bytes()), now, Freshness::new(self.lease, Duration::ZERO))
    }

    /// Advances the clock to `to`.
    fn advance_to(&self, to: Duration) {
        self.clock.advance(to.saturating_sub(self.clock.monotonic()));
    }

    fn revoke(&self, id: Uuid, at: Duration) {
        self.advance_to(at);
        self.tokens().revoke(id);
    }

    fn revoke_all(&self, at: Duration) {
        self.advance_to(at);
        self.tokens().revoke_all();
    }
}

fn claims() -> Claims {
    claims_until(Timestamp::MAX_UTC)
}

fn claims_until(exp: Timestamp) -> Claims {
    let claims = RegisteredClaims {
        iss: String::new(),
        sub: Subject::generate(),
        aud: Vec::new(),
        exp,
        nbf: None,
        iat: Timestamp::MIN_UTC,
        jti: TokenId::generate(),
        client_id: String::new(),
        sid: SessionId::generate(),
        scope: Scope::empty(),
        auth_time: None,
        acr: None,
        amr: Vec::new(),
        cnf: None,
    };
    let key = SigningKey::from_secret("key", &[7; 32]).unwrap().verifying_key();
    let signature = VerifiedSignature { key, key_set: 0, issuer: 0 };
    claims.into_claims(TokenKind::Access, CustomPayload::new(None), signature, 0, layer())
}

fn layer() -> LayerContext {
    LayerContext::new(Realm::default(), None, None, Arc::new(SystemClock::default()), Duration::ZERO)
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn id_of(claims: &Claims) -> Uuid {
    claims.token_id().unwrap().into()
}

fn session_of(claims: &Claims) -> Uuid {
    claims.session_id().unwrap().into()
}

/// Inserts the result of a check that began at `began`. The clock's time of day starts at the
/// epoch.
fn insert_checked(cache: &Fixture, token: &str, claims: &Claims, began: Duration) {
    let now = crate::clock::later(epoch(), began);
    let was_known = !matches!(cache.known(token, began), Known::Nothing);
    cache.tokens().insert(cache.tokens().key(token.as_bytes()), &CheckOutcome { claims, began, now }, was_known);
}

/// Claims that expire this long after the epoch.
fn claims_expiring_at(at: Duration) -> Claims {
    claims_until(crate::clock::later(epoch(), at))
}

fn is_good(cache: &Fixture, token: &str, now: Duration) -> bool {
    matches!(cache.known(token, now), Known::Good(_))
}

fn is_verified(cache: &Fixture, token: &str, now: Duration) -> bool {
    matches!(cache.known(token, now), Known::Verified(_))
}

fn is_unknown(cache: &Fixture, token: &str, now: Duration) -> bool {
    matches!(cache.known(token, now), Known::Nothing)
}

#[test]
fn local_cache_believes_liveness_for_one_lease_and_the_signature_until_expiry() {
    let cache = cache(LEASE);
    insert_checked(&cache, "token", &claims_expiring_at(at(5_100)), at(100));
    assert!(is_good(&cache, "token", at(1_099)));
    assert!(is_verified(&cache, "token", at(1_100)));
    assert!(is_verified(&cache, "token", at(5_099)));
    assert!(is_unknown(&cache, "token", at(5_100)));
    assert_eq!(cache.tokens().entries.len(), 0, "it is dropped");
    assert!(is_unknown(&cache, "tokem", at(200)), "another token");
}

#[test]
fn local_cache_drops_a_token_that_expires_within_its_lease() {
    let cache = cache(LEASE);
    insert_checked(&cache, "token", &claims_expiring_at(at(300)), at(0));
    assert!(is_good(&cache, "token", at(299)));
    assert!(is_unknown(&cache, "token", at(300)));
}

#[test]
fn local_cache_without_a_lease_believes_the_signature_only() {
    let cache = cache(Duration::ZERO);
    insert_checked(&cache, "token", &claims(), at(100));
    assert!(is_verified(&cache, "token", at(100)));
    insert_checked(&cache, "token", &claims(), at(100));
    assert!(is_verified(&cache, "token", at(101)));
}

/// Another authority with a longer leeway may have inserted it.
#[test]
fn local_cache_judges_expiry_by_the_leeway_of_the_caller() {
    let cache = cache(LEASE);
    insert_checked(&cache, "token", &claims_expiring_at(at(300)), at(0));
    let ask = |now, leeway| cache.tokens().get(cache.tokens().key(b"token"), now, Freshness::new(LEASE, leeway));
    assert!(matches!(ask(at(299), Duration::ZERO), Known::Good(_)));
    assert!(matches!(ask(at(399), at(100)), Known::Good(_)));
    assert!(matches!(ask(at(400), at(100)), Known::Nothing));
}

#[test]
fn local_cache_counts_an_expired_token_from_its_expiry() {
    let cache = cache(LEASE);
    // Accepted within its leeway, 200 ms after its expiry.
    insert_checked(&cache, "token", &claims_expiring_at(at(300)), at(500));
    let ask = |now| cache.tokens().get(cache.tokens().key(b"token"), now, Freshness::new(LEASE, at(400)));
    assert!(matches!(ask(at(699)), Known::Good(_)));
    assert!(matches!(ask(at(700)), Known::Nothing));
}

#[test]
fn local_cache_with_a_longer_lease_drops_liveness_from_before() {
    let cache = cache(Duration::ZERO);
    let claims = claims();
    insert_checked(&cache, "token", &claims, at(100));
    // No authority has a lease, so no revocation is remembered.
    cache.revoke(session_of(&claims), at(200));
    cache.advance_to(at(300));
    let clock: Arc<dyn Clock> = Arc::new(cache.clock.clone());
    cache.local.open(ROOMY, &clock, LONG);
    let ask = |now| cache.tokens().get(cache.tokens().key(b"token"), now, Freshness::new(LONG, Duration::ZERO));
    assert!(matches!(ask(at(301)), Known::Verified(_)));
    insert_checked(&cache, "token", &claims, at(301));
    assert!(matches!(ask(at(302)), Known::Good(_)));
}

#[test]
fn local_cache_ignores_liveness_of_a_check_that_began_before_a_revocation() {
    let claims = claims();
    for id in [id_of(&claims), session_of(&claims), claims.sub.tag()] {
        let cache = cache(LEASE);
        cache.revoke(id, at(200));
        insert_checked(&cache, "token", &claims, at(200));
        assert!(is_verified(&cache, "token", at(300)));
        insert_checked(&cache, "token", &claims, at(201));
        assert!(is_good(&cache, "token", at(300)), "this check began after the revocation");
    }
}

#[test]
fn local_cache_ignores_liveness_of_a_check_that_began_before_a_revoke_all() {
    let cache = cache(LEASE);
    insert_checked(&cache, "token", &claims(), at(0));
    cache.revoke_all(at(0));
    assert!(is_verified(&cache, "token", at(1)));
    cache.revoke_all(at(200));
    insert_checked(&cache, "token", &claims(), at(200));
    assert!(is_verified(&cache, "token", at(300)));
    insert_checked(&cache, "token", &claims(), at(201));
    assert!(is_good(&cache, "token", at(300)), "this check began afterwards");
}

#[test]
fn local_cache_remembers_a_revocation_for_one_lease() {
    let claims = claims();
    let cache = cache(LEASE);
    insert_checked(&cache, "token", &claims, at(200));
    cache.revoke(session_of(&claims), at(200));
    // Later revocations drop the old ones.
    for millis in (250..=1_199).step_by(50) {
        cache.revoke(Uuid::now_v7(), at(millis));
        assert!(is_verified(&cache, "token", at(millis)));
        insert_checked(&cache, "token", &claims, at(200));
    }
    cache.revoke(Uuid::now_v7(), at(9_000));
    let revocations = cache.tokens().revoked.revocations.read().unwrap();
    assert_eq!((revocations.by_id.len(), revocations.order.len()), (1, 1), "the old ones are dropped");
}

/// A check's thread may be suspended for any time between reading the clock and reading the cache.
#[test]
fn local_cache_ignores_liveness_for_a_check_that_is_older_than_a_forgotten_revocation() {
    let claims = claims();
    let cache = cache(LEASE);
    insert_checked(&cache, "token", &claims, at(100));
    cache.revoke(id_of(&claims), at(110));
    cache.revoke(Uuid::now_v7(), at(1_111));
    assert!(is_verified(&cache, "token", at(1_099)), "by its time the lease still runs");
}

#[test]
fn local_cache_remembers_a_repeated_revocation_from_the_last_time() {
    let claims = claims();
    let cache = cache(LEASE);
    cache.revoke(session_of(&claims), at(100));
    cache.revoke(session_of(&claims), at(900));
    cache.revoke(Uuid::now_v7(), at(1_500));
    insert_checked(&cache, "token", &claims, at(900));
    assert!(is_verified(&cache, "token", at(1_501)), "the note of 900 is still there");
}

#[test]
fn local_cache_drops_all_liveness_when_revocations_overflow() {
    let cache = cache(LEASE);
    let (dead, other) = (claims(), claims());
    insert_checked(&cache, "dead", &dead, at(100));
    insert_checked(&cache, "other", &other, at(100));
    cache.revoke(id_of(&dead), at(100));
    for _ in 1..ROOMY.entries {
        cache.revoke(Uuid::now_v7(), at(101));
    }
    assert!(is_verified(&cache, "dead", at(102)));
    assert!(is_good(&cache, "other", at(102)), "so many are remembered");
    cache.revoke(Uuid::now_v7(), at(102));
    assert_eq!(cache.tokens().revoked.revocations.read().unwrap().order.len(), 0);
    assert!(is_verified(&cache, "dead", at(103)) && is_verified(&cache, "other", at(103)));
    insert_checked(&cache, "other", &other, at(103));
    assert!(is_good(&cache, "other", at(104)));
    cache.revoke(other.sub.tag(), at(104));
    assert!(is_verified(&cache, "other", at(105)), "the next one is remembered again");
}

#[test]
fn local_cache_stays_within_its_limits() {
    for limits in [Limits { entries: 100, bytes: 1 << 20 }, Limits { entries: 1_000_000, bytes: 100_000 }] {
        let cache = Fixture::new(LEASE, limits);
        for number in 0..5_000 {
            insert_checked(&cache, &format!("{number:0400}"), &claims(), at(0));
            assert!(cache.tokens().entries.len() <= limits.entries, "{limits:?}");
            assert!(cache.tokens().entries.weight() <= limits.bytes as u64, "{limits:?}");
        }
        assert!(cache.tokens().entries.len() > 50, "{limits:?}: {} entries are kept", cache.tokens().entries.len());
    }
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::starting_at(epoch()));
    assert!(LocalCache::new().open(Limits { entries: 0, bytes: 1 }, &clock, LEASE).is_none());
}

#[test]
fn local_cache_keeps_frequent_tokens_beside_one_time_tokens() {
    let cache = Fixture::new(LEASE, Limits { entries: 1_000, bytes: 1 << 24 });
    let regulars: Vec<String> = (0..200).map(|number| format!("regular {number}")).collect();
    for token in &regulars {
        insert_checked(&cache, token, &claims(), at(0));
    }
    for round in 0..50 {
        for token in &regulars {
            cache.known(token, at(1));
        }
        for number in 0..1_000 {
            insert_checked(&cache, &format!("stranger {round} {number}"), &claims(), at(1));
        }
    }
    let kept = regulars.iter().filter(|token| is_good(&cache, token, at(2))).count();
    assert!(kept >= 190, "{kept} of 200 were kept beside 50,000 strangers");
}

#[test]
fn local_cache_removes_expired_entries_after_a_minute() {
    let cache = cache(LEASE);
    insert_checked(&cache, "long", &claims(), at(0));
    for number in 0..100 {
        insert_checked(&cache, &format!("short {number}"), &claims_expiring_at(at(1_000)), at(0));
    }
    assert!(is_verified(&cache, "long", at(59_000)));
    assert_eq!(cache.tokens().entries.len(), 101, "not every check looks for it");
    assert!(is_verified(&cache, "long", at(61_000)));
    assert_eq!(cache.tokens().entries.len(), 1);
}

use super::*;
use crate::{
    claims::{NoCustomClaims, Scope},
    clock::Timestamp,
    id::{SessionId, TokenId, UserId},
};

const LEASE: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_hours(1);
const ROOMY: Limits = Limits { entries: 1_000, bytes: 1 << 20 };

fn cache(lease: Duration) -> LocalCache<NoCustomClaims> {
    LocalCache::new(lease, ROOMY).unwrap()
}

fn claims() -> Claims {
    Claims::checked(ClaimSet {
        iss: String::new(),
        sub: UserId::generate(),
        aud: Vec::new(),
        exp: Timestamp::MAX_UTC,
        iat: Timestamp::MIN_UTC,
        jti: TokenId::generate(),
        client_id: String::new(),
        sid: SessionId::generate(),
        scope: Scope::empty(),
        custom: NoCustomClaims {},
    })
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn found(cache: &LocalCache<NoCustomClaims>, token: &str, claims: &Claims, began: Duration, remaining: Duration) {
    let finding = Finding { claims, generation: cache.generation(), began, remaining, length: token.len() };
    let key = cache.key(token.as_bytes());
    cache.insert(key, &finding, matches!(cache.get(key, began), Known::Genuine(_) | Known::Good(_)));
}

fn is_good(cache: &LocalCache<NoCustomClaims>, token: &str, now: Duration) -> bool {
    matches!(cache.get(cache.key(token.as_bytes()), now), Known::Good(_))
}

fn is_genuine(cache: &LocalCache<NoCustomClaims>, token: &str, now: Duration) -> bool {
    matches!(cache.get(cache.key(token.as_bytes()), now), Known::Genuine(_))
}

#[test]
fn a_token_is_good_for_one_lease_from_the_beginning_of_its_check_and_genuine_until_it_ends() {
    let cache = cache(LEASE);
    found(&cache, "token", &claims(), at(100), at(5_000));
    assert!(is_good(&cache, "token", at(1_099)));
    assert!(is_genuine(&cache, "token", at(1_100)));
    assert!(is_genuine(&cache, "token", at(5_099)));
    assert!(matches!(cache.get(cache.key(b"token"), at(5_100)), Known::Nothing));
    assert_eq!(cache.entries.len(), 0, "it is dropped");
    assert!(matches!(cache.get(cache.key(b"tokem"), at(200)), Known::Nothing), "another token");
}

#[test]
fn a_token_that_ends_within_its_lease_is_good_no_longer() {
    let cache = cache(LEASE);
    found(&cache, "token", &claims(), at(0), at(300));
    assert!(is_good(&cache, "token", at(299)));
    assert!(matches!(cache.get(cache.key(b"token"), at(300)), Known::Nothing));
}

#[test]
fn without_a_lease_a_token_is_genuine_and_never_good() {
    let cache = cache(Duration::ZERO);
    found(&cache, "token", &claims(), at(100), LONG);
    assert!(is_genuine(&cache, "token", at(100)));
    found(&cache, "token", &claims(), at(100), LONG);
    assert!(is_genuine(&cache, "token", at(101)));
}

#[test]
fn a_signature_checked_with_other_keys_counts_for_nothing() {
    let cache = cache(LEASE);
    let claims = claims();
    let before =
        Finding { claims: &claims, generation: cache.generation(), began: at(100), remaining: LONG, length: 5 };
    cache.insert(cache.key(b"token"), &before, false);
    assert!(is_good(&cache, "token", at(101)));
    cache.begin_generation();
    assert!(matches!(cache.get(cache.key(b"token"), at(101)), Known::Nothing));
    cache.insert(cache.key(b"token"), &before, false);
    assert!(matches!(cache.get(cache.key(b"token"), at(101)), Known::Nothing), "this check took its keys before");
}

#[test]
fn a_check_that_began_before_a_revocation_leaves_nothing_to_believe() {
    let claims = claims();
    for id in [claims.jti.into(), claims.sid.into(), claims.sub.into()] {
        let cache = cache(LEASE);
        cache.revoke(id, at(200));
        found(&cache, "token", &claims, at(200), LONG);
        assert!(is_genuine(&cache, "token", at(300)));
        found(&cache, "token", &claims, at(201), LONG);
        assert!(is_good(&cache, "token", at(300)), "this check began after the revocation");
    }
}

#[test]
fn a_check_that_began_before_everything_was_revoked_leaves_nothing_to_believe() {
    let cache = cache(LEASE);
    found(&cache, "token", &claims(), at(0), LONG);
    cache.revoke_all(at(0));
    assert!(is_genuine(&cache, "token", at(1)));
    cache.revoke_all(at(200));
    found(&cache, "token", &claims(), at(200), LONG);
    assert!(is_genuine(&cache, "token", at(300)));
    found(&cache, "token", &claims(), at(201), LONG);
    assert!(is_good(&cache, "token", at(300)), "this check began afterwards");
}

#[test]
fn a_revocation_is_remembered_for_as_long_as_an_older_entry_could_be_believed() {
    let claims = claims();
    let cache = cache(LEASE);
    found(&cache, "token", &claims, at(200), LONG);
    cache.revoke(claims.sid.into(), at(200));
    // Others come and have the old ones dropped.
    for millis in (250..=1_199).step_by(50) {
        cache.revoke(Uuid::now_v7(), at(millis));
        assert!(is_genuine(&cache, "token", at(millis)));
        found(&cache, "token", &claims, at(200), LONG);
    }
    cache.revoke(Uuid::now_v7(), at(9_000));
    let notes = cache.revoked.notes.read().unwrap();
    assert_eq!((notes.at.len(), notes.order.len()), (1, 1), "the old ones are dropped");
}

/// Between its look at the clock and its look here a check's thread may be put aside for any time.
#[test]
fn a_check_that_has_read_the_clock_long_ago_believes_nothing_whose_reminder_is_gone() {
    let claims = claims();
    let cache = cache(LEASE);
    found(&cache, "token", &claims, at(100), LONG);
    cache.revoke(claims.jti.into(), at(110));
    cache.revoke(Uuid::now_v7(), at(1_111));
    assert!(is_genuine(&cache, "token", at(1_099)), "by its time the lease still runs");
}

#[test]
fn what_is_revoked_again_is_remembered_from_the_last_time() {
    let claims = claims();
    let cache = cache(LEASE);
    cache.revoke(claims.sid.into(), at(100));
    cache.revoke(claims.sid.into(), at(900));
    cache.revoke(Uuid::now_v7(), at(1_500));
    found(&cache, "token", &claims, at(900), LONG);
    assert!(is_genuine(&cache, "token", at(1_501)), "the note of 900 is still there");
}

#[test]
fn where_too_many_are_revoked_to_be_remembered_nothing_is_believed_that_was_checked_before() {
    let cache = cache(LEASE);
    let (dead, other) = (claims(), claims());
    found(&cache, "dead", &dead, at(100), LONG);
    found(&cache, "other", &other, at(100), LONG);
    cache.revoke(dead.jti.into(), at(100));
    for _ in 1..ROOMY.entries {
        cache.revoke(Uuid::now_v7(), at(101));
    }
    assert!(is_genuine(&cache, "dead", at(102)));
    assert!(is_good(&cache, "other", at(102)), "so many are remembered");
    cache.revoke(Uuid::now_v7(), at(102));
    assert_eq!(cache.revoked.notes.read().unwrap().order.len(), 0);
    assert!(is_genuine(&cache, "dead", at(103)) && is_genuine(&cache, "other", at(103)));
    found(&cache, "other", &other, at(103), LONG);
    assert!(is_good(&cache, "other", at(104)));
    cache.revoke(other.sub.into(), at(104));
    assert!(is_genuine(&cache, "other", at(105)), "the next one is remembered again");
}

#[test]
fn neither_entries_nor_bytes_exceed_their_limits() {
    for limits in [Limits { entries: 100, bytes: 1 << 20 }, Limits { entries: 1_000_000, bytes: 100_000 }] {
        let cache = LocalCache::new(LEASE, limits).unwrap();
        for number in 0..5_000 {
            found(&cache, &format!("{number:0400}"), &claims(), at(0), LONG);
            assert!(cache.entries.len() <= limits.entries, "{limits:?}");
            assert!(cache.entries.weight() <= limits.bytes as u64, "{limits:?}");
        }
        assert!(cache.entries.len() > 50, "{limits:?}: {} entries are kept", cache.entries.len());
    }
    assert!(LocalCache::<NoCustomClaims>::new(LEASE, Limits { entries: 0, bytes: 1 }).is_none());
}

#[test]
fn tokens_that_come_once_do_not_push_out_those_that_come_again() {
    let cache = LocalCache::new(LEASE, Limits { entries: 1_000, bytes: 1 << 24 }).unwrap();
    let regulars: Vec<String> = (0..200).map(|number| format!("regular {number}")).collect();
    for token in &regulars {
        found(&cache, token, &claims(), at(0), LONG);
    }
    for round in 0..50 {
        for token in &regulars {
            cache.get(cache.key(token.as_bytes()), at(1));
        }
        for number in 0..1_000 {
            found(&cache, &format!("stranger {round} {number}"), &claims(), at(1), LONG);
        }
    }
    let kept = regulars.iter().filter(|token| is_good(&cache, token, at(2))).count();
    assert!(kept >= 190, "{kept} of 200 were kept beside 50,000 strangers");
}

#[test]
fn what_has_expired_is_removed_by_the_first_check_after_a_minute() {
    let cache = cache(LEASE);
    found(&cache, "long", &claims(), at(0), LONG);
    for number in 0..100 {
        found(&cache, &format!("short {number}"), &claims(), at(0), at(1_000));
    }
    assert!(is_genuine(&cache, "long", at(59_000)));
    assert_eq!(cache.entries.len(), 101, "not every check looks for it");
    assert!(is_genuine(&cache, "long", at(61_000)));
    assert_eq!(cache.entries.len(), 1);
}

//! The life of a token on the in-memory store, with a clock that the test turns.

mod bound;
mod client_tokens;
mod codes;
mod each_algorithm;
mod faulty_store;
mod grants;
mod interrupted_revocation;
mod issued;
mod local_cache;
mod lost_answers;
mod missing_key;
mod payloads;
#[path = "../support/prover.rs"]
mod prover;
mod purge;
mod refresh_requests;
mod revoke_and_introspect;
mod sessions;
mod shared_store;
mod subjects;

use std::time::Duration;

use auth_layer::{
    AuthError, Authority, Grant, GrantFault, IssuedPair, RefreshError, SessionId, SignInError, TokenFault, UserId,
    authority::AuthorityBuilder,
    clock::{Clock, ManualClock},
    keys::{Keyring, SigningKey},
    store::MemoryStore,
    trust::CheckOrder,
};
use chrono::DateTime;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn clock() -> ManualClock {
    // Real clocks show fractions of a second.
    ManualClock::starting_at(DateTime::from_timestamp(1_800_000_000, 123_456_789).unwrap())
}

fn builder(clock: &ManualClock) -> AuthorityBuilder {
    let keys = Keyring::new(SigningKey::generate().unwrap());
    Authority::builder("https://issuer", MemoryStore::new()).audience("api").keys(keys).clock(clock.clone())
}

async fn sign_in(authority: &Authority, user: UserId) -> IssuedPair {
    let sign_in = authority.begin_sign_in(user).await.unwrap();
    authority.sign_in(sign_in, Grant::new("web").scope("profile mail".parse().unwrap())).await.unwrap()
}

/// Lets background work finish.
async fn finish_background_work() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

async fn fault(authority: &Authority, token: &str) -> TokenFault {
    match authority.verify(token).await {
        Err(AuthError::InvalidToken(fault)) => fault,
        other => panic!("expected a fault, got {other:?}"),
    }
}

async fn refusal(authority: &Authority, token: &str) -> GrantFault {
    match authority.refresh(token).await {
        Err(RefreshError::InvalidGrant(fault)) => fault,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn sign_in_issues_the_claims_that_were_granted() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let user = UserId::generate();
    let pair = sign_in(&authority, user).await;
    let claims = authority.verify(&pair.access_token).await.unwrap();
    assert_eq!(claims.iss, "https://issuer");
    assert_eq!(claims.aud, ["api"]);
    assert_eq!(claims.sub, user);
    assert_eq!(claims.session_id(), Some(pair.session_id));
    assert_eq!(claims.client_id.as_deref(), Some("web"));
    assert_eq!(claims.scope.to_string(), "profile mail");
    assert_eq!(claims.exp - claims.iat.unwrap(), chrono::TimeDelta::minutes(15));
    assert_eq!(pair.expires_in, 15 * MINUTE);
}

#[tokio::test]
async fn check_refuses_a_token_after_its_expiry_and_leeway() {
    let clock = clock();
    let authority = builder(&clock).leeway(Duration::from_secs(30)).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    // `iat` is the whole second before the token was made.
    clock.advance(15 * MINUTE + Duration::from_millis(29_876));
    assert!(authority.verify(&pair.access_token).await.is_ok());
    clock.advance(Duration::from_millis(2));
    assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Expired);
}

#[tokio::test]
async fn check_takes_no_kind_of_token_for_another() {
    let authority = builder(&clock()).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    let claims = authority.verify(&pair.access_token).await.unwrap();
    let once = authority.issue_single_use(&claims).await.unwrap();
    assert_eq!(fault(&authority, &pair.refresh_token).await, TokenFault::Type);
    assert_eq!(fault(&authority, &once.token).await, TokenFault::Type);
    for token in [&pair.access_token, &once.token] {
        assert_eq!(refusal(&authority, token).await, GrantFault::Token(TokenFault::Type));
    }
    for token in [&pair.access_token, &pair.refresh_token] {
        assert!(matches!(authority.spend(token).await, Err(AuthError::InvalidToken(TokenFault::Type))));
    }
    assert!(authority.spend(&once.token).await.is_ok(), "none of that used it up");
    assert!(matches!(authority.spend(&once.token).await, Err(AuthError::InvalidToken(TokenFault::Used))));
}

#[tokio::test]
async fn refresh_retires_its_token_and_leaves_the_old_access_token_good() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let first = sign_in(&authority, UserId::generate()).await;
    clock.advance(MINUTE);
    let second = authority.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(second.session_id, first.session_id);
    assert_ne!(second.access_token, first.access_token);
    assert_ne!(second.refresh_token, first.refresh_token);
    assert_eq!(second.expires_in, 15 * MINUTE);
    for token in [&first.access_token, &second.access_token] {
        assert!(authority.verify(token).await.is_ok());
    }
}

#[tokio::test]
async fn refresh_window_closes_at_the_first_use_of_the_child() {
    let authority = builder(&clock()).build().unwrap();
    let first = sign_in(&authority, UserId::generate()).await;
    let second = authority.refresh(&first.refresh_token).await.unwrap();
    let third = authority.refresh(&second.refresh_token).await.unwrap();
    assert_eq!(refusal(&authority, &first.refresh_token).await, GrantFault::Reused);
    // The whole session is revoked, access tokens included.
    for pair in [&first, &second, &third] {
        assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Revoked);
        assert_eq!(refusal(&authority, &pair.refresh_token).await, GrantFault::Token(TokenFault::Revoked));
    }
}

#[tokio::test]
async fn refresh_without_a_window_takes_every_second_presentation_for_reuse() {
    let authority = builder(&clock()).refresh_grace(Duration::ZERO).build().unwrap();
    let first = sign_in(&authority, UserId::generate()).await;
    authority.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(refusal(&authority, &first.refresh_token).await, GrantFault::Reused);
}

#[tokio::test]
async fn refresh_with_a_forged_token_ends_no_session() {
    let authority = builder(&clock()).refresh_grace(Duration::ZERO).build().unwrap();
    let first = sign_in(&authority, UserId::generate()).await;
    let second = authority.refresh(&first.refresh_token).await.unwrap();
    // A retired token with a forged signature: anybody can make one from an old token's payload.
    let (signed, signature) = first.refresh_token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    assert!(matches!(refusal(&authority, &forged).await, GrantFault::Token(_)));
    assert!(authority.verify(&second.access_token).await.is_ok());
}

#[tokio::test]
async fn sessions_end_when_idle_and_when_old() {
    let clock = clock();
    let authority = builder(&clock).refresh_ttl(HOUR).session_ttl(DAY).build().unwrap();
    let idle = sign_in(&authority, UserId::generate()).await;
    let mut busy = sign_in(&authority, UserId::generate()).await;
    for _ in 0..23 {
        clock.advance(HOUR);
        busy = authority.refresh(&busy.refresh_token).await.unwrap();
    }
    assert_eq!(refusal(&authority, &idle.refresh_token).await, GrantFault::Token(TokenFault::Expired));
    // In its last minutes the session issues tokens that end with it.
    clock.advance(55 * MINUTE);
    busy = authority.refresh(&busy.refresh_token).await.unwrap();
    assert_eq!(busy.expires_in, 5 * MINUTE);
    clock.advance(6 * MINUTE);
    assert_eq!(fault(&authority, &busy.access_token).await, TokenFault::Expired);
    assert_eq!(refusal(&authority, &busy.refresh_token).await, GrantFault::Token(TokenFault::Expired));
}

#[tokio::test]
async fn single_use_token_ends_with_its_session() {
    let clock = clock();
    let authority = builder(&clock).session_ttl(10 * MINUTE).access_ttl(3 * MINUTE).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    let claims = authority.verify(&pair.access_token).await.unwrap();
    assert_eq!(authority.issue_single_use(&claims).await.unwrap().expires_in, MINUTE);
    // The access token expires before a single-use token would. The session does not.
    clock.advance(2 * MINUTE + Duration::from_secs(30));
    assert_eq!(authority.issue_single_use(&claims).await.unwrap().expires_in, MINUTE);

    let pair = authority.refresh(&pair.refresh_token).await.unwrap();
    clock.advance(2 * MINUTE);
    let pair = authority.refresh(&pair.refresh_token).await.unwrap();
    clock.advance(2 * MINUTE);
    let pair = authority.refresh(&pair.refresh_token).await.unwrap();
    clock.advance(3 * MINUTE);
    let claims = authority.verify(&authority.refresh(&pair.refresh_token).await.unwrap().access_token).await.unwrap();
    // Half a minute is left of the session.
    let last = authority.issue_single_use(&claims).await.unwrap();
    assert_eq!(last.expires_in, MINUTE / 2);
    assert!(authority.spend(&last.token).await.is_ok());
    clock.advance(MINUTE / 2);
    assert!(
        matches!(authority.issue_single_use(&claims).await, Err(SignInError::Fenced)),
        "the session is over, though the access token is within its leeway"
    );
}

#[tokio::test]
async fn revoke_all_fences_a_sign_in_that_had_begun() {
    let authority = builder(&clock()).build().unwrap();
    let user = UserId::generate();
    let pair = sign_in(&authority, user).await;
    let begun = authority.begin_sign_in(user).await.unwrap();
    authority.revoke_user(user, None).await.unwrap();
    assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Revoked);
    assert!(matches!(authority.sign_in(begun, Grant::new("web")).await, Err(SignInError::Fenced)));
    assert!(authority.sessions(user).await.unwrap().is_empty());
    let again = sign_in(&authority, user).await;
    assert!(authority.verify(&again.access_token).await.is_ok());
}

#[tokio::test]
async fn disabled_user_is_refused_until_enabled_and_gets_nothing_back() {
    let authority = builder(&clock()).build().unwrap();
    let user = UserId::generate();
    let pair = sign_in(&authority, user).await;
    authority.set_user_disabled(user, true).await.unwrap();
    let begun = authority.begin_sign_in(user).await.unwrap();
    assert!(matches!(authority.sign_in(begun, Grant::new("web")).await, Err(SignInError::Disabled)));
    authority.set_user_disabled(user, false).await.unwrap();
    assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Revoked);
    sign_in(&authority, user).await;
}

#[tokio::test]
async fn revoke_all_spares_the_session_that_is_named() {
    let authority = builder(&clock()).build().unwrap();
    let user = UserId::generate();
    let kept = sign_in(&authority, user).await;
    let ended = sign_in(&authority, user).await;
    authority.revoke_user(user, Some(kept.session_id)).await.unwrap();
    assert!(authority.verify(&kept.access_token).await.is_ok());
    assert!(authority.refresh(&kept.refresh_token).await.is_ok());
    assert_eq!(fault(&authority, &ended.access_token).await, TokenFault::Revoked);
    let sessions = authority.sessions(user).await.unwrap();
    assert_eq!(sessions.iter().map(|session| session.session_id).collect::<Vec<_>>(), [kept.session_id]);
}

#[tokio::test]
async fn sessions_name_their_user_until_they_expire_even_if_revoked() {
    let clock = clock();
    let authority = builder(&clock).refresh_ttl(HOUR).build().unwrap();
    let user = UserId::generate();
    let id = sign_in(&authority, user).await.session_id;
    for revoked in [false, true] {
        let session = authority.session(id).await.unwrap().unwrap();
        assert_eq!((session.session_id, session.user_id, session.revoked), (id, user.into(), revoked));
        authority.revoke_session(id).await.unwrap();
    }
    assert_eq!(authority.session(SessionId::generate()).await.unwrap(), None);
    clock.advance(HOUR);
    assert_eq!(authority.session(id).await.unwrap(), None);
}

#[tokio::test]
async fn check_refuses_the_same_in_both_orders() {
    for order in [CheckOrder::RecordFirst, CheckOrder::SignatureFirst] {
        let authority = builder(&clock()).check_order(order).build().unwrap();
        let pair = sign_in(&authority, UserId::generate()).await;
        assert!(authority.verify(&pair.access_token).await.is_ok());
        let (signed, signature) = pair.access_token.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{}A", &signature[..signature.len() - 1].chars().rev().collect::<String>());
        assert!(matches!(authority.verify(&forged).await, Err(AuthError::InvalidToken(_))), "{order:?}");
        authority.revoke_session(pair.session_id).await.unwrap();
        assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Revoked, "{order:?}");
    }
}

#[tokio::test]
async fn check_refuses_another_issuer_audience_or_key_before_the_store_is_asked() {
    let clock = clock();
    let key = SigningKey::generate().unwrap();
    let made = |issuer: &str, audience: &str, key: &SigningKey| -> Authority {
        Authority::builder(issuer, MemoryStore::new())
            .audience(audience)
            .keys(Keyring::new(key.clone()))
            .clock(clock.clone())
            .build()
            .unwrap()
    };
    let ours = made("https://issuer", "api", &key);
    let cases = [
        (made("https://other", "api", &key), TokenFault::Issuer),
        (made("https://issuer", "other", &key), TokenFault::Audience),
        (made("https://issuer", "api", &SigningKey::generate().unwrap()), TokenFault::Key),
        (made("https://issuer", "api", &key), TokenFault::Unknown),
    ];
    for (theirs, expected) in cases {
        let pair = sign_in(&theirs, UserId::generate()).await;
        assert_eq!(fault(&ours, &pair.access_token).await, expected);
    }
}

#[tokio::test]
async fn check_refuses_a_token_from_the_future_beyond_the_leeway() {
    let key = SigningKey::generate().unwrap();
    let (behind, ahead) = (clock(), clock());
    let store = std::sync::Arc::new(MemoryStore::new());
    let made = |clock: &ManualClock| -> Authority {
        Authority::builder("https://issuer", std::sync::Arc::clone(&store))
            .audience("api")
            .keys(Keyring::new(key.clone()))
            .clock(clock.clone())
            .build()
            .unwrap()
    };
    let (node, fast_node) = (made(&behind), made(&ahead));
    ahead.advance(Duration::from_secs(29));
    assert!(node.verify(&sign_in(&fast_node, UserId::generate()).await.access_token).await.is_ok());
    ahead.advance(Duration::from_secs(3));
    let pair = sign_in(&fast_node, UserId::generate()).await;
    assert_eq!(fault(&node, &pair.access_token).await, TokenFault::NotYetValid);
    assert!(ahead.now() > behind.now());
}

#[tokio::test]
async fn purge_keeps_what_could_still_be_accepted() {
    let clock = clock();
    let authority = builder(&clock).refresh_ttl(HOUR).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    clock.advance(15 * MINUTE + Duration::from_secs(29));
    assert_eq!(authority.purge_expired().await.unwrap().tokens, 0);
    assert!(authority.verify(&pair.access_token).await.is_ok());
    clock.advance(6 * MINUTE);
    let purged = authority.purge_expired().await.unwrap();
    assert_eq!((purged.tokens, purged.sessions), (1, 0));
    clock.advance(HOUR);
    let purged = authority.purge_expired().await.unwrap();
    assert_eq!((purged.tokens, purged.sessions), (1, 1));
    assert!(matches!(authority.refresh(&pair.refresh_token).await, Err(RefreshError::InvalidGrant(_))));
}

//! What is recorded is what is read.

use std::{sync::Arc, time::Duration};

use super::fixture::{
    DAY, Login, MINUTE, Task, answer, at_once, expect_active, expect_revoked, held, now, records, rounds, warm,
};
use crate::{
    clock::later,
    id::{SessionId, TokenId, UserId},
    store::{Revoked, TokenStatus, TokenStore, UserFence},
};

/// Absence is not failure: whatever was never recorded is answered with "nothing", and revoking it is a success.
pub async fn absence_is_an_answer(store: &impl TokenStore) {
    let (token, session, user) = (TokenId::generate(), SessionId::generate(), UserId::generate());
    answer(store.ping().await);
    assert_eq!(answer(store.token_status(token).await), TokenStatus::Unknown, "a token nobody recorded");
    assert_eq!(answer(store.user_fence(user).await), UserFence::default(), "the fence of a user nobody fenced");
    assert_eq!(answer(store.presented(session, token, now()).await), None, "a session nobody opened");
    assert_eq!(answer(store.sessions(user, now()).await), [], "the sessions of a user who has none");
    assert_eq!(answer(store.revoke_token(token, now()).await), Revoked::default(), "an unknown token revoked");
    assert_eq!(answer(store.revoke_session(session, now()).await), Revoked::default(), "an unknown session revoked");

    let login = Login::opened(store, user).await;
    let (_, status) = answer(store.presented(login.id(), token, now()).await).expect("the session was opened");
    assert_eq!(status, TokenStatus::Unknown, "an unknown token that names a session");
}

/// The tokens of an admitted session are active, as what they were recorded.
pub async fn issued_tokens_are_active(store: &impl TokenStore) {
    let login = Login::opened(store, UserId::generate()).await;
    expect_active(store, &login.tokens, "after the sign-in").await;
    let (session, status) =
        answer(store.presented(login.id(), login.refresh(), now()).await).expect("the session was opened");
    assert_eq!(session, login.session, "the session that a refresh token names");
    assert_eq!(status, TokenStatus::Active((&login.tokens[1]).into()), "the refresh token that was presented");
}

/// Every field of a session comes back byte for byte, times to the millisecond, after the sign-in and after a rotation: a pair
/// is signed again from what is stored, and must come out the same.
pub async fn every_field_survives(store: &impl TokenStore) {
    let mut login = Login::new(UserId::generate(), now());
    login.session.client_id = "näher \"am\" \\ Kunden".into();
    login.session.user_agent = Some("Mozilla/5.0 (X11; $Linux) {\"a.b\": '\u{1f980}'}\t\r\n".into());
    login.session.last_used_at = later(login.session.created_at, Duration::from_millis(999));
    login.session.ends_at = later(login.session.created_at, 400 * DAY + Duration::from_millis(1));
    login.session.current.scope = "profile admin urn:example:a$b.c".parse().expect("a scope");
    login.session.current.custom =
        "{ \"tenant\":\"\\u00e9\u{e9}\",\"b\":[1.0,1e2,18446744073709551615],\"a\":null}".into();
    login.session.current.kid = "2026-11_Ed25519.\u{e9}".into();
    login.session.current.sealed_signatures = Some((0..=u8::MAX).collect());
    let mut login = login.admit(store).await;
    assert_eq!(held(store, &login).await, login.session, "a session with every field");

    let at = later(now(), MINUTE);
    let mut rotation = login.rotation(at);
    rotation.child.scope = "profile".parse().expect("a scope");
    rotation.child.custom = "{\"\":{}}".into();
    rotation.child.kid = String::new();
    rotation.child.sealed_signatures = Some(Vec::new());
    rotation.tokens = records(&login.session, &rotation.child);
    let _ = answer(store.rotate(rotation.clone()).await);
    login.session.current = rotation.child;
    let session = held(store, &login).await;
    assert_eq!(session.current, login.session.current, "the pair after a rotation");
    assert_eq!(session.current.custom, login.session.current.custom, "the custom claims after a rotation");
    assert_eq!(
        session.current.sealed_signatures, login.session.current.sealed_signatures,
        "no signatures are not the same as none sealed"
    );
    assert_eq!(session.user_agent, login.session.user_agent, "what a rotation does not touch");
}

/// However many checks run beside a revocation, of a token that was checked before or of one that was not: one that begins when the
/// revocation has returned finds the token revoked.
pub async fn no_check_outlives_a_revocation<S: TokenStore>(store: &Arc<S>) {
    rounds(|round| check_beside_a_revocation(Arc::clone(store), round)).await;
}

async fn check_beside_a_revocation<S: TokenStore>(store: Arc<S>, round: usize) {
    let login = Login::opened(&*store, UserId::generate()).await;
    let (access, refresh, session) = (login.access(), login.refresh(), login.id());
    let user = login.session.user_id;
    if round.is_multiple_of(2) {
        warm(&*store, [&login]).await;
    }
    let mut tasks: Vec<Task<()>> = Vec::new();
    for _ in 0..4 {
        let checker = Arc::clone(&store);
        tasks.push(Box::pin(async move {
            // Either answer is right here. What it leaves behind in a cache must not be believed later.
            let _ = answer(checker.token_status(access).await);
        }));
    }
    let revoker = Arc::clone(&store);
    tasks.insert(
        round % (tasks.len() + 1),
        Box::pin(async move {
            match round % 6 {
                0 => drop(answer(revoker.revoke_session(session, now()).await)),
                1 => drop(answer(revoker.revoke_token(access, now()).await)),
                2 => drop(answer(revoker.revoke_token(refresh, now()).await)),
                3 => drop(answer(revoker.revoke_user(user, None, now()).await)),
                4 => drop(answer(revoker.set_user_disabled(user, true, now()).await)),
                _ => drop(answer(revoker.punish(session, refresh, now()).await)),
            }
            for _ in 0..2 {
                let status = answer(revoker.token_status(access).await);
                assert_eq!(status, TokenStatus::Revoked, "a check that began after the revocation had returned");
            }
        }),
    );
    at_once(tasks).await;
    expect_revoked(&*store, &login.tokens[..1], "when the checks beside the revocation have ended").await;
}

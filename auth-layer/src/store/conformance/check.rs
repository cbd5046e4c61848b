//! What is recorded is what is read.

use std::time::Duration;

use super::fixture::{DAY, Login, MINUTE, answer, expect_active, held, now, records};
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

//! What a revocation covers, and that it can be repeated.
//!
//! Revoking a session revokes its access tokens, its single-use tokens and its newest refresh
//! token. The records of retired refresh tokens may stay as they are: their session decides.

use std::sync::Arc;

use super::fixture::{
    ACCESS_LIFE, BoxedTask, Login, MILLISECOND, Users, answer, at_once, expect_active, expect_covered,
    expect_not_active, expect_revoked, fill_cache, now, rounds, stored_session,
};
use crate::{
    clock::{earlier, later},
    store::{Admission, Consumed, Revocation, Rotated, Session, TokenStore},
};

/// Revoking an access token revokes nothing else: its session lives and can be refreshed.
///
/// A repeated call returns the same. Once the token has expired, none is named.
pub async fn access_token_is_revoked_alone(store: &impl TokenStore, users: Users) {
    let mut login = Login::opened(store, &users.new_user()).await;
    let dead = login.clone();
    fill_cache(store, [&dead]).await;
    for when in ["an access token revoked", "an access token revoked again"] {
        expect_covered(answer(store.revoke_token(dead.access(), now()).await), 0, [dead.reported()], when);
        expect_revoked(store, &dead.tokens[..1], when).await;
    }
    let expiry = dead.session.current.access_expires_at;
    expect_covered(answer(store.revoke_token(dead.access(), expiry).await), 0, [], "an expired access token revoked");

    assert_eq!(stored_session(store, &login).await, login.session, "the session of a revoked access token");
    expect_active(store, &dead.tokens[1..], "beside a revoked access token").await;
    login.rotate(store, now()).await;
    expect_active(store, &login.tokens, "the next pair after an access token was revoked").await;
    expect_revoked(store, &dead.tokens[..1], "a revoked access token after a refresh").await;
}

/// Revoking a refresh token, the current one or a retired one, revokes its whole session (RFC 7009
/// §2.1).
pub async fn refresh_token_revokes_its_session(store: &impl TokenStore, users: Users) {
    for retired in [false, true] {
        let mut login = Login::opened(store, &users.new_user()).await;
        let first = login.clone();
        login.rotate(store, now()).await;
        let id = if retired { first.refresh() } else { login.refresh() };
        fill_cache(store, [&first, &login]).await;
        for sessions in [1, 0] {
            let revoked = answer(store.revoke_token(id, now()).await);
            expect_covered(revoked, sessions, [first.reported(), login.reported()], "a refresh token revoked");
            expect_revoked(store, &login.tokens, "the current pair of a revoked refresh token's session").await;
            expect_revoked(store, &first.tokens[..1], "the access token before in a revoked refresh token's session")
                .await;
            assert!(stored_session(store, &login).await.revoked, "the session of a revoked refresh token");
        }
    }
}

/// A revoked single-use token is refused, and its session lives.
pub async fn single_use_token_is_revoked_alone(store: &impl TokenStore, users: Users) {
    let login = Login::opened(store, &users.new_user()).await;
    let token = login.single_use(now());
    let _ = answer(store.record_token(token.clone()).await);
    for _ in 0..2 {
        expect_covered(answer(store.revoke_token(token.token_id, now()).await), 0, [], "a single-use token revoked");
    }
    assert_eq!(
        answer(store.consume(token.token_id, (&token).into(), now()).await),
        Consumed::Refused,
        "a revoked single-use token"
    );
    expect_revoked(store, &[token], "after a single-use token was revoked").await;
    expect_active(store, &login.tokens, "beside a revoked single-use token").await;
    assert_eq!(stored_session(store, &login).await, login.session, "the session of a revoked single-use token");
}

/// Revoking a session marks it and revokes every token of it: each pair, old and new, and what else
/// was recorded.
///
/// The answer names its access tokens that have not expired, also in a repeated call, and also
/// those revoked one by one before.
pub async fn session_revokes_all_its_tokens(store: &impl TokenStore, users: Users) {
    let user = users.new_user();
    let bystander = Login::opened(store, &user).await;
    let at = now();
    let mut login = Login::new(&user, earlier(at, ACCESS_LIFE / 2)).admit(store).await;
    let first = login.clone();
    login.rotate(store, at).await;
    let single = login.single_use(at);
    assert_eq!(answer(store.record_token(single.clone()).await), Admission::Admitted, "a token of a live session");
    fill_cache(store, [&first, &login]).await;
    let _ = answer(store.revoke_token(first.access(), at).await);

    for sessions in [1, 0] {
        let revoked = answer(store.revoke_session(login.id(), at).await);
        expect_covered(revoked, sessions, [first.reported(), login.reported()], "a session revoked");
        expect_revoked(store, &first.tokens[..1], "the first access token of a revoked session").await;
        expect_revoked(store, &login.tokens, "the current pair of a revoked session").await;
        expect_revoked(store, std::slice::from_ref(&single), "a single-use token of a revoked session").await;
        assert!(stored_session(store, &login).await.revoked, "a session after its revocation");
    }
    let expiry = first.session.current.access_expires_at;
    let before = earlier(expiry, MILLISECOND);
    let all = [first.reported(), login.reported()];
    expect_covered(answer(store.revoke_session(login.id(), before).await), 0, all, "just before the first one expires");
    let revoked = answer(store.revoke_session(login.id(), expiry).await);
    expect_covered(revoked, 0, [login.reported()], "when the first one has expired");
    let revoked = answer(store.revoke_session(login.id(), later(at, ACCESS_LIFE)).await);
    expect_covered(revoked, 0, [], "when both have expired");

    assert_eq!(stored_session(store, &bystander).await, bystander.session, "another session of the same user");
    expect_active(store, &bystander.tokens, "in another session of the same user").await;
}

/// Revoking a user revokes all sessions except the one named, which can still be refreshed. Other
/// users are not touched. The fence rises each time.
pub async fn user_revokes_all_sessions_but_one(store: &impl TokenStore, users: Users) {
    let user = users.new_user();
    let stranger = Login::opened(store, &users.new_user()).await;
    let mut kept = Login::opened(store, &user).await;
    let doomed = [Login::opened(store, &user).await, Login::opened(store, &user).await];
    let reported = doomed.each_ref().map(Login::reported);
    fill_cache(store, doomed.iter().chain([&kept])).await;
    for sessions in [2, 0] {
        let before = answer(store.user_fence(user.clone()).await);
        let revoked = answer(store.revoke_user(user.clone(), Some(kept.id()), now()).await);
        expect_covered(revoked, sessions, reported, "a user revoked except for one session");
        assert!(answer(store.user_fence(user.clone()).await).epoch > before.epoch, "each revocation raises the fence");
        for login in &doomed {
            expect_revoked(store, &login.tokens, "a session of a revoked user").await;
            let expected = Session { revoked: true, ..login.session.clone() };
            assert_eq!(stored_session(store, login).await, expected, "a session of a revoked user");
        }
        expect_active(store, &kept.tokens, "in the session excepted").await;
        kept.rotate(store, now()).await;
    }
    let mut listed = answer(store.sessions(user.clone(), now()).await);
    assert_eq!(listed.pop().map(|session| session.session_id), Some(kept.id()), "the session excepted is listed");
    assert_eq!(listed, [], "sessions of a revoked user");

    fill_cache(store, [&kept]).await;
    let revoked = answer(store.revoke_user(user.clone(), None, now()).await);
    assert_eq!(revoked.sessions, 1, "the session excepted before");
    expect_revoked(store, &kept.tokens, "after all sessions were revoked").await;
    expect_active(store, &stranger.tokens, "another user's").await;
    assert_eq!(stored_session(store, &stranger).await, stranger.session, "another user's session");
}

/// A session is revoked for a reuse only if its current refresh token is the one that was read.
/// Otherwise nothing happens.
///
/// It covers what a revocation covers, and again when it is repeated.
pub async fn reuse_revokes_only_the_session_that_was_read(store: &impl TokenStore, users: Users) {
    let mut login = Login::opened(store, &users.new_user()).await;
    let first = login.clone();
    login.rotate(store, now()).await;
    fill_cache(store, [&first, &login]).await;
    let stranger = Login::new(&login.session.user_id, now());
    let session = stored_session(store, &login).await;
    for other in [first.refresh(), login.access(), stranger.refresh()] {
        assert_eq!(answer(store.revoke_for_reuse(login.id(), other, now()).await), None, "a session that has moved on");
        assert_eq!(stored_session(store, &login).await, session, "a session that was not revoked");
        expect_active(store, &login.tokens, "in a session that was not revoked").await;
    }
    let unknown = answer(store.revoke_for_reuse(stranger.id(), stranger.refresh(), now()).await);
    assert_eq!(unknown, None, "an unknown session");

    for sessions in [1, 0] {
        let revoked = answer(store.revoke_for_reuse(login.id(), login.refresh(), now()).await);
        let revoked = revoked.expect("the session is as it was read");
        expect_covered(revoked, sessions, [first.reported(), login.reported()], "a reuse");
        expect_revoked(store, &first.tokens[..1], "the first access token of a session revoked for reuse").await;
        expect_revoked(store, &login.tokens, "the current pair of a session revoked for reuse").await;
        assert!(stored_session(store, &login).await.revoked, "a session revoked for reuse");
    }
}

/// A revocation for reuse beside a rotation comes first, and the rotation is lost, or comes second,
/// and does nothing.
pub async fn reuse_never_revokes_a_session_that_was_refreshed<S: TokenStore>(store: &Arc<S>, users: Users) {
    rounds(move |round| revoke_for_reuse_beside_a_rotation(Arc::clone(store), users, round)).await;
}

async fn revoke_for_reuse_beside_a_rotation<S: TokenStore>(store: Arc<S>, users: Users, round: usize) {
    let login = Login::opened(&*store, &users.new_user()).await;
    let (session, current, rotation) = (login.id(), login.refresh(), login.rotation(now()));
    let (rotator, child) = (Arc::clone(&store), rotation.clone());
    let revoker = Arc::clone(&store);
    // True if the call did what it was asked to do.
    let mut tasks: [BoxedTask<(&str, bool)>; 2] = [
        Box::pin(async move { ("rotated", answer(rotator.rotate(child).await) == Rotated::Committed) }),
        Box::pin(async move { ("revoked", answer(revoker.revoke_for_reuse(session, current, now()).await).is_some()) }),
    ];
    tasks.rotate_left(round % 2);
    let ends = at_once(tasks).await;
    if ends.contains(&("rotated", true)) {
        assert!(ends.contains(&("revoked", false)), "a session that has moved on: {ends:?}");
        expect_active(&*store, &rotation.tokens, "the next pair").await;
    } else {
        assert!(ends.contains(&("revoked", true)), "a session that has not moved on: {ends:?}");
        expect_revoked(&*store, &login.tokens, "the pair of a session revoked for reuse").await;
        expect_not_active(&*store, &rotation.tokens, "a rotation that lost against a revocation for reuse").await;
    }
}

/// A store that revokes in steps names what is to be settled, also in a repeated call, and accepts
/// the same settlement twice.
///
/// Any other store names nothing, and has nothing to resume.
pub async fn unsettled_revocations_are_named_and_settled(store: &impl TokenStore, users: Users) {
    let login = Login::opened(store, &users.new_user()).await;
    let (user, access, refresh) = (login.session.user_id.clone(), login.access(), login.refresh());
    for again in [false, true] {
        let of_token = answer(store.revoke_token(access, now()).await).unsettled;
        let of_refresh_token = answer(store.revoke_token(refresh, now()).await).unsettled;
        let of_session = answer(store.revoke_session(login.id(), now()).await).unsettled;
        let of_user = answer(store.revoke_user(user.clone(), None, now()).await).unsettled;
        let of_disabling = answer(store.set_user_disabled(user.clone(), true, now()).await).unsettled;
        if store.revokes_in_steps() {
            assert_eq!(of_token, Some(Revocation::Token(access)), "again: {again}");
            assert_eq!(of_refresh_token, Some(Revocation::Session(login.id())), "again: {again}");
            assert_eq!(of_session, of_refresh_token, "again: {again}");
            for of_all in [&of_user, &of_disabling] {
                assert!(
                    matches!(of_all, Some(Revocation::User(whose, _)) if *whose == user),
                    "{of_all:?}, again: {again}"
                );
            }
            assert_ne!(of_user, of_disabling, "each revocation of a user has an identifier of its own");
        } else {
            for unsettled in [&of_token, &of_refresh_token, &of_session, &of_user, &of_disabling] {
                assert_eq!(*unsettled, None, "again: {again}");
            }
            assert_eq!(answer(store.resume(now()).await), [], "one transaction cannot break off");
        }
        for revocation in [of_token, of_session, of_user.clone(), of_user, of_disabling].into_iter().flatten() {
            answer(store.settle(revocation).await);
        }
    }
    expect_revoked(store, &login.tokens, "after their revocation was settled").await;
}

/// Each of several concurrent revocations of one user raises the fence. A sign-in that began
/// between two of them is fenced.
pub async fn user_revocation_always_raises_the_fence<S: TokenStore>(store: &Arc<S>, users: Users) {
    rounds(move |round| revoke_a_user_twice(Arc::clone(store), users, round)).await;
}

async fn revoke_a_user_twice<S: TokenStore>(store: Arc<S>, users: Users, round: usize) {
    let user = users.new_user();
    let login = Login::opened(&*store, &user).await;
    let before = answer(store.user_fence(user.clone()).await).epoch;
    let tasks = (0..2).map(|which| {
        let (store, user, disables) = (Arc::clone(&store), user.clone(), which == 1 && round.is_multiple_of(2));
        async move {
            answer(if disables {
                store.set_user_disabled(user, true, now()).await
            } else {
                store.revoke_user(user, None, now()).await
            })
        }
    });
    let sessions: u64 = at_once(tasks).await.iter().map(|revoked| revoked.sessions).sum();
    assert_eq!(sessions, 1, "sessions that two revocations of their user turned from active to revoked");
    expect_revoked(&*store, &login.tokens, "of a user who was revoked twice").await;
    let after = answer(store.user_fence(user).await).epoch;
    assert!(after >= before + 2, "two revocations of a user raise the fence twice: from {before} to {after}");
}

/// Each of many concurrent revocations of one session names its access tokens, and one of them
/// counts the session.
pub async fn concurrent_revocations_count_the_session_once<S: TokenStore>(store: &Arc<S>, users: Users) {
    let login = Login::opened(&**store, &users.new_user()).await;
    let revocations = at_once((0..16).map(|_| {
        let (store, session) = (Arc::clone(store), login.id());
        async move { answer(store.revoke_session(session, now()).await) }
    }))
    .await;
    let turned: u64 = revocations.iter().map(|revoked| revoked.sessions).sum();
    assert_eq!(turned, 1, "calls that turned the session from active to revoked");
    for revoked in revocations {
        let sessions = revoked.sessions;
        expect_covered(revoked, sessions, [login.reported()], "one of many revocations");
    }
    expect_revoked(&**store, &login.tokens, "after many revocations").await;
}

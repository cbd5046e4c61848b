//! The fence that a sign-in must pass.

use std::sync::Arc;

use super::fixture::{
    BoxedTask, Login, MINUTE, Users, answer, at_once, expect_active, expect_covered, expect_not_active, expect_revoked,
    fill_cache, new_key, now, payload, rounds, stored_session,
};
use crate::{
    clock::later,
    store::{Admission, TokenStore, UserFence},
};

/// A sign-in that began before the user was revoked is fenced and leaves nothing. So is one under
/// an epoch that never was.
pub async fn passed_epoch_is_fenced(store: &impl TokenStore, users: Users) {
    let user = users.new_user();
    let before = answer(store.user_fence(user.clone()).await);
    let _ = answer(store.revoke_user(user.clone(), None, now()).await);
    let after = answer(store.user_fence(user.clone()).await);
    assert!(after.epoch > before.epoch && !after.disabled, "revoking a user raises the fence: {before:?}, {after:?}");

    for epoch in [before.epoch, after.epoch + 1] {
        let login = Login::new(&user, now());
        let admission = answer(store.open_session(login.session.clone(), login.tokens.clone(), epoch).await);
        assert_eq!(admission, Admission::Fenced, "a sign-in under epoch {epoch} where {} stands", after.epoch);
        expect_not_active(store, &login.tokens, "after a fenced sign-in").await;
        let session = answer(store.session_for_refresh(login.id(), login.refresh(), now()).await);
        assert_eq!(session.filter(|(session, _)| !session.revoked), None, "a fenced sign-in leaves no live session");
        assert_eq!(answer(store.sessions(user.clone(), now()).await), [], "a fenced sign-in is no session");
    }
    let login = Login::opened(store, &user).await;
    expect_active(store, &login.tokens, "after a sign-in under the new epoch").await;
}

/// A repeated sign-in, after a lost answer, changes nothing. What has happened to the session and
/// its tokens since stands.
pub async fn repeated_sign_in_revives_nothing(store: &impl TokenStore, users: Users) {
    let mut login = Login::new(&users.new_user(), now()).admit(store).await;
    let first = login.clone();
    assert_eq!(first.open(store).await, Admission::Admitted, "a sign-in called again");
    expect_active(store, &first.tokens, "after a sign-in called again").await;
    login.rotate(store, now()).await;
    let _ = answer(store.revoke_token(first.access(), now()).await);
    let session = stored_session(store, &login).await;
    let _ = first.open(store).await;
    assert_eq!(stored_session(store, &login).await, session, "a session whose sign-in was called again");
    expect_revoked(store, &first.tokens[..1], "revoked before its sign-in was called again").await;

    let _ = answer(store.revoke_session(login.id(), now()).await);
    assert_eq!(first.open(store).await, Admission::Fenced, "the sign-in of a revoked session called again");
    assert!(stored_session(store, &login).await.revoked, "a revoked session whose sign-in was called again");
    for tokens in [&first.tokens[..1], &login.tokens] {
        expect_revoked(store, tokens, "of a revoked session whose sign-in was called again").await;
    }
    assert_eq!(answer(store.sessions(login.session.user_id.clone(), now()).await), [], "revoked sessions");
}

/// Disabling a user revokes and fences every sign-in. Enabling admits new ones and brings nothing
/// back.
pub async fn disabled_user_is_fenced(store: &impl TokenStore, users: Users) {
    let user = users.new_user();
    let old = Login::opened(store, &user).await;
    let first = answer(store.user_fence(user.clone()).await);
    fill_cache(store, [&old]).await;
    let revoked = answer(store.set_user_disabled(user.clone(), true, now()).await);
    expect_covered(revoked, 1, [old.reported()], "disabling a user");
    expect_revoked(store, &old.tokens, "after the user was disabled").await;

    let disabled = answer(store.user_fence(user.clone()).await);
    assert!(disabled.disabled && disabled.epoch > first.epoch, "the fence of a disabled user: {disabled:?}");
    let refused = Login::new(&user, now());
    let admission = answer(store.open_session(refused.session.clone(), refused.tokens.clone(), disabled.epoch).await);
    assert_eq!(admission, Admission::Fenced, "a disabled user's sign-in");
    expect_not_active(store, &refused.tokens, "after a disabled user's sign-in").await;

    let _ = answer(store.set_user_disabled(user.clone(), false, now()).await);
    let enabled = answer(store.user_fence(user.clone()).await);
    assert!(!enabled.disabled && enabled.epoch > first.epoch, "the fence of a user enabled again: {enabled:?}");
    expect_revoked(store, &old.tokens, "after the user was enabled again").await;
    let stale = Login::new(&user, now());
    let admission = answer(store.open_session(stale.session, stale.tokens, first.epoch).await);
    assert_eq!(admission, Admission::Fenced, "a sign-in from before the user was disabled");
    let new = Login::opened(store, &user).await;
    expect_active(store, &new.tokens, "after an enabled user's sign-in").await;
}

/// Sign-ins beside a revocation of the user are fenced or found by it. When both have returned,
/// nothing issued under the old epoch is active.
pub async fn user_revocation_finds_every_sign_in<S: TokenStore>(store: &Arc<S>, users: Users) {
    rounds(move |round| sign_in_beside_a_revocation(Arc::clone(store), users, round)).await;
}

async fn sign_in_beside_a_revocation<S: TokenStore>(store: Arc<S>, users: Users, round: usize) {
    let user = users.new_user();
    let UserFence { epoch, .. } = answer(store.user_fence(user.clone()).await);
    let logins: Vec<Login> = (0..4).map(|_| Login::new(&user, now())).collect();
    let mut tasks: Vec<BoxedTask<Option<Admission>>> = Vec::new();
    for (number, login) in logins.iter().enumerate() {
        let (store, Login { session, tokens }) = (Arc::clone(&store), login.clone());
        if number.is_multiple_of(2) {
            tasks.push(Box::pin(async move { Some(answer(store.open_session(session, tokens, epoch).await)) }));
            continue;
        }
        let key = new_key();
        answer(store.put_one_time(key, payload(&[]), later(now(), MINUTE)).await);
        tasks.push(Box::pin(async move {
            let redeemed = answer(store.open_and_redeem(session, tokens, epoch, key, now()).await);
            Some(redeemed.map_or(Admission::Fenced, |_| Admission::Admitted))
        }));
    }
    let (revoker, whom) = (Arc::clone(&store), user.clone());
    tasks.insert(
        round % (logins.len() + 1),
        Box::pin(async move {
            let _ = answer(if round.is_multiple_of(2) {
                revoker.revoke_user(whom, None, now()).await
            } else {
                revoker.set_user_disabled(whom, true, now()).await
            });
            None
        }),
    );
    let admissions = at_once(tasks).await;
    for (login, admission) in logins.iter().zip(admissions.into_iter().flatten()) {
        match admission {
            Admission::Admitted => expect_revoked(&*store, &login.tokens, "admitted beside a revocation").await,
            Admission::Fenced => expect_not_active(&*store, &login.tokens, "fenced beside a revocation").await,
        }
    }
    assert_eq!(
        answer(store.sessions(user.clone(), now()).await),
        [],
        "sessions that outlived a revocation of their user"
    );
}

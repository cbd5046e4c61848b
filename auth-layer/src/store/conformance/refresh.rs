//! One parent has one child, and no child outlives a revocation.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::fixture::{
    ANY_TIME, BoxedTask, Login, MILLISECOND, MINUTE, Users, answer, at_once, expect_active, expect_not_active,
    expect_revoked, now, retired_at, rounds, stored_session,
};
use crate::{
    clock::later,
    store::{Retired, Rotated, Rotation, Session, TokenStatus, TokenStore, Verdict},
};

/// How many calls race for one parent.
const RACERS: usize = 64;

/// A rotation makes the child the current pair and the parent the previous refresh token, and
/// changes nothing else.
///
/// [`Session::judge`] gives the right verdicts on the result.
pub async fn rotation_replaces_the_pair(store: &impl TokenStore, users: Users) {
    let mut login = Login::opened(store, &users.new_user()).await;
    let mut expected = login.session.clone();
    let grace = Duration::from_secs(10);
    assert_eq!(expected.judge(login.refresh(), grace, now()), Verdict::Rotate);

    let mut retired = Vec::new();
    for turn in 1..=3 {
        let (parent, at) = (login.refresh(), now());
        login.rotate(store, at).await;
        expected.current = login.session.current.clone();
        expected.previous = Some(Retired { refresh_id: parent, at: ANY_TIME, delivered: false });
        expected.last_used_at = at;
        let mut session = stored_session(store, &login).await;
        assert_eq!(session, expected, "the session after rotation {turn}");
        expect_active(store, &login.tokens, "after a rotation").await;

        let at = retired_at(store, &login).await;
        let off = (at - expected.last_used_at).abs();
        assert!(off <= TimeDelta::seconds(10), "the parent was retired now, not {off} away by the caller's clock");
        session.previous = Some(Retired { refresh_id: parent, at, delivered: false });
        assert_eq!(session.judge(parent, grace, later(at, MINUTE)), Verdict::Repeat, "its child was not handed out");
        session.previous = Some(Retired { refresh_id: parent, at, delivered: true });
        assert_eq!(session.judge(login.refresh(), grace, at), Verdict::Rotate, "the child");
        let end = later(at, grace);
        assert_eq!(session.judge(parent, grace, later(at, grace.saturating_sub(MILLISECOND))), Verdict::Repeat);
        assert_eq!(session.judge(parent, grace, end), Verdict::Reuse, "the parent when its grace is over");
        assert_eq!(session.judge(parent, Duration::ZERO, at), Verdict::Reuse, "the parent where there is no grace");
        for old in &retired {
            assert_eq!(session.judge(*old, grace, at), Verdict::Reuse, "a token retired before the parent");
        }
        retired.push(parent);
    }
}

/// A rotation of any token but the session's current refresh token is lost and changes nothing.
pub async fn rotation_needs_the_current_token(store: &impl TokenStore, users: Users) {
    let mut login = Login::opened(store, &users.new_user()).await;
    let late = login.rotation(now());
    login.rotate(store, now()).await;
    let session = stored_session(store, &login).await;
    let stranger = Login::new(&login.session.user_id, now()).rotation(now());
    let access = Rotation { parent: login.access(), ..login.rotation(now()) };

    for (rotation, parent) in [(late, "a retired parent"), (stranger, "no session"), (access, "an access token")] {
        let tokens = rotation.tokens.clone();
        assert_eq!(answer(store.rotate(rotation).await), Rotated::Lost, "a rotation of {parent}");
        expect_not_active(store, &tokens, "after a lost rotation").await;
        assert_eq!(stored_session(store, &login).await, session, "the session after a rotation of {parent}");
        expect_active(store, &login.tokens, "the current pair after a lost rotation").await;
    }
}

/// Of many concurrent rotations of one parent, each with its own child, one commits. The tokens of
/// the others are not active.
pub async fn concurrent_rotations_have_one_child<S: TokenStore>(store: &Arc<S>, users: Users) {
    let login = Login::opened(&**store, &users.new_user()).await;
    let rotations: Vec<Rotation> = (0..RACERS).map(|_| login.rotation(now())).collect();
    let ends = race(store, &rotations).await;
    assert_eq!(winners(&ends), 1, "rotations of one parent that committed");
    for (rotation, end) in rotations.iter().zip(ends) {
        match end {
            Rotated::Committed => {
                assert_eq!(
                    stored_session(&**store, &login).await.current,
                    rotation.child,
                    "the winner's child is current"
                );
                expect_active(&**store, &rotation.tokens, "the winner of a race").await;
            }
            Rotated::Lost => expect_not_active(&**store, &rotation.tokens, "the loser of a race").await,
        }
    }
}

/// The same when all bring the same child, as nodes that derive it from the parent do. The losers
/// leave the winner's tokens alone.
pub async fn concurrent_rotations_to_one_child_leave_it_active<S: TokenStore>(store: &Arc<S>, users: Users) {
    let login = Login::opened(&**store, &users.new_user()).await;
    let rotation = login.rotation(now());
    let ends = race(store, &vec![rotation.clone(); RACERS]).await;
    assert_eq!(winners(&ends), 1, "rotations of one parent to one child that committed");
    assert_eq!(stored_session(&**store, &login).await.current, rotation.child, "the child that all brought is current");
    expect_active(&**store, &rotation.tokens, "the child that all brought").await;
}

/// A session's current pair can be confirmed while it is current and the session lives. Confirming
/// changes nothing.
pub async fn confirmation_needs_the_current_pair(store: &impl TokenStore, users: Users) {
    let mut login = Login::opened(store, &users.new_user()).await;
    let parent = login.refresh();
    let confirm = async |refresh| answer(store.confirm(login.id(), refresh).await);
    assert_eq!(confirm(parent).await, Rotated::Committed, "the first pair");
    assert_eq!(confirm(login.access()).await, Rotated::Lost, "an access token is no refresh token");
    assert_eq!(stored_session(store, &login).await, login.session, "a session after a confirmation");
    let unknown = Login::new(&users.new_user(), now());
    assert_eq!(answer(store.confirm(unknown.id(), unknown.refresh()).await), Rotated::Lost, "no session");

    login.rotate(store, now()).await;
    let confirm = async |refresh| answer(store.confirm(login.id(), refresh).await);
    assert_eq!(confirm(parent).await, Rotated::Lost, "a pair that was replaced");
    assert_eq!(confirm(login.refresh()).await, Rotated::Committed, "the pair that replaced it");
    let _ = answer(store.revoke_session(login.id(), now()).await);
    assert_eq!(confirm(login.refresh()).await, Rotated::Lost, "a pair of a revoked session");
}

/// A confirmation beside a rotation is made before it or lost. It does not disturb the rotation,
/// and afterwards only the child can be confirmed.
pub async fn confirmation_disturbs_no_rotation<S: TokenStore>(store: &Arc<S>, users: Users) {
    rounds(move |round| confirm_beside_a_rotation(Arc::clone(store), users, round)).await;
}

async fn confirm_beside_a_rotation<S: TokenStore>(store: Arc<S>, users: Users, round: usize) {
    let mut login = Login::opened(&*store, &users.new_user()).await;
    login.rotate(&*store, now()).await;
    let (session, current, rotation) = (login.id(), login.refresh(), login.rotation(now()));
    let (rotator, child) = (Arc::clone(&store), rotation.clone());
    let confirmer = Arc::clone(&store);
    let mut tasks: [BoxedTask<Option<Rotated>>; 2] = [
        Box::pin(async move { Some(answer(rotator.rotate(child).await)) }),
        Box::pin(async move {
            let _ = answer(confirmer.confirm(session, current).await);
            None
        }),
    ];
    tasks.rotate_left(round % 2);
    assert!(at_once(tasks).await.contains(&Some(Rotated::Committed)), "a rotation beside a confirmation");
    assert_eq!(answer(store.confirm(session, current).await), Rotated::Lost, "a pair that was replaced");
    assert_eq!(answer(store.confirm(session, rotation.child.refresh_id).await), Rotated::Committed, "what replaced it");
    let now_held = stored_session(&*store, &login).await;
    assert_eq!(now_held.current, rotation.child, "the current pair after a rotation beside a confirmation");
    assert_eq!(now_held.previous.map(|previous| previous.refresh_id), Some(current), "the previous one");
    expect_active(&*store, &rotation.tokens, "the next pair after a rotation beside a confirmation").await;
}

/// A delivery is recorded for the current pair once it has replaced another, and is gone with the
/// next rotation.
///
/// A note about any other pair changes nothing, and no note changes anything else.
pub async fn delivery_note_applies_to_the_current_pair_only(store: &impl TokenStore, users: Users) {
    let mut login = Login::opened(store, &users.new_user()).await;
    let stranger = Login::new(&login.session.user_id, now());
    let note = async |login: &Login, refresh| answer(store.note_delivered(login.id(), refresh, now()).await);
    note(&login, login.refresh()).await;
    assert_eq!(stored_session(store, &login).await, login.session, "the first pair replaced none");
    note(&stranger, stranger.refresh()).await;
    assert_eq!(answer(store.session_for_refresh(stranger.id(), stranger.refresh(), now()).await), None, "no session");

    for turn in 1..=2 {
        let parent = login.refresh();
        login.rotate(store, now()).await;
        let rotated = stored_session(store, &login).await;
        let delivered = |delivered| Some(Retired { refresh_id: parent, at: ANY_TIME, delivered });
        assert_eq!(rotated.previous, delivered(false), "rotation {turn} hands nothing out");
        for other in [parent, login.access(), stranger.refresh()] {
            note(&login, other).await;
            assert_eq!(stored_session(store, &login).await, rotated, "a note of what is not the current refresh token");
        }
        for _ in 0..2 {
            note(&login, login.refresh()).await;
            let expected = Session { previous: delivered(true), ..rotated.clone() };
            assert_eq!(stored_session(store, &login).await, expected, "a note of pair {turn}");
        }
        expect_active(store, &login.tokens, "a pair that was handed out").await;
    }
    let _ = answer(store.revoke_session(login.id(), now()).await);
    let revoked = stored_session(store, &login).await;
    note(&login, login.refresh()).await;
    assert_eq!(stored_session(store, &login).await, revoked, "a revoked session after a note");
}

/// The grace window starts with the first recorded delivery, not with the rotation.
pub async fn grace_window_starts_at_the_first_delivery(store: &impl TokenStore, users: Users) {
    let mut login = Login::opened(store, &users.new_user()).await;
    let (parent, rotated) = (login.refresh(), now());
    login.rotate(store, rotated).await;
    let answered = later(rotated, 2 * MINUTE);
    answer(store.note_delivered(login.id(), login.refresh(), answered).await);
    let (session, _) =
        answer(store.session_for_refresh(login.id(), parent, answered).await).expect("the session is there");
    assert_eq!(session.judge(parent, MINUTE, answered), Verdict::Repeat, "just after the first answer");
    assert_eq!(session.judge(parent, MINUTE, later(answered, 2 * MINUTE)), Verdict::Reuse, "long after it");
}

/// A second delivery of a pair leaves the grace window where the first one set it.
pub async fn repeated_delivery_note_leaves_the_window_alone(store: &impl TokenStore, users: Users) {
    let mut login = Login::opened(store, &users.new_user()).await;
    let (parent, rotated) = (login.refresh(), now());
    login.rotate(store, rotated).await;
    let answered = later(rotated, 2 * MINUTE);
    answer(store.note_delivered(login.id(), login.refresh(), answered).await);
    let first = retired_at(store, &login).await;
    for again in [later(answered, 2 * MINUTE), answered, rotated] {
        answer(store.note_delivered(login.id(), login.refresh(), again).await);
        let session = stored_session(store, &login).await;
        assert!(session.previous.is_some_and(|previous| previous.delivered), "a pair noted again");
        // A store with its own clock converts the moment to ours, and may be some milliseconds off.
        let moved = (retired_at(store, &login).await - first).abs();
        assert!(moved < TimeDelta::seconds(10), "a second note moved the window by {moved}");
    }
    let (session, _) =
        answer(store.session_for_refresh(login.id(), parent, now()).await).expect("the session is there");
    let end = later(first, MINUTE + Duration::from_secs(10));
    assert_eq!(session.judge(parent, MINUTE, end), Verdict::Reuse, "when the window of the first note is over");
}

/// A late note, beside the rotation that replaces its pair, does not apply to the next pair.
pub async fn late_delivery_note_never_applies_to_the_next_pair<S: TokenStore>(store: &Arc<S>, users: Users) {
    rounds(move |round| note_beside_a_rotation(Arc::clone(store), users, round)).await;
}

async fn note_beside_a_rotation<S: TokenStore>(store: Arc<S>, users: Users, round: usize) {
    let mut login = Login::opened(&*store, &users.new_user()).await;
    login.rotate(&*store, now()).await;
    let (session, current, rotation) = (login.id(), login.refresh(), login.rotation(now()));
    let (rotator, noter) = (Arc::clone(&store), Arc::clone(&store));
    let mut tasks: [BoxedTask<Option<Rotated>>; 2] = [
        Box::pin(async move { Some(answer(rotator.rotate(rotation).await)) }),
        Box::pin(async move {
            answer(noter.note_delivered(session, current, now()).await);
            None
        }),
    ];
    tasks.rotate_left(round % 2);
    assert!(at_once(tasks).await.contains(&Some(Rotated::Committed)), "a rotation beside a note");
    let expected = Retired { refresh_id: current, at: ANY_TIME, delivered: false };
    assert_eq!(
        stored_session(&*store, &login).await.previous,
        Some(expected),
        "nobody was given the child of this rotation"
    );
}

/// A rotation in a revoked session is lost, and leaves nothing active.
pub async fn rotation_in_a_revoked_session_is_lost(store: &impl TokenStore, users: Users) {
    let login = Login::opened(store, &users.new_user()).await;
    let _ = answer(store.revoke_session(login.id(), now()).await);
    let session = stored_session(store, &login).await;
    assert_eq!(session, Session { revoked: true, ..login.session.clone() }, "a session after its revocation");
    assert_eq!(session.judge(login.refresh(), MINUTE, now()), Verdict::Revoked);

    let rotation = login.rotation(now());
    assert_eq!(answer(store.rotate(rotation.clone()).await), Rotated::Lost, "a rotation after the revocation");
    expect_not_active(store, &rotation.tokens, "after a rotation in a revoked session").await;
    assert_eq!(stored_session(store, &login).await, session, "a revoked session after a rotation");
    let (_, status) =
        answer(store.session_for_refresh(login.id(), login.refresh(), now()).await).expect("the session is there");
    assert_eq!(status, TokenStatus::Revoked, "the refresh token of a revoked session");
}

/// A refresh beside a revocation is lost or found by it.
///
/// The revocation is of the presented refresh token, of its session, of its user, or by disabling
/// the user. When both have returned, the session is revoked, and neither access token nor the
/// current refresh token is active. A repeated revocation names the access tokens of both pairs.
pub async fn revocation_finds_every_refresh<S: TokenStore>(store: &Arc<S>, users: Users) {
    rounds(move |round| refresh_beside_a_revocation(Arc::clone(store), users, round)).await;
}

async fn refresh_beside_a_revocation<S: TokenStore>(store: Arc<S>, users: Users, round: usize) {
    let login = Login::opened(&*store, &users.new_user()).await;
    let (session, refresh, user) = (login.id(), login.refresh(), login.session.user_id.clone());
    let rotation = login.rotation(now());
    let (rotator, child) = (Arc::clone(&store), rotation.clone());
    let revoker = Arc::clone(&store);
    let mut tasks: [BoxedTask<Option<Rotated>>; 2] = [
        Box::pin(async move { Some(answer(rotator.rotate(child).await)) }),
        Box::pin(async move {
            let _ = answer(match round / 2 % 4 {
                0 => revoker.revoke_session(session, now()).await,
                1 => revoker.revoke_user(user.clone(), None, now()).await,
                2 => revoker.set_user_disabled(user.clone(), true, now()).await,
                _ => revoker.revoke_token(refresh, now()).await,
            });
            None
        }),
    ];
    tasks.rotate_left(round % 2);
    let ends = at_once(tasks).await;
    expect_revoked(&*store, &login.tokens[..1], "the parent's access token").await;
    let mut reported = vec![login.reported()];
    if ends.contains(&Some(Rotated::Committed)) {
        // The parent is retired: its session decides.
        expect_revoked(&*store, &rotation.tokens, "a pair committed beside a revocation").await;
        reported.push((rotation.child.access_id, rotation.child.access_expires_at));
    } else {
        expect_revoked(&*store, &login.tokens, "the parent's pair").await;
        expect_not_active(&*store, &rotation.tokens, "a pair that lost against a revocation").await;
    }
    assert!(stored_session(&*store, &login).await.revoked, "the session that was revoked beside a refresh");
    let again = answer(store.revoke_session(session, now()).await);
    for token in &reported {
        assert!(again.access_tokens.contains(token), "a repeated revocation names {token:?}: {again:?}");
    }
    assert_eq!(again.sessions, 0, "a session is revoked once");
}

async fn race<S: TokenStore>(store: &Arc<S>, rotations: &[Rotation]) -> Vec<Rotated> {
    at_once(rotations.iter().cloned().map(|rotation| {
        let store = Arc::clone(store);
        async move { answer(store.rotate(rotation).await) }
    }))
    .await
}

fn winners(ends: &[Rotated]) -> usize {
    ends.iter().filter(|end| **end == Rotated::Committed).count()
}

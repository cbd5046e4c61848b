//! The list of a user's sessions.

use super::fixture::{Login, MILLISECOND, MINUTE, Users, answer, now, stored_session};
use crate::{
    clock::{earlier, later},
    id::SessionId,
    store::TokenStore,
};

/// A user's sessions are listed newest first, complete, until they are revoked or expire. A refresh
/// extends a session.
pub async fn sessions_are_listed_while_they_live(store: &impl TokenStore, users: Users) {
    let (user, start) = (users.new_user(), now());
    let stranger = Login::opened(store, &users.new_user()).await;
    let mut logins = Vec::new();
    for minutes in [3, 1, 4, 2] {
        logins.push(Login::new(&user, later(start, minutes * MINUTE)).admit(store).await);
    }
    logins.sort_by_key(|login| std::cmp::Reverse(login.session.created_at));
    let expected: Vec<_> = logins.iter().map(|login| login.session.clone()).collect();
    assert_eq!(answer(store.sessions(user.clone(), start).await), expected, "the sessions of a user, newest first");

    let _ = answer(store.revoke_session(logins[1].id(), start).await);
    assert_eq!(listed(store, &logins, start).await, [0, 2, 3], "one of four sessions is revoked");
    let end = logins[3].session.expires_at();
    assert_eq!(listed(store, &logins, earlier(end, MILLISECOND)).await, [0, 2, 3], "just before the oldest expires");
    assert_eq!(listed(store, &logins, end).await, [0, 2], "when the oldest has expired");

    logins[3].rotate(store, later(start, 5 * MINUTE)).await;
    assert_eq!(listed(store, &logins, end).await, [0, 2, 3], "when the oldest was refreshed");
    assert_eq!(
        stored_session(store, &logins[3]).await.expires_at(),
        logins[3].session.expires_at(),
        "the end of a refreshed session"
    );
    let end = logins[0].session.expires_at();
    assert_eq!(listed(store, &logins, end).await, [3], "a refreshed session lasts the longest, and keeps its place");
    assert_eq!(
        answer(store.sessions(stranger.session.user_id.clone(), start).await),
        [stranger.session],
        "another user's"
    );
}

/// With a new session, the live sessions that were used longest ago are surplus. A refresh is a
/// use.
pub async fn sessions_used_longest_ago_are_surplus(store: &impl TokenStore, users: Users) {
    let (user, start) = (users.new_user(), now());
    Login::opened(store, &users.new_user()).await;
    let mut logins = Vec::new();
    for minutes in [1, 2, 3, 4, 5] {
        logins.push(Login::new(&user, later(start, minutes * MINUTE)).admit(store).await);
    }
    let _ = answer(store.revoke_session(logins[1].id(), start).await);
    logins[0].rotate(store, later(start, 6 * MINUTE)).await;
    let new = Login::new(&user, start).admit(store).await;
    let surplus = async |keep: usize, at| answer(store.surplus_sessions(user.clone(), new.id(), keep, at).await);
    // From the one used longest ago: 2, 3, 4, and 0, which was refreshed.
    let [second, third, fourth, refreshed] = [2, 3, 4, 0].map(|at: usize| logins[at].id());
    assert_eq!(surplus(0, start).await, [second, third, fourth, refreshed], "all are too many but the new one");
    assert_eq!(surplus(1, start).await, [second, third, fourth], "a refresh is a use");
    assert_eq!(surplus(3, start).await, [second], "the one used longest ago");
    for keep in [4, 100, usize::MAX] {
        assert_eq!(surplus(keep, start).await, [], "none is too many of {keep}");
    }
    let end = logins[2].session.expires_at();
    assert_eq!(surplus(0, end).await, [third, fourth, refreshed], "one that has expired is no session any more");
}

/// Of sessions with the same times, the one with the greater identifier is newer and was used
/// later.
pub async fn sessions_with_equal_times_are_ordered_by_id(store: &impl TokenStore, users: Users) {
    let (user, at) = (users.new_user(), now());
    let mut logins = Vec::new();
    for _ in 0..4 {
        logins.push(Login::new(&user, at));
    }
    // Not in the order of creation.
    logins.reverse();
    for login in &logins {
        assert_eq!(login.open(store).await, crate::store::Admission::Admitted, "a sign-in under the fence that stands");
    }
    let mut expected: Vec<SessionId> = logins.iter().map(Login::id).collect();
    expected.sort();
    let new = Login::opened(store, &user).await;
    let surplus = answer(store.surplus_sessions(user.clone(), new.id(), 1, at).await);
    assert_eq!(
        surplus,
        expected[..3],
        "of sessions used at one time the one with the greatest identifier was used last"
    );
    expected.reverse();
    let _ = answer(store.revoke_session(new.id(), at).await);
    let listed = answer(store.sessions(user, at).await);
    assert_eq!(listed.into_iter().map(|session| session.session_id).collect::<Vec<_>>(), expected, "the newest first");
}

/// Returns the positions of the listed logins, in the order of the list.
async fn listed(store: &impl TokenStore, logins: &[Login], at: crate::clock::Timestamp) -> Vec<usize> {
    let place = |id: SessionId| logins.iter().position(|login| login.id() == id);
    let sessions = answer(store.sessions(logins[0].session.user_id.clone(), at).await);
    sessions
        .into_iter()
        .map(|session| place(session.session_id).expect("only the user's sessions are listed"))
        .collect()
}

//! The list of a user's sessions.

use super::fixture::{Login, MILLISECOND, MINUTE, REFRESH_LIFE, Users, answer, now, payload, stored_session};
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

/// The live sessions of an OAuth client are listed in the order of their identifiers, those of all
/// its users and of no other client. No page skips one.
pub async fn sessions_of_a_client_are_listed_in_pages(store: &impl TokenStore, users: Users) {
    let start = now();
    let name = SessionId::generate();
    let clients = ["", "\u{e9} %_", "x"].map(|end| format!("{name}{end}"));
    let open = async |client: &str, users: Users| {
        let mut login = Login::new(&users.new_user(), start);
        login.session.payload = payload(&[("client_id", client)]);
        login.admit(store).await
    };
    let mut logins = Vec::new();
    // Those of the other clients are in between.
    for number in 0..15 {
        logins.push(open(&clients[number % 3], users).await);
    }
    logins.sort_by_key(Login::id);
    let ids = |client: &str, logins: &[Login]| -> Vec<SessionId> {
        logins.iter().filter(|login| login.session.client_id() == client).map(Login::id).collect()
    };
    let pages = async |client: &str, limit: usize, at| {
        let mut listed: Vec<SessionId> = Vec::new();
        loop {
            let page = store.sessions_of_client(client.to_owned(), listed.last().copied(), limit, at).await;
            let page = answer(page);
            assert!(page.len() <= limit, "a page of at most {limit} sessions has {}", page.len());
            let is_last = page.len() < limit;
            listed.extend(page);
            if is_last {
                return listed;
            }
        }
    };
    for client in &clients {
        for limit in [1, 2, 5, 6, usize::MAX] {
            let listed = pages(client, limit, start).await;
            assert_eq!(listed, ids(client, &logins), "the sessions of a client in pages of {limit}");
        }
        assert_eq!(answer(store.sessions_of_client(client.clone(), None, 0, start).await), [], "a page of none");
    }
    let unknown = pages(&SessionId::generate().to_string(), 2, start).await;
    assert_eq!(unknown, [], "the sessions of an unknown client");

    let client = &clients[0];
    let (revoked, refreshed) = {
        let mut own = logins.iter_mut().filter(|login| login.session.client_id() == client.as_str());
        (own.next().expect("it has five").id(), own.next().expect("it has five"))
    };
    let _ = answer(store.revoke_session(revoked, start).await);
    refreshed.rotate(store, later(start, MINUTE)).await;
    let refreshed = refreshed.id();
    logins.retain(|login| login.id() != revoked);
    assert_eq!(pages(client, 2, start).await, ids(client, &logins), "one session of a client is revoked");
    let end = later(start, REFRESH_LIFE);
    assert_eq!(pages(client, 2, earlier(end, MILLISECOND)).await, ids(client, &logins), "just before they expire");
    assert_eq!(pages(client, 2, end).await, [refreshed], "all have expired but the one that was refreshed");
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

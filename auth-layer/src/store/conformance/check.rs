//! What is recorded is what is read.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::fixture::{
    ANY_TIME, BoxedTask, DAY, Login, MINUTE, Users, answer, at_once, expect_active, expect_revoked, fill_cache, now,
    payload, records, rounds, stored_session,
};
use crate::{
    clock::later,
    id::{SessionId, Subject, TokenId},
    store::{ActiveToken, Consumed, Retired, Revoked, Session, TokenStatus, TokenStore, UserFence},
};

/// Absence is not failure: reading something that was never recorded returns nothing, and revoking
/// it is a success.
pub async fn unknown_ids_are_no_error(store: &impl TokenStore, users: Users) {
    let (token, session, user) = (TokenId::generate(), SessionId::generate(), users.new_user());
    answer(store.ping().await);
    assert_eq!(answer(store.token_status(token).await), TokenStatus::Unknown, "a token nobody recorded");
    assert_eq!(answer(store.user_fence(user.clone()).await), UserFence::default(), "the fence of a user nobody fenced");
    assert_eq!(answer(store.session_for_refresh(session, token, now()).await), None, "a session nobody opened");
    assert_eq!(answer(store.sessions(user.clone(), now()).await), [], "the sessions of a user who has none");
    assert_eq!(answer(store.revoke_token(token, now()).await), Revoked::default(), "an unknown token revoked");
    assert_eq!(answer(store.revoke_session(session, now()).await), Revoked::default(), "an unknown session revoked");

    let login = Login::opened(store, &user).await;
    let (_, status) =
        answer(store.session_for_refresh(login.id(), token, now()).await).expect("the session was opened");
    assert_eq!(status, TokenStatus::Unknown, "an unknown token that names a session");
}

/// The tokens of an admitted session are active, with the fields that were recorded.
pub async fn issued_tokens_are_active(store: &impl TokenStore, users: Users) {
    let login = Login::opened(store, &users.new_user()).await;
    expect_active(store, &login.tokens, "after the sign-in").await;
    let (session, status) =
        answer(store.session_for_refresh(login.id(), login.refresh(), now()).await).expect("the session was opened");
    assert_eq!(session, login.session, "the session that a refresh token names");
    assert_eq!(status, TokenStatus::Active((&login.tokens[1]).into()), "the refresh token that was presented");
}

/// Every field of a session comes back byte for byte, times to the millisecond, after the sign-in
/// and after a rotation.
///
/// A pair is signed again from what is stored, and must come out the same.
pub async fn every_session_field_round_trips(store: &impl TokenStore, users: Users) {
    let mut login = Login::new(&users.new_user(), now());
    let odd = "n\u{e4}her \"am\" \\ {\"a.b\": '\u{1f980}'}\t\r\n";
    login.session.last_used_at = later(login.session.created_at, Duration::from_millis(999));
    login.session.ends_at = later(login.session.created_at, 400 * DAY + Duration::from_millis(1));
    let members = [("client_id", odd), ("user_agent", ""), ("crit", "a b"), ("a", odd), ("b", "{}"), ("zz_9", "")];
    login.session.payload = payload(&members);
    let custom = "{ \"tenant\":\"\\u00e9\u{e9}\",\"b\":[1.0,1e2,18446744073709551615],\"a\":null}";
    let members = [("scope", "a$b.c"), ("custom", custom), ("kid", odd), ("sealed_signatures", "AP8H"), ("later", odd)];
    login.session.current.payload = payload(&members);
    let mut login = login.admit(store).await;
    assert_eq!(stored_session(store, &login).await, login.session, "a session with every field");

    let at = later(now(), MINUTE);
    let mut rotation = login.rotation(at);
    let members = [("scope", ""), ("custom", "{\"\":{}}"), ("kid", ""), ("sealed_signatures", ""), ("even_later", "")];
    rotation.child.payload = payload(&members);
    rotation.tokens = records(&login.session, &rotation.child);
    let _ = answer(store.rotate(rotation.clone()).await);
    login.session.current = rotation.child;
    let session = stored_session(store, &login).await;
    assert_eq!(session.current, login.session.current, "the pair after a rotation");
    for (name, text) in &login.session.current.payload {
        assert_eq!(session.current.payload.get(name), Some(text.as_str()), "`{name}` after a rotation");
    }
    assert_eq!(session.payload, login.session.payload, "what a rotation does not touch");
}

/// A session is read as it is: before and after a rotation, and when it is revoked. An unknown one
/// is `None`.
pub async fn session_read_returns_what_is_recorded(store: &impl TokenStore, users: Users) {
    let mut login = Login::opened(store, &users.new_user()).await;
    let read = async |login: &Login| {
        let session = answer(store.session(login.id(), now()).await).expect("the session was opened");
        let since = session.previous.map(|previous| previous.at);
        (Session { previous: session.previous.map(|it| Retired { at: ANY_TIME, ..it }), ..session }, since)
    };
    assert_eq!(read(&login).await, (login.session.clone(), None), "a session that was opened");
    login.rotate(store, now()).await;
    answer(store.note_delivered(login.id(), login.refresh(), now()).await);
    let (session, since) = read(&login).await;
    assert_eq!(session, stored_session(store, &login).await, "a session that was refreshed");
    let off = (since.expect("it was retired") - now()).abs();
    assert!(off <= TimeDelta::seconds(10), "the parent was retired now, not {off} away by the caller's clock");
    let _ = answer(store.revoke_session(login.id(), now()).await);
    assert_eq!(read(&login).await.0, Session { revoked: true, ..session }, "a session that is revoked");
    assert_eq!(answer(store.session(SessionId::generate(), now()).await), None, "a session nobody opened");
}

/// Subjects that differ in any character are different users: in case, in a trailing blank, in
/// Unicode normal form, or in the spelling of a UUID.
pub async fn similar_subjects_are_different_users(store: &impl TokenStore) {
    let uuid = Subject::generate().to_string();
    let name = format!("alice-{uuid}");
    let texts = [
        uuid.clone(),
        uuid.to_uppercase(),
        uuid.replace('-', ""),
        format!("{{{uuid}}}"),
        format!("urn:uuid:{uuid}"),
        name.clone(),
        name.to_uppercase(),
        format!("{name} "),
        format!(" {name}"),
        format!("{name}\u{e9}"),
        format!("{name}e\u{301}"),
        format!("{name}e"),
        format!("{name}%"),
        format!("{name}\0"),
    ];
    let users: Vec<Subject> = texts.iter().map(|text| text.parse().expect("a subject")).collect();
    let mut logins = Vec::new();
    for user in &users {
        logins.push(Login::opened(store, user).await);
    }
    for (at, user) in users.iter().enumerate() {
        let listed = answer(store.sessions(user.clone(), now()).await);
        assert_eq!(listed, [logins[at].session.clone()], "the sessions of {user:?}");
        expect_active(store, &logins[at].tokens, "of a user that others look like").await;
        let single = logins[at].single_use(now());
        let _ = answer(store.record_token(single.clone()).await);
        let other = ActiveToken { user_id: users[(at + 1) % users.len()].clone(), ..(&single).into() };
        let used = answer(store.consume(single.token_id, other, now()).await);
        assert_eq!(used, Consumed::Refused, "a token of {user:?} that names another user");
    }
    for (at, user) in users.iter().enumerate() {
        let revoked = answer(store.revoke_user(user.clone(), None, now()).await);
        assert_eq!(revoked.sessions, 1, "sessions of {user:?} revoked");
        expect_revoked(store, &logins[at].tokens, "of a user who was revoked").await;
        for (spared, login) in users.iter().zip(&logins).skip(at + 1) {
            expect_active(store, &login.tokens, "of a user who looks like one who was revoked").await;
            let fence = answer(store.user_fence(spared.clone()).await);
            assert_eq!(fence, UserFence::default(), "the fence of {spared:?} when {user:?} was revoked");
        }
    }
}

/// A check that begins after a revocation has returned finds the token revoked, however many checks
/// run beside it.
///
/// This holds for tokens that were checked before and for others.
pub async fn check_after_a_revocation_is_revoked<S: TokenStore>(store: &Arc<S>, users: Users) {
    rounds(move |round| check_beside_a_revocation(Arc::clone(store), users, round)).await;
}

async fn check_beside_a_revocation<S: TokenStore>(store: Arc<S>, users: Users, round: usize) {
    let login = Login::opened(&*store, &users.new_user()).await;
    let (access, refresh, session) = (login.access(), login.refresh(), login.id());
    let user = login.session.user_id.clone();
    if round.is_multiple_of(2) {
        fill_cache(&*store, [&login]).await;
    }
    let mut tasks: Vec<BoxedTask<()>> = Vec::new();
    for _ in 0..4 {
        let checker = Arc::clone(&store);
        tasks.push(Box::pin(async move {
            // Either answer is right here, but what it leaves in a cache must not be believed
            // later.
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
                3 => drop(answer(revoker.revoke_user(user.clone(), None, now()).await)),
                4 => drop(answer(revoker.set_user_disabled(user.clone(), true, now()).await)),
                _ => drop(answer(revoker.revoke_for_reuse(session, refresh, now()).await)),
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

//! A one-time record is redeemed once.

use std::sync::Arc;

use super::fixture::{
    Login, MILLISECOND, MINUTE, Users, answer, at_once, expect_active, expect_not_active, new_key, now, payload, rounds,
};
use crate::{
    clock::{earlier, later},
    id::SessionId,
    store::{OneTimeRecord, Payload, Redeemed, TokenStore},
};

/// Returns a payload with names and texts that no version knows.
fn odd_payload() -> Payload {
    let odd = "n\u{e4}her \"am\" \\ {\"a.b\": '\u{1f980}'}\t\r\n\u{0}";
    payload(&[("client_id", "$web.app"), ("crit", "later zz_9"), ("later", odd), ("scope", ""), ("zz_9", "{}")])
}

/// A record is read as it was put, byte for byte, and redeemed once. Each later call names the
/// session of the first.
///
/// An unknown key is no error. A reservation of the same key is something else.
pub async fn record_is_redeemed_once(store: &impl TokenStore) {
    let (key, now) = (new_key(), now());
    let [first, second] = [SessionId::generate(), SessionId::generate()];
    assert_eq!(answer(store.one_time(key, now).await), None, "a record that nobody put");
    assert_eq!(answer(store.redeem(key, first, now).await), Redeemed::Unknown, "a record that nobody put");
    let expires_at = later(now, MINUTE);
    assert!(answer(store.reserve(key, expires_at, now).await), "a reservation of the record's key");
    assert_eq!(answer(store.one_time(key, now).await), None, "a record under a key that is only reserved");

    answer(store.put_one_time(key, odd_payload(), expires_at).await);
    let record = OneTimeRecord { payload: odd_payload(), expires_at, redeemed_by: None };
    for _ in 0..2 {
        assert_eq!(answer(store.one_time(key, now).await), Some(record.clone()), "a record before it is redeemed");
    }
    let redeemed = answer(store.redeem(key, first, now).await);
    assert_eq!(redeemed, Redeemed::First(odd_payload()), "a record redeemed for the first time");
    let record = OneTimeRecord { redeemed_by: Some(first), ..record };
    for by in [second, first, second] {
        let redeemed = answer(store.redeem(key, by, now).await);
        assert_eq!(redeemed, Redeemed::Again(first), "a record redeemed again names the first session");
        assert_eq!(answer(store.one_time(key, now).await), Some(record.clone()), "a redeemed record");
    }
    assert!(!answer(store.reserve(key, expires_at, now).await), "the reservation when the record is redeemed");

    let other = new_key();
    answer(store.put_one_time(other, Payload::new(), expires_at).await);
    let redeemed = answer(store.redeem(other, second, now).await);
    assert_eq!(redeemed, Redeemed::First(Payload::new()), "another record, without a payload");
}

/// A record that is put again, after a lost answer, stays as it is: its payload, its expiry, and
/// whether it was redeemed.
pub async fn repeated_put_changes_nothing(store: &impl TokenStore) {
    let (key, now) = (new_key(), now());
    let (by, expires_at) = (SessionId::generate(), later(now, MINUTE));
    let put = async |payload: Payload, expires_at| answer(store.put_one_time(key, payload, expires_at).await);
    put(odd_payload(), expires_at).await;
    put(odd_payload(), expires_at).await;
    put(Payload::new(), later(expires_at, MINUTE)).await;
    let record = OneTimeRecord { payload: odd_payload(), expires_at, redeemed_by: None };
    assert_eq!(answer(store.one_time(key, now).await), Some(record), "a record that was put again");

    let redeemed = answer(store.redeem(key, by, now).await);
    assert_eq!(redeemed, Redeemed::First(odd_payload()), "a record that was put again");
    put(odd_payload(), expires_at).await;
    put(Payload::new(), later(expires_at, MINUTE)).await;
    let redeemed = answer(store.redeem(key, SessionId::generate(), now).await);
    assert_eq!(redeemed, Redeemed::Again(by), "a record that was put again after it was redeemed");
    assert_eq!(answer(store.one_time(key, expires_at).await), None, "putting it again does not extend it");
}

/// A record lives until just before its expiry, by the caller's time. Then it is unknown, redeemed
/// or not, and a late call changes nothing.
pub async fn expired_record_is_unknown(store: &impl TokenStore) {
    let (key, expires_at) = (new_key(), later(now(), MINUTE));
    let (first, second) = (SessionId::generate(), SessionId::generate());
    let last = earlier(expires_at, MILLISECOND);
    answer(store.put_one_time(key, odd_payload(), expires_at).await);
    for late in [expires_at, later(expires_at, MINUTE)] {
        assert_eq!(answer(store.one_time(key, late).await), None, "an expired record");
        assert_eq!(answer(store.redeem(key, first, late).await), Redeemed::Unknown, "an expired record");
    }
    let record = answer(store.one_time(key, last).await).expect("a record just before its expiry");
    assert_eq!(record.redeemed_by, None, "a record after calls that came too late");
    let redeemed = answer(store.redeem(key, second, last).await);
    assert_eq!(redeemed, Redeemed::First(odd_payload()), "a record just before its expiry");
    assert_eq!(answer(store.redeem(key, first, last).await), Redeemed::Again(second), "just before its expiry");
    assert_eq!(answer(store.one_time(key, expires_at).await), None, "a redeemed record that expired");
    assert_eq!(answer(store.redeem(key, first, expires_at).await), Redeemed::Unknown, "a redeemed record that expired");
}

/// Of many concurrent calls that redeem one record, one is the first. All others name its session.
pub async fn concurrent_redemptions_have_one_first<S: TokenStore>(store: &Arc<S>) {
    rounds(move |_| redeem_at_once(Arc::clone(store))).await;
}

async fn redeem_at_once<S: TokenStore>(store: Arc<S>) {
    let (key, now) = (new_key(), now());
    answer(store.put_one_time(key, odd_payload(), later(now, MINUTE)).await);
    let sessions: Vec<SessionId> = (0..8).map(|_| SessionId::generate()).collect();
    let redeemed = at_once(sessions.iter().map(|by| {
        let (store, by) = (Arc::clone(&store), *by);
        async move { answer(store.redeem(key, by, now).await) }
    }))
    .await;
    let is_first = |redeemed: &Redeemed| matches!(redeemed, Redeemed::First(_));
    let firsts = redeemed.iter().filter(|redeemed| is_first(redeemed)).count();
    assert_eq!(firsts, 1, "concurrent redemptions of one record that were the first");
    let first = sessions[redeemed.iter().position(is_first).unwrap_or_default()];
    for redeemed in redeemed {
        let expected = if is_first(&redeemed) { Redeemed::First(odd_payload()) } else { Redeemed::Again(first) };
        assert_eq!(redeemed, expected, "one of several concurrent redemptions");
    }
    assert_eq!(answer(store.redeem(key, SessionId::generate(), now).await), Redeemed::Again(first), "one more");
}

/// A session opens with its record. Each later call names the session of the first, and changes
/// nothing of it. A fenced call redeems nothing.
pub async fn session_opens_with_its_record(store: &impl TokenStore, users: Users) {
    let (user, key, now) = (users.new_user(), new_key(), now());
    let epoch = answer(store.user_fence(user.clone()).await).epoch;
    let [fenced, first, second] = [(); 3].map(|()| Login::new(&user, now));
    let exchange = async |login: &Login, epoch, key| {
        answer(store.open_and_redeem(login.session.clone(), login.tokens.clone(), epoch, key, now).await)
    };
    answer(store.put_one_time(key, odd_payload(), later(now, MINUTE)).await);
    assert_eq!(exchange(&fenced, epoch + 1, key).await, None, "a session that is fenced, with a record");
    expect_not_active(store, &fenced.tokens, "after a session that was fenced, with a record").await;

    let redeemed = exchange(&first, epoch, key).await;
    assert_eq!(redeemed, Some(Redeemed::First(odd_payload())), "a session with a record, after one that was fenced");
    for login in [&second, &first, &second] {
        let redeemed = exchange(login, epoch, key).await;
        assert_eq!(redeemed, Some(Redeemed::Again(first.id())), "a session with a record that was redeemed");
    }
    expect_active(store, &first.tokens, "of the session that opened with a record").await;
    let record = answer(store.one_time(key, now).await).expect("a record that has not expired");
    assert_eq!(record.redeemed_by, Some(first.id()), "a record that was redeemed with its session");

    let unknown = exchange(&Login::new(&user, now), epoch, new_key()).await;
    assert_eq!(unknown, Some(Redeemed::Unknown), "a session with a record that nobody put");
}

/// Of many concurrent sessions that open with one record, one is the first. All others name it.
pub async fn concurrent_sessions_with_one_record_have_one_first<S: TokenStore>(store: &Arc<S>, users: Users) {
    rounds(move |_| open_at_once(Arc::clone(store), users)).await;
}

async fn open_at_once<S: TokenStore>(store: Arc<S>, users: Users) {
    let (user, key, now) = (users.new_user(), new_key(), now());
    let epoch = answer(store.user_fence(user.clone()).await).epoch;
    answer(store.put_one_time(key, odd_payload(), later(now, MINUTE)).await);
    let logins: Vec<Login> = (0..4).map(|_| Login::new(&user, now)).collect();
    let redeemed = at_once(logins.iter().cloned().map(|Login { session, tokens }| {
        let store = Arc::clone(&store);
        async move { answer(store.open_and_redeem(session, tokens, epoch, key, now).await) }
    }))
    .await;
    let first = Some(Redeemed::First(odd_payload()));
    let firsts: Vec<&Login> =
        logins.iter().zip(&redeemed).filter(|(_, redeemed)| **redeemed == first).map(|(login, _)| login).collect();
    let [winner] = firsts[..] else {
        panic!("{} concurrent sessions with one record that were the first", firsts.len())
    };
    let again = Some(Redeemed::Again(winner.id()));
    let all = redeemed.iter().all(|redeemed| *redeemed == first || *redeemed == again);
    assert!(all, "one of several concurrent sessions with one record: {redeemed:?}");
    expect_active(&*store, &winner.tokens, "of the first of several concurrent sessions with one record").await;
}

//! A purge removes what has expired, and nothing else.
//!
//! Records here are dated on a random day decades ago. By the server's clock they have expired, so
//! a store that sweeps by itself, or another purge, may remove them at any moment. A law about what
//! is kept is therefore tried on several days: a store that breaks the law does so on each.

use std::sync::Arc;

use chrono::{TimeZone, Utc};

use super::fixture::{
    ACCESS_LIFE, BoxedTask, Login, MILLISECOND, MINUTE, REFRESH_LIFE, Users, answer, at_once, expect_active,
    expect_not_active, expect_revoked, fill_cache, new_key, now, payload, records, rounds, stored_session,
};
use crate::{
    clock::{Timestamp, earlier, later},
    id::{SessionId, TokenId},
    store::{Admission, Consumed, Denial, Purged, Redeemed, Rotated, TokenStatus, TokenStore},
};

/// On how many days a law is tried that another purge may disturb.
const DAYS: usize = 20;

/// Returns a different moment at each call, in whole milliseconds, between 1990 and 2009.
fn long_ago() -> Timestamp {
    const YEARS: i64 = 631_152_000_000;
    let random = uuid::Uuid::new_v4().as_u64_pair().1 >> 2;
    let offset = i64::try_from(random).map_or(0, |random| random % YEARS);
    Utc.timestamp_millis_opt(YEARS + offset).single().unwrap_or_default()
}

/// Passes when `broken` finds nothing on one of several days.
async fn on_some_day(mut broken: impl AsyncFnMut(Timestamp) -> Option<String>) {
    let mut last = None;
    for _ in 0..DAYS {
        last = broken(long_ago()).await;
        if last.is_none() {
            return;
        }
    }
    panic!("{}, on each of {DAYS} days", last.unwrap_or_default());
}

/// A purge removes tokens and sessions that expired before the bound, keeps those that expire at or
/// after it, and counts what it removed.
pub async fn purge_removes_only_what_expired_before_the_bound(store: &impl TokenStore, users: Users) {
    on_some_day(async |bound| {
        let user = users.new_user();
        let ending = |at: Timestamp| {
            let mut login = Login::new(&user, earlier(at, REFRESH_LIFE));
            login.session.current.access_expires_at = at;
            login.session.current.refresh_expires_at = at;
            login.tokens = records(&login.session, &login.session.current);
            login
        };
        let gone = ending(earlier(bound, MILLISECOND)).admit_expired(store).await;
        let kept =
            [ending(bound).admit_expired(store).await, ending(later(bound, MILLISECOND)).admit_expired(store).await];
        let purged = answer(store.purge_expired(bound).await);

        expect_unknown(store, &gone).await;
        for login in kept {
            let there = answer(store.session_for_refresh(login.id(), login.refresh(), now()).await);
            if there.as_ref().map(|(session, _)| session) != Some(&login.session) {
                return Some(format!(
                    "a session that ends {} went with a bound of {bound}",
                    login.session.expires_at()
                ));
            }
            for token in &login.tokens {
                if answer(store.token_status(token.token_id).await) != TokenStatus::Active(token.into()) {
                    return Some(format!("a token that ends {} went with a bound of {bound}", token.expires_at));
                }
            }
        }
        (purged.tokens < 2 || purged.sessions < 1).then(|| format!("2 tokens and 1 session are counted as {purged:?}"))
    })
    .await;
}

/// Nothing purged comes back. It cannot be rotated, used, listed or given tokens at any time, and
/// revoking it is a success.
pub async fn purged_records_are_not_revived(store: &impl TokenStore, users: Users) {
    let bound = long_ago();
    let login = Login::new(&users.new_user(), earlier(bound, 2 * REFRESH_LIFE)).admit_expired(store).await;
    let token = login.single_use(login.session.created_at);
    let _ = answer(store.record_token(token.clone()).await);
    let _ = answer(store.purge_expired(bound).await);

    expect_unknown(store, &login).await;
    let at = login.session.created_at;
    let rotation = login.rotation(at);
    assert_eq!(answer(store.rotate(rotation.clone()).await), Rotated::Lost, "a purged refresh token");
    expect_not_active(store, &rotation.tokens, "the child of a purged refresh token").await;
    assert_eq!(
        answer(store.consume(token.token_id, (&token).into(), at).await),
        Consumed::Refused,
        "a purged single-use token"
    );
    let late = login.single_use(at);
    assert_eq!(answer(store.record_token(late.clone()).await), Admission::Fenced, "a token of a purged session");
    expect_not_active(store, &[late], "a token of a purged session").await;
    assert_eq!(answer(store.sessions(login.session.user_id.clone(), at).await), [], "purged sessions");
    for purged in [login.access(), login.refresh(), token.token_id] {
        let revoked = answer(store.revoke_token(purged, at).await);
        assert_eq!((revoked.access_tokens, revoked.sessions), (Vec::new(), 0), "a purged token revoked");
    }
    expect_unknown(store, &login).await;
}

/// A purge removes more than fits a batch.
pub async fn purge_removes_more_than_one_batch(store: &impl TokenStore, users: Users) {
    on_some_day(async |bound| {
        let mut login = Login::new(&users.new_user(), earlier(bound, 2 * REFRESH_LIFE));
        for _ in 0..2_500 {
            let token = login.single_use(login.session.created_at);
            login.tokens.push(token);
        }
        let login = login.admit_expired(store).await;
        let Purged { tokens, sessions, .. } = answer(store.purge_expired(bound).await);
        expect_unknown(store, &login).await;
        (tokens < 2_502 || sessions < 1).then(|| format!("counted are {tokens} tokens and {sessions} sessions"))
    })
    .await;
}

/// A session is kept as long as its newest refresh token, although other tokens of it have expired
/// and are gone.
///
/// The session can still be refreshed, and its revocation finds the tokens that are left.
pub async fn session_outlives_its_expired_tokens(store: &impl TokenStore, users: Users) {
    let bound = long_ago();
    let mut login = Login::new(&users.new_user(), earlier(bound, ACCESS_LIFE + MILLISECOND));
    login.session.current.refresh_expires_at = later(now(), REFRESH_LIFE);
    login.tokens = records(&login.session, &login.session.current);
    let mut login = login.admit_expired(store).await;
    let _ = answer(store.purge_expired(bound).await);

    assert_eq!(answer(store.token_status(login.access()).await), TokenStatus::Unknown, "an expired access token");
    assert_eq!(stored_session(store, &login).await, login.session, "a session that can still be refreshed");
    login.rotate(store, now()).await;
    let _ = answer(store.purge_expired(bound).await);
    expect_active(store, &login.tokens, "a live pair after a purge").await;

    let revoked = answer(store.revoke_session(login.id(), now()).await);
    assert_eq!(revoked.access_tokens, [login.reported()], "what is left of the access tokens");
    expect_revoked(store, &login.tokens, "the current pair after the revocation").await;
    assert!(
        stored_session(store, &login).await.revoked,
        "the session decides about the refresh token that was retired"
    );
}

/// A revocation finds an access token that outlives its refresh token, even after a purge in
/// between.
pub async fn revocation_finds_a_token_that_outlives_its_session(store: &impl TokenStore, users: Users) {
    for whole_user in [false, true] {
        let bound = long_ago();
        let mut login = Login::new(&users.new_user(), earlier(bound, REFRESH_LIFE + MILLISECOND));
        login.session.current.access_expires_at = later(now(), ACCESS_LIFE);
        login.tokens = records(&login.session, &login.session.current);
        let login = login.admit_expired(store).await;
        fill_cache(store, [&login]).await;
        let _ = answer(store.purge_expired(bound).await);
        expect_active(store, &login.tokens[..1], "whose refresh token was purged").await;

        let revoked = answer(if whole_user {
            store.revoke_user(login.session.user_id.clone(), None, now()).await
        } else {
            store.revoke_session(login.id(), now()).await
        });
        assert_eq!(revoked.access_tokens, [login.reported()], "an access token whose refresh token was purged");
        expect_revoked(store, &login.tokens[..1], "whose refresh token was purged").await;
    }
}

/// A purge beside a rotation: if the rotation commits, the session and its new pair stay. If it
/// does not, nothing of them is left.
pub async fn purge_keeps_a_session_that_is_refreshed<S: TokenStore>(store: &Arc<S>, users: Users) {
    rounds(move |round| purge_beside_a_rotation(Arc::clone(store), users, round)).await;
}

async fn purge_beside_a_rotation<S: TokenStore>(store: Arc<S>, users: Users, round: usize) {
    let bound = long_ago();
    let mut login =
        Login::new(&users.new_user(), earlier(bound, REFRESH_LIFE + MILLISECOND)).admit_expired(&*store).await;
    // The child lives today, so only the purge of its parent can remove the session.
    let rotation = login.rotation(now());
    let (rotator, child) = (Arc::clone(&store), rotation.clone());
    let purger = Arc::clone(&store);
    let mut tasks: [BoxedTask<Option<Rotated>>; 2] = [
        Box::pin(async move { Some(answer(rotator.rotate(child).await)) }),
        Box::pin(async move {
            let _ = answer(purger.purge_expired(bound).await);
            None
        }),
    ];
    tasks.rotate_left(round % 2);
    let ends = at_once(tasks).await;
    let there = answer(store.session_for_refresh(login.id(), rotation.child.refresh_id, now()).await);
    if ends.contains(&Some(Rotated::Committed)) {
        let (session, _) = there.expect("a session that was refreshed beside a purge must be there");
        assert_eq!(session.current, rotation.child, "the current pair after a purge");
        expect_active(&*store, &rotation.tokens, "a pair committed beside a purge").await;
        login.session.current = rotation.child;
        let _ = answer(store.purge_expired(bound).await);
        assert_eq!(stored_session(&*store, &login).await.current, login.session.current, "after one more purge");
        expect_active(&*store, &rotation.tokens, "after one more purge").await;
    } else {
        assert_eq!(there, None, "a session that was purged before it was refreshed");
        expect_not_active(&*store, &rotation.tokens, "a pair that came after the purge").await;
    }
}

/// A single-use token is kept until the bound like any other. Until then a use finds its record,
/// used or not.
pub async fn single_use_token_is_kept_until_the_bound(store: &impl TokenStore, users: Users) {
    on_some_day(async |bound| {
        let mut login = Login::new(&users.new_user(), bound);
        login.session.current.refresh_expires_at = later(now(), REFRESH_LIFE);
        login.tokens = records(&login.session, &login.session.current);
        let login = login.admit_expired(store).await;
        let (fresh, used) = (login.single_use(bound), login.single_use(bound));
        for token in [&fresh, &used] {
            let _ = answer(store.record_token(token.clone()).await);
        }
        // Expired, but within a leeway: the caller has subtracted it, here as of the purge.
        let leeway = earlier(fresh.expires_at, MILLISECOND);
        if answer(store.consume(used.token_id, (&used).into(), leeway).await) != Consumed::Accepted {
            return Some("a single-use token within its leeway was refused before any purge".to_owned());
        }
        let _ = answer(store.purge_expired(fresh.expires_at).await);
        if answer(store.token_status(used.token_id).await) != TokenStatus::Revoked {
            return Some("a single-use token that was used is forgotten within its leeway".to_owned());
        }
        assert_eq!(
            answer(store.consume(used.token_id, (&used).into(), leeway).await),
            Consumed::Refused,
            "a single-use token used again after a purge"
        );
        let accepted = answer(store.consume(fresh.token_id, (&fresh).into(), leeway).await) == Consumed::Accepted;
        (!accepted).then(|| "a single-use token within its leeway was refused after a purge".to_owned())
    })
    .await;
}

/// A reservation is kept until the bound. Until then it is found, also by a clock that is behind.
/// It is removed after it, and counted.
pub async fn reservation_is_kept_until_the_bound(store: &impl TokenStore) {
    on_some_day(async |bound| {
        let (gone, kept, behind) = (new_key(), new_key(), earlier(bound, MINUTE));
        for (key, expires_at) in [(gone, earlier(bound, MILLISECOND)), (kept, bound)] {
            assert!(answer(store.reserve(key, expires_at, behind).await), "the first reservation of a key");
        }
        let purged = answer(store.purge_expired(bound).await);
        if answer(store.reserve(kept, later(bound, MINUTE), behind).await) {
            return Some(format!("a reservation that expires at {bound} went with that bound"));
        }
        let is_free = answer(store.reserve(gone, later(bound, MINUTE), behind).await);
        assert!(is_free, "a reservation that expired before the bound of a purge");
        (purged.keys < 1).then(|| format!("1 reservation is counted as {purged:?}"))
    })
    .await;
}

/// A denial is kept until the bound, also one that was extended. Until then it is found, also by a
/// clock that is behind. It is removed after it, and counted; a cache may still have it.
pub async fn denial_is_kept_until_the_bound(store: &impl TokenStore) {
    on_some_day(async |bound| {
        let (gone, kept, extended) = (new_key(), new_key(), new_key());
        let (behind, before) = (earlier(bound, MINUTE), earlier(bound, MILLISECOND));
        let made = |expires_at| Denial { denied_at: behind, expires_at };
        for (key, expires_at) in [(gone, before), (kept, bound), (extended, before), (extended, bound)] {
            answer(store.deny(key, made(expires_at)).await);
        }
        let purged = answer(store.purge_expired(bound).await);
        let found = answer(store.denials(vec![gone, kept, extended], behind).await);
        assert!(found[0].is_none_or(|found| found == made(before)), "a purged denial, in a cache at most");
        if found[1..] != [Some(made(bound)); 2] {
            return Some(format!("two denials that expire at {bound}, after a purge with that bound, are {found:?}"));
        }
        (purged.keys < 1).then(|| format!("1 denial is counted as {purged:?}"))
    })
    .await;
}

/// A one-time record is kept until the bound, redeemed or not. Until then a second use is found,
/// also by a clock that is behind. It is removed after it, and counted.
pub async fn one_time_record_is_kept_until_the_bound(store: &impl TokenStore) {
    on_some_day(async |bound| {
        let (used, fresh, behind) = (new_key(), new_key(), earlier(bound, MILLISECOND));
        let by = SessionId::generate();
        for key in [used, fresh] {
            answer(store.put_one_time(key, payload(&[("scope", "mail")]), bound).await);
        }
        let first = answer(store.redeem(used, by, behind).await);
        let before = answer(store.purge_expired(bound).await);
        let (again, unused) = (
            answer(store.redeem(used, SessionId::generate(), behind).await),
            answer(store.one_time(fresh, behind).await),
        );
        let after = answer(store.purge_expired(later(bound, MILLISECOND)).await);
        for key in [used, fresh] {
            assert_eq!(answer(store.one_time(key, behind).await), None, "a purged record");
            assert_eq!(answer(store.redeem(key, by, behind).await), Redeemed::Unknown, "a purged record");
        }
        if !matches!(first, Redeemed::First(_)) {
            return Some(format!("a record just before its expiry, before any purge, is {first:?}"));
        }
        if again != Redeemed::Again(by) {
            return Some(format!(
                "a redeemed record that expires at {bound} is {again:?} after a purge with that bound"
            ));
        }
        if unused.is_none_or(|record| record.redeemed_by.is_some()) {
            return Some(format!("a record that expires at {bound} went with that bound"));
        }
        (after.keys < 2).then(|| format!("2 one-time records are counted as {after:?}, after {before:?}"))
    })
    .await;
}

/// A one-time record that was redeemed and purged does not come back when a late call puts it once
/// more.
pub async fn purged_one_time_record_is_not_revived(store: &impl TokenStore) {
    let (key, bound) = (new_key(), long_ago());
    let expires_at = earlier(bound, MILLISECOND);
    let put = async || answer(store.put_one_time(key, payload(&[("scope", "mail")]), expires_at).await);
    put().await;
    let _ = answer(store.redeem(key, SessionId::generate(), earlier(expires_at, MILLISECOND)).await);
    let _ = answer(store.purge_expired(bound).await);
    put().await;
    for at in [expires_at, bound, now()] {
        let redeemed = answer(store.redeem(key, SessionId::generate(), at).await);
        assert_eq!(redeemed, Redeemed::Unknown, "a purged record that was put once more, at {at}");
        assert_eq!(answer(store.one_time(key, at).await), None, "a purged record that was put once more, at {at}");
    }
}

async fn expect_unknown(store: &impl TokenStore, login: &Login) {
    assert_eq!(
        answer(store.session_for_refresh(login.id(), TokenId::generate(), now()).await),
        None,
        "a purged session"
    );
    for token in &login.tokens {
        let status = answer(store.token_status(token.token_id).await);
        assert_eq!(status, TokenStatus::Unknown, "a purged {} token", token.kind);
    }
}

//! A single-use token is used once.

use std::sync::Arc;

use super::fixture::{
    BoxedTask, Login, MILLISECOND, Users, answer, at_once, expect_active, expect_not_active, expect_revoked, now,
    rounds,
};
use crate::{
    clock::{earlier, later},
    id::SessionId,
    store::{ActiveToken, Admission, Consumed, TokenKind, TokenStore},
};

/// Of many concurrent uses of a single-use token, one is accepted. Afterwards the token is never
/// accepted again.
pub async fn concurrent_uses_accept_one<S: TokenStore>(store: &Arc<S>, users: Users) {
    let login = Login::opened(&**store, &users.new_user()).await;
    let token = login.single_use(now());
    assert_eq!(answer(store.record_token(token.clone()).await), Admission::Admitted, "a token of a live session");
    let consumed = at_once((0..64).map(|_| {
        let (store, id, expected) = (Arc::clone(store), token.token_id, ActiveToken::from(&token));
        async move { answer(store.consume(id, expected, now()).await) }
    }))
    .await;
    let accepted = consumed.iter().filter(|used| **used == Consumed::Accepted).count();
    assert_eq!(accepted, 1, "uses of one single-use token that were accepted");
    assert_eq!(answer(store.consume(token.token_id, (&token).into(), now()).await), Consumed::Refused, "one more use");
    expect_revoked(&**store, &[token], "a single-use token that was used").await;
    expect_active(&**store, &login.tokens, "the pair of a session whose single-use token was used").await;
}

/// A token that is unknown, of another kind, expired or of a revoked session is refused, and the
/// attempt does not change it.
pub async fn invalid_tokens_are_refused(store: &impl TokenStore, users: Users) {
    let login = Login::opened(store, &users.new_user()).await;
    let unknown = login.single_use(now());
    let used = answer(store.consume(unknown.token_id, (&unknown).into(), now()).await);
    assert_eq!(used, Consumed::Refused, "an unknown token");
    for token in &login.tokens {
        let expected = ActiveToken::from(token);
        for expected in [expected.clone(), ActiveToken { kind: TokenKind::SingleUse, ..expected }] {
            let used = answer(store.consume(token.token_id, expected, now()).await);
            assert_eq!(used, Consumed::Refused, "a token of the kind {} used as a single-use token", token.kind);
        }
    }
    expect_active(store, &login.tokens, "tokens refused for single use").await;

    let token = login.single_use(now());
    let _ = answer(store.record_token(token.clone()).await);
    let expected = ActiveToken::from(&token);
    for other in [
        ActiveToken { user_id: users.new_user(), ..expected.clone() },
        ActiveToken { session_id: SessionId::generate(), ..expected.clone() },
        ActiveToken { expires_at: later(expected.expires_at, MILLISECOND), ..expected },
    ] {
        let used = answer(store.consume(token.token_id, other, now()).await);
        assert_eq!(used, Consumed::Refused, "a token that says something else than its record");
    }
    let used = answer(store.consume(token.token_id, (&token).into(), token.expires_at).await);
    assert_eq!(used, Consumed::Refused, "a single-use token at its expiry");
    let used = answer(store.consume(token.token_id, (&token).into(), earlier(token.expires_at, MILLISECOND)).await);
    assert_eq!(used, Consumed::Accepted, "a single-use token just before its expiry");

    let token = login.single_use(now());
    let _ = answer(store.record_token(token.clone()).await);
    let _ = answer(store.revoke_session(login.id(), now()).await);
    assert_eq!(
        answer(store.consume(token.token_id, (&token).into(), now()).await),
        Consumed::Refused,
        "a revoked session's token"
    );
}

/// A token that is recorded again, after a lost answer, stays used or revoked.
pub async fn repeated_record_revives_nothing(store: &impl TokenStore, users: Users) {
    let login = Login::opened(store, &users.new_user()).await;
    let (used, revoked) = (login.single_use(now()), login.single_use(now()));
    for _ in 0..2 {
        for token in [&used, &revoked] {
            assert_eq!(answer(store.record_token(token.clone()).await), Admission::Admitted, "a token recorded again");
        }
    }
    let _ = answer(store.consume(used.token_id, (&used).into(), now()).await);
    let _ = answer(store.revoke_token(revoked.token_id, now()).await);
    for token in [&used, &revoked] {
        let _ = answer(store.record_token(token.clone()).await);
        let again = answer(store.consume(token.token_id, token.into(), now()).await);
        assert_eq!(again, Consumed::Refused, "a dead single-use token that was recorded again");
    }
    expect_revoked(store, &[used, revoked], "dead and recorded again").await;
}

/// No token is recorded for a session that is revoked or unknown.
pub async fn record_in_a_dead_session_is_fenced(store: &impl TokenStore, users: Users) {
    let revoked = Login::opened(store, &users.new_user()).await;
    let _ = answer(store.revoke_session(revoked.id(), now()).await);
    let unknown = Login::new(&users.new_user(), now());
    for (login, what) in [(revoked, "a revoked session"), (unknown, "an unknown session")] {
        let token = login.single_use(now());
        assert_eq!(answer(store.record_token(token.clone()).await), Admission::Fenced, "a token of {what}");
        assert_eq!(
            answer(store.consume(token.token_id, (&token).into(), now()).await),
            Consumed::Refused,
            "a token of {what} used"
        );
        expect_not_active(store, &[token], what).await;
    }
}

/// A token recorded beside the revocation of its session is fenced or found by it. When both have
/// returned, it is neither active nor accepted.
pub async fn session_revocation_finds_every_token<S: TokenStore>(store: &Arc<S>, users: Users) {
    rounds(move |round| record_beside_a_revocation(Arc::clone(store), users, round)).await;
}

async fn record_beside_a_revocation<S: TokenStore>(store: Arc<S>, users: Users, round: usize) {
    let login = Login::opened(&*store, &users.new_user()).await;
    let (token, session) = (login.single_use(now()), login.id());
    let (recorder, copy) = (Arc::clone(&store), token.clone());
    let revoker = Arc::clone(&store);
    let mut tasks: [BoxedTask<Option<Admission>>; 2] = [
        Box::pin(async move { Some(answer(recorder.record_token(copy).await)) }),
        Box::pin(async move {
            let _ = answer(revoker.revoke_session(session, now()).await);
            None
        }),
    ];
    tasks.rotate_left(round % 2);
    let ends = at_once(tasks).await;
    assert_eq!(
        answer(store.consume(token.token_id, (&token).into(), now()).await),
        Consumed::Refused,
        "used after a revocation"
    );
    if ends.contains(&Some(Admission::Admitted)) {
        expect_revoked(&*store, &[token], "admitted beside a revocation").await;
    } else {
        expect_not_active(&*store, &[token], "fenced beside a revocation").await;
    }
}

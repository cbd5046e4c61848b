//! The limit on the sessions of a user.

use std::{num::NonZero, sync::Arc, sync::atomic::Ordering};

use super::{faulty_store::FaultyStore, *};

fn limited(clock: &ManualClock, most: usize) -> Authority {
    builder(clock).max_sessions(NonZero::new(most).unwrap()).build().unwrap()
}

#[tokio::test]
async fn sessions_beyond_the_limit_end_with_the_one_used_longest_ago() {
    let clock = clock();
    let authority = limited(&clock, 3);
    let user = UserId::generate();
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs.push(sign_in(&authority, user).await);
        clock.advance(MINUTE);
    }
    let stranger = sign_in(&authority, UserId::generate()).await;
    // A refresh counts as a use: the second session is now the one used longest ago.
    let refreshed = authority.refresh(&pairs[0].refresh_token).await.unwrap();
    clock.advance(MINUTE);
    let fourth = sign_in(&authority, user).await;

    assert_eq!(fault(&authority, &pairs[1].access_token).await, TokenFault::Revoked);
    assert_eq!(refusal(&authority, &pairs[1].refresh_token).await, GrantFault::Token(TokenFault::Revoked));
    for pair in [&refreshed, &pairs[2], &fourth, &stranger] {
        assert!(authority.verify(&pair.access_token).await.is_ok());
    }
    assert_eq!(authority.sessions(user).await.unwrap().len(), 3);
}

#[tokio::test]
async fn sessions_of_a_limit_of_one_end_with_each_sign_in() {
    let (store, keys) = (Arc::new(MemoryStore::new()), Keyring::new(SigningKey::generate().unwrap()));
    let (ahead, behind) = (clock(), clock());
    ahead.advance(Duration::from_secs(20));
    let on = |clock: &ManualClock| -> Authority {
        Authority::builder("https://issuer", Arc::clone(&store))
            .audience("api")
            .keys(keys.clone())
            .clock(clock.clone())
            .max_sessions(NonZero::new(1).unwrap())
            .build()
            .unwrap()
    };
    let user = UserId::generate();
    let first = sign_in(&on(&ahead), user).await;
    // By the clock of this node the first session was used later.
    let authority = on(&behind);
    let second = sign_in(&authority, user).await;
    assert!(authority.verify(&second.access_token).await.is_ok(), "the new session is never the one that ends");
    assert!(authority.verify(&first.access_token).await.is_err());
    let listed = authority.sessions(user).await.unwrap();
    assert_eq!(listed.iter().map(|session| session.session_id).collect::<Vec<_>>(), [second.session_id]);
}

/// Time is paused: ending others' sessions has a time limit, which a busy machine would exceed.
#[tokio::test(start_paused = true)]
async fn sessions_stay_within_the_limit_when_many_sign_in_at_once() {
    let clock = clock();
    let authority = limited(&clock, 5);
    let user = UserId::generate();
    let sign_ins: Vec<_> = (0..50)
        .map(|_| {
            let authority = authority.clone();
            tokio::spawn(async move { sign_in(&authority, user).await })
        })
        .collect();
    for sign_in in sign_ins {
        sign_in.await.unwrap();
    }
    assert!(authority.sessions(user).await.unwrap().len() <= 5);
    clock.advance(MINUTE);
    let last = sign_in(&authority, user).await;
    assert!(authority.verify(&last.access_token).await.is_ok());
    assert!(authority.sessions(user).await.unwrap().len() <= 5);
}

/// The sign-in is already committed. It does not fail when another session cannot be ended.
#[tokio::test]
async fn sessions_over_the_limit_that_cannot_be_ended_fail_no_sign_in() {
    let (clock, store) = (clock(), Arc::new(FaultyStore::default()));
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let authority: Authority = Authority::builder("https://issuer", Arc::clone(&store))
        .audience("api")
        .keys(keys)
        .clock(clock.clone())
        .max_sessions(NonZero::new(1).unwrap())
        .build()
        .unwrap();
    let user = UserId::generate();
    let first = sign_in(&authority, user).await;
    store.revocation_fails.store(true, Ordering::SeqCst);
    clock.advance(MINUTE);
    let second = sign_in(&authority, user).await;
    assert!(authority.verify(&first.access_token).await.is_ok());
    assert!(authority.verify(&second.access_token).await.is_ok());
    store.revocation_fails.store(false, Ordering::SeqCst);
    clock.advance(MINUTE);
    let third = sign_in(&authority, user).await;
    for pair in [&first, &second] {
        assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Revoked);
    }
    assert!(authority.verify(&third.access_token).await.is_ok());
}

#[tokio::test]
async fn sessions_of_a_client_are_those_of_all_its_users() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let open = async |user: UserId, client: &str| {
        let begun = authority.begin_sign_in(user).await.unwrap();
        authority.sign_in(begun, Grant::new(client)).await.unwrap()
    };
    let user = UserId::generate();
    let (first, other) = (open(user, "job").await, open(user, "web").await);
    let second = open(UserId::generate(), "job").await;
    let expected = [first.session_id, second.session_id];
    assert_eq!(authority.sessions_of_client("job", None, 10).await.unwrap(), expected);
    assert_eq!(authority.sessions_of_client("job", Some(first.session_id), 10).await.unwrap(), expected[1..]);
    authority.revoke_session(first.session_id).await.unwrap();
    assert_eq!(authority.sessions_of_client("job", None, 10).await.unwrap(), expected[1..]);
    assert!(authority.verify(&other.access_token).await.is_ok());
}

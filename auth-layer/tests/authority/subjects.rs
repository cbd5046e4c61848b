//! Users whose subject is any text.

use auth_layer::Subject;

use super::*;

/// An integer, an e-mail address, a name of another provider, and a UUID in another spelling.
fn subjects() -> [Subject; 4] {
    [
        Subject::from(42_u64),
        "ada@example.org".parse().unwrap(),
        "auth0|5f7c\u{e9}\"\\".parse().unwrap(),
        UserId::generate().to_string().to_uppercase().parse().unwrap(),
    ]
}

async fn open(authority: &Authority, user: &Subject) -> IssuedPair {
    let sign_in = authority.begin_sign_in(user).await.unwrap();
    authority.sign_in(sign_in, Grant::new("web")).await.unwrap()
}

#[tokio::test]
async fn subject_of_any_text_signs_in_refreshes_and_is_revoked() {
    for subject in subjects() {
        let authority = builder(&clock()).local_cache(HOUR).build().unwrap();
        let first = open(&authority, &subject).await;
        assert_eq!(
            (&first.user_id, authority.verify(&first.access_token).await.unwrap().sub.clone()),
            (&subject, subject.clone())
        );
        let second = authority.refresh(&first.refresh_token).await.unwrap();
        assert_eq!(authority.refresh(&first.refresh_token).await.unwrap(), second, "the same pair, byte for byte");
        let claims = authority.verify(&second.access_token).await.unwrap();
        let once = authority.issue_single_use(&claims).await.unwrap();
        assert_eq!(authority.spend(&once.token).await.unwrap().sub, subject);
        assert_eq!(authority.sessions(&subject).await.unwrap()[0].user_id, subject);

        let kept = open(&authority, &subject).await;
        let stranger = sign_in(&authority, UserId::generate()).await;
        for pair in [&kept, &stranger] {
            authority.verify(&pair.access_token).await.unwrap();
        }
        let begun = authority.begin_sign_in(&subject).await.unwrap();
        authority.revoke_user(&subject, Some(kept.session_id)).await.unwrap();
        for pair in [&first, &second] {
            assert_eq!(
                fault(&authority, &pair.access_token).await,
                TokenFault::Revoked,
                "{subject:?}, in spite of the lease"
            );
        }
        assert!(matches!(authority.sign_in(begun, Grant::new("web")).await, Err(SignInError::Fenced)));
        for pair in [&kept, &stranger] {
            assert!(authority.verify(&pair.access_token).await.is_ok(), "{subject:?}");
        }
        authority.set_user_disabled(&subject, true).await.unwrap();
        assert_eq!(fault(&authority, &kept.access_token).await, TokenFault::Revoked);
        assert!(authority.begin_sign_in(&subject).await.unwrap().is_disabled());
    }
}

#[tokio::test]
async fn subject_may_be_given_as_a_number_a_uuid_or_a_user_id() {
    let authority = builder(&clock()).build().unwrap();
    let id = UserId::generate();
    for sign_in in [authority.begin_sign_in(7_i64).await, authority.begin_sign_in(7_u32).await] {
        let pair = authority.sign_in(sign_in.unwrap(), Grant::new("web")).await.unwrap();
        assert_eq!(pair.user_id, "7");
    }
    for sign_in in [authority.begin_sign_in(id).await, authority.begin_sign_in(*id.as_uuid()).await] {
        let pair = authority.sign_in(sign_in.unwrap(), Grant::new("web")).await.unwrap();
        assert_eq!(pair.user_id, id);
    }
    assert_eq!(authority.sessions(id).await.unwrap().len(), 2);
    assert_eq!(authority.sessions(7_u64).await.unwrap().len(), 2);
}

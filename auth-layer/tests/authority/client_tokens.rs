//! Tokens of a client in its own name (RFC 6749 §4.4), and tokens against forged requests.

use auth_layer::{Subject, authority::TokenType};

use super::*;

#[tokio::test]
async fn oauth_client_token_is_the_clients_own_and_has_no_refresh_token() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let client: Subject = "job".parse().unwrap();
    let begun = authority.begin_sign_in(&client).await.unwrap();
    let grant = || Grant::new("job").scope("reports".parse().unwrap());
    let issued = authority.issue_client_token(begun, grant()).await.unwrap();
    let response = serde_json::to_value(&issued).unwrap();
    assert_eq!(
        (&response["token_type"], &response["expires_in"], &response["scope"]),
        (&"Bearer".into(), &900.into(), &"reports".into())
    );
    assert_eq!((response.get("refresh_token"), issued.token_type), (None, TokenType::Bearer));

    let claims = authority.verify(&issued.token).await.unwrap();
    assert_eq!((&claims.sub, claims.client_id.as_deref()), (&client, Some("job")));
    assert_eq!(claims.session_id(), Some(issued.session_id));
    assert!(authority.session(issued.session_id).await.unwrap().is_some());
    clock.advance(15 * MINUTE);
    assert_eq!(authority.session(issued.session_id).await.unwrap(), None, "the session ends with the token");
}

#[tokio::test]
async fn oauth_client_token_ends_with_its_session_and_its_client() {
    let authority = builder(&clock()).build().unwrap();
    let client: Subject = "job".parse().unwrap();
    let issue = async || {
        let begun = authority.begin_sign_in(&client).await.unwrap();
        authority.issue_client_token(begun, Grant::new("job")).await.unwrap()
    };
    let (one, other) = (issue().await, issue().await);
    authority.revoke(&one.token).await.unwrap();
    assert_eq!(fault(&authority, &one.token).await, TokenFault::Revoked);
    assert!(authority.verify(&other.token).await.is_ok(), "each has a session of its own");

    let begun = authority.begin_sign_in(&client).await.unwrap();
    authority.revoke_user(&client, None).await.unwrap();
    assert_eq!(fault(&authority, &other.token).await, TokenFault::Revoked);
    let fenced = authority.issue_client_token(begun, Grant::new("job")).await;
    assert!(matches!(fenced, Err(SignInError::Fenced)), "{fenced:?}");
}

#[tokio::test]
async fn csrf_token_is_good_for_its_session_and_survives_a_rotation_of_keys() {
    let authority = builder(&clock()).build().unwrap();
    let (session, other) = (SessionId::generate(), SessionId::generate());
    let token = authority.csrf_token(session);
    assert_eq!((token.len(), authority.csrf_token(session)), (43, token.clone()));
    assert!(authority.is_csrf_token(session, &token));
    for bad in ["", "a", &token[1..], &authority.csrf_token(other), &"A".repeat(43), &"é".repeat(40)] {
        assert!(!authority.is_csrf_token(session, bad), "{bad}");
    }
    let old = SigningKey::generate().unwrap();
    authority.set_keys(Keyring::new(old.clone()));
    assert!(!authority.is_csrf_token(session, &token), "its key is gone");
    let token = authority.csrf_token(session);
    authority.set_keys(Keyring::new(SigningKey::generate().unwrap()).with_retired(old).unwrap());
    assert!(authority.is_csrf_token(session, &token), "its key is retired");
    assert_ne!(authority.csrf_token(session), token);
}

#[tokio::test]
async fn csrf_session_comes_from_a_signed_token_whether_or_not_it_is_revoked() {
    let clock = clock();
    let (authority, user) = (builder(&clock).build().unwrap(), UserId::generate());
    let stranger = builder(&clock).build().unwrap();
    let pair = sign_in(&authority, user).await;
    let claims = authority.verify(&pair.access_token).await.unwrap();
    let once = authority.issue_single_use(&claims).await.unwrap().token;
    authority.revoke_session(pair.session_id).await.unwrap();
    for token in [&pair.access_token, &pair.refresh_token] {
        let owner = authority.owner_of(token).unwrap();
        assert_eq!((owner.session_id, owner.client_id.as_str()), (pair.session_id, "web"));
        assert_eq!(owner.user_id, user);
        assert_eq!(stranger.owner_of(token), None, "signed by another key");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
        assert_eq!(authority.owner_of(&forged), None);
    }
    for other in [once.as_str(), "", "a.b.c"] {
        assert_eq!(authority.owner_of(other), None, "{other}");
    }
    clock.advance(Duration::from_hours(24 * 365));
    assert_eq!(authority.owner_of(&pair.refresh_token), None, "expired");
}

//! Laws that hold with every algorithm, also with those whose signatures differ each time.

use std::sync::Arc;

use auth_layer::keys::Algorithm;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;

fn signing_keys() -> Vec<SigningKey> {
    let generated = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256];
    let mut keys = generated.map(|algorithm| SigningKey::generate_for(algorithm).unwrap()).to_vec();
    keys.push(SigningKey::from_secret("hmac", &[7; 32]).unwrap());
    keys
}

#[tokio::test]
async fn refresh_retry_in_the_grace_window_gets_the_same_pair_byte_for_byte() {
    for key in signing_keys() {
        let algorithm = key.algorithm();
        let clock = clock();
        let authority: Authority = Authority::builder("https://issuer", MemoryStore::new())
            .audience("api")
            .keys(Keyring::new(key.clone()))
            .clock(clock.clone())
            .refresh_grace(Duration::from_secs(10))
            .build()
            .unwrap();
        let first = sign_in(&authority, UserId::generate()).await;
        let second = authority.refresh(&first.refresh_token).await.unwrap();
        clock.advance(Duration::from_millis(9_999));
        // A new key signs by now. The pair still has the old key's signatures.
        let rotated = Keyring::new(SigningKey::generate().unwrap()).with_retired(key).unwrap();
        authority.set_keys(rotated);
        let again = authority.refresh(&first.refresh_token).await.unwrap();
        assert_eq!(again.access_token, second.access_token, "{algorithm:?}");
        assert_eq!(again.refresh_token, second.refresh_token, "{algorithm:?}");
        assert!(authority.verify(&again.access_token).await.is_ok(), "{algorithm:?}");

        finish_background_work().await;
        clock.advance(Duration::from_millis(1));
        assert_eq!(refusal(&authority, &first.refresh_token).await, GrantFault::Reused, "{algorithm:?}");
    }
}

/// Nobody can sign the pair again, and the client is not to blame.
#[tokio::test]
async fn refresh_retry_whose_key_was_removed_is_refused_and_ends_no_session() {
    for key in signing_keys() {
        let algorithm = key.algorithm();
        let next = SigningKey::generate().unwrap();
        let authority: Authority = Authority::builder("https://issuer", MemoryStore::new())
            .audience("api")
            .keys(Keyring::new(next.clone()))
            .clock(clock())
            .refresh_grace(Duration::from_secs(10))
            .build()
            .unwrap();
        // The parent's key stays, the child's key is removed.
        let first = sign_in(&authority, UserId::generate()).await;
        authority.set_keys(Keyring::new(key.clone()).with_retired(next.clone()).unwrap());
        let second = authority.refresh(&first.refresh_token).await.unwrap();
        authority.set_keys(Keyring::new(next.clone()));
        for _ in 0..2 {
            assert_eq!(refusal(&authority, &first.refresh_token).await, GrantFault::KeyGone, "{algorithm:?}");
        }
        assert!(authority.verify(&first.access_token).await.is_ok(), "{algorithm:?}: the session lives");

        authority.set_keys(Keyring::new(next).with_retired(key).unwrap());
        let again = authority.refresh(&first.refresh_token).await.unwrap();
        assert_eq!(again, second, "{algorithm:?}: with its key the pair is there again");
        assert!(authority.refresh(&second.refresh_token).await.is_ok(), "{algorithm:?}");
    }
}

/// Two nodes: the node that loses the race must sign, or unseal the stored signatures, by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refresh_of_one_token_at_once_gets_one_pair_byte_for_byte() {
    for key in signing_keys() {
        let algorithm = key.algorithm();
        let store = Arc::new(MemoryStore::new());
        let nodes: [Authority; 2] = std::array::from_fn(|_| {
            let keys = Keyring::new(key.clone());
            Authority::builder("https://issuer", Arc::clone(&store)).audience("api").keys(keys).build().unwrap()
        });
        let first = sign_in(&nodes[0], UserId::generate()).await;
        let batch: Vec<_> = (0..16)
            .map(|number| {
                let (node, token) = (nodes[number % 2].clone(), first.refresh_token.clone());
                tokio::spawn(async move { node.refresh(&token).await.unwrap() })
            })
            .collect();
        let mut pairs = Vec::new();
        for refreshed in batch {
            let pair = refreshed.await.unwrap();
            pairs.push((pair.access_token, pair.refresh_token));
        }
        pairs.dedup();
        let [(access, refresh)] = &pairs[..] else { panic!("{algorithm:?}: {} pairs", pairs.len()) };
        for node in &nodes {
            assert!(node.verify(access).await.is_ok(), "{algorithm:?}");
        }
        assert!(nodes[1].refresh(refresh).await.is_ok(), "{algorithm:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn single_use_token_used_at_once_is_accepted_once() {
    for key in signing_keys() {
        let algorithm = key.algorithm();
        let authority: Authority = Authority::builder("https://issuer", MemoryStore::new())
            .audience("api")
            .keys(Keyring::new(key))
            .build()
            .unwrap();
        let pair = sign_in(&authority, UserId::generate()).await;
        let claims = authority.verify(&pair.access_token).await.unwrap();
        let token = authority.issue_single_use(&claims).await.unwrap().token;
        let batch: Vec<_> = (0..16)
            .map(|_| {
                let (node, token) = (authority.clone(), token.clone());
                tokio::spawn(async move { node.spend(&token).await })
            })
            .collect();
        let mut accepted = 0;
        for used in batch {
            match used.await.unwrap() {
                Ok(_) => accepted += 1,
                Err(AuthError::InvalidToken(TokenFault::Used)) => {}
                other => panic!("{algorithm:?}: {other:?}"),
            }
        }
        assert_eq!(accepted, 1, "{algorithm:?}");
    }
}

/// RFC 9068 §2.1, RFC 8725 §3.11.
#[tokio::test]
async fn sign_in_issues_a_header_with_type_key_and_algorithm() {
    for key in signing_keys() {
        let authority = builder(&clock()).keys(Keyring::new(key.clone())).build().unwrap();
        let pair = sign_in(&authority, UserId::generate()).await;
        let claims = authority.verify(&pair.access_token).await.unwrap();
        let once = authority.issue_single_use(&claims).await.unwrap();
        for (token, typ) in [(pair.access_token, "at+jwt"), (pair.refresh_token, "rt+jwt"), (once.token, "su+jwt")] {
            let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
            let header: Value = serde_json::from_slice(&header).unwrap();
            assert_eq!(header, json!({ "typ": typ, "kid": key.kid(), "alg": key.algorithm().as_str() }));
        }
    }
}

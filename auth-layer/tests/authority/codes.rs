//! Authorization codes (RFC 6749 §4.1, RFC 7636, RFC 9449 §10).

use std::sync::Arc;

use auth_layer::{
    Scope,
    authority::{CodeError, CodeFault, CodePresentation, TokenType},
    oauth::{AuthorizationQuery, AuthorizationServer, Client, CodeBinding, Secret},
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::*;
use crate::prover::Prover;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const URI: &str = "https://app.example/cb";

/// Returns the binding of a request, with these further parameters.
fn binding(parameters: &str) -> CodeBinding {
    let server = AuthorizationServer::new("https://issuer").unwrap();
    let client = Client::public("spa").unwrap().redirect_uri(URI.parse().unwrap());
    let query = format!(
        "response_type=code&client_id=spa&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&code_challenge_method=S256\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM{parameters}"
    );
    AuthorizationQuery::parse(&query).unwrap().check(&server, Some(&client)).unwrap().binding()
}

fn grant() -> Grant {
    Grant::new("spa").scope("profile".parse().unwrap()).acr("2").custom(&json!({ "tenant": 7 })).unwrap()
}

async fn code(authority: &Authority, user: UserId) -> Secret {
    let sign_in = authority.begin_sign_in(user).await.unwrap();
    authority.issue_code(sign_in, grant(), binding("")).await.unwrap()
}

fn presented(code: &Secret) -> CodePresentation<'_> {
    CodePresentation::new(code.expose(), "spa", VERIFIER).redirect_uri(URI)
}

/// Returns why a code was refused.
fn fault_of(exchanged: Result<IssuedPair, CodeError>) -> CodeFault {
    match exchanged {
        Err(CodeError::InvalidGrant(fault)) => fault,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn oauth_code_opens_the_session_that_was_granted() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let user = UserId::generate();
    let code = code(&authority, user).await;
    let signed_in_at = clock.now().timestamp();
    clock.advance(MINUTE / 2);
    let pair = authority.exchange_code(presented(&code)).await.unwrap();
    let claims = authority.verify(&pair.access_token).await.unwrap();
    assert_eq!((&claims.sub, claims.client_id.as_deref()), (&user.into(), Some("spa")));
    assert_eq!((&claims.scope, claims.acr.as_deref()), (&"profile".parse::<Scope>().unwrap(), Some("2")));
    assert_eq!(claims.auth_time.unwrap().timestamp(), signed_in_at, "the user signed in before the exchange");
    assert_eq!(*claims.custom::<Value>().unwrap(), json!({ "tenant": 7 }));
    authority.refresh(&pair.refresh_token).await.unwrap();
}

#[tokio::test]
async fn oauth_code_expires_after_a_minute() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let code = code(&authority, UserId::generate()).await;
    clock.advance(MINUTE);
    assert_eq!(fault_of(authority.exchange_code(presented(&code)).await), CodeFault::Unknown);
    let never_issued = Secret::generate().unwrap();
    assert_eq!(fault_of(authority.exchange_code(presented(&never_issued)).await), CodeFault::Unknown);
}

#[tokio::test]
async fn oauth_code_in_wrong_hands_is_neither_used_up_nor_does_it_end_anything() {
    let authority = builder(&clock()).build().unwrap();
    let code = code(&authority, UserId::generate()).await;
    let wrong = [
        CodePresentation::new(code.expose(), "other", VERIFIER).redirect_uri(URI),
        CodePresentation::new(code.expose(), "spa", "a-verifier-that-somebody-has-guessed-for-this-one")
            .redirect_uri(URI),
        CodePresentation::new(code.expose(), "spa", VERIFIER).redirect_uri("https://evil.example/cb"),
        CodePresentation::new(code.expose(), "spa", VERIFIER),
    ];
    for presentation in wrong {
        assert_eq!(fault_of(authority.exchange_code(presentation).await), CodeFault::Binding, "{presentation:?}");
    }
    let pair = authority.exchange_code(presented(&code)).await.unwrap();
    for presentation in wrong {
        assert_eq!(fault_of(authority.exchange_code(presentation).await), CodeFault::Binding, "{presentation:?}");
    }
    assert!(authority.verify(&pair.access_token).await.is_ok());
}

#[tokio::test]
async fn oauth_code_used_twice_ends_the_session_of_its_first_use() {
    let authority = builder(&clock()).build().unwrap();
    let user = UserId::generate();
    let other = sign_in(&authority, user).await;
    let code = code(&authority, user).await;
    let pair = authority.exchange_code(presented(&code)).await.unwrap();
    let next = authority.refresh(&pair.refresh_token).await.unwrap();
    let session_id = pair.session_id;
    for _ in 0..2 {
        assert_eq!(fault_of(authority.exchange_code(presented(&code)).await), CodeFault::Used { session_id });
    }
    assert_eq!(fault(&authority, &next.access_token).await, TokenFault::Revoked);
    assert_eq!(refusal(&authority, &next.refresh_token).await, GrantFault::Token(TokenFault::Revoked));
    assert!(authority.verify(&other.access_token).await.is_ok(), "the user's other sessions go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_code_used_by_many_at_once_leaves_no_session() {
    for _ in 0..20 {
        let authority = builder(&clock()).build().unwrap();
        let user = UserId::generate();
        let code = code(&authority, user).await;
        let tries = (0..8).map(|_| {
            let (authority, code) = (authority.clone(), code.clone());
            tokio::spawn(async move { authority.exchange_code(presented(&code)).await })
        });
        let done: Vec<_> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
        assert!(done.iter().filter(|done| done.is_ok()).count() <= 1, "{done:?}");
        assert_eq!(authority.sessions(user).await.unwrap(), [], "a second use ended the first one's session");
    }
}

/// Law 4 holds for codes.
#[tokio::test]
async fn oauth_code_does_not_survive_what_ends_the_users_sessions() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let user = UserId::generate();
    let before = code(&authority, user).await;
    authority.revoke_user(user, None).await.unwrap();
    assert_eq!(fault_of(authority.exchange_code(presented(&before)).await), CodeFault::Fenced);
    let proof = Prover::new(&clock).proof();
    assert_eq!(fault_of(authority.exchange_code(presented(&before).proof(&proof)).await), CodeFault::Fenced);
    let other = code(&authority, UserId::generate()).await;
    authority.exchange_code(presented(&other).proof(&proof)).await.expect("the proof is not used up");
    let between = code(&authority, user).await;
    authority.set_user_disabled(user, true).await.unwrap();
    assert_eq!(fault_of(authority.exchange_code(presented(&between)).await), CodeFault::Fenced);
    let disabled = authority.begin_sign_in(user).await.unwrap();
    assert!(matches!(authority.issue_code(disabled, grant(), binding("")).await, Err(SignInError::Disabled)));
    assert_eq!(authority.sessions(user).await.unwrap(), []);
}

#[tokio::test]
async fn oauth_code_is_exchanged_for_some_of_its_audiences() {
    let authority = builder(&clock()).audience("billing").build().unwrap();
    let both = || grant().audience("api").audience("billing");
    let issue = async |grant| {
        let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
        authority.issue_code(sign_in, grant, binding("")).await
    };
    let code = issue(both()).await.unwrap();
    let (billing, payroll) = (["billing".to_owned()], ["payroll".to_owned()]);
    let refused = authority.exchange_code(presented(&code).audiences(&payroll)).await;
    assert!(matches!(refused, Err(CodeError::Target)), "{refused:?}");
    let pair = authority.exchange_code(presented(&code).audiences(&billing)).await.unwrap();
    assert_eq!(authority.verify(&pair.access_token).await.unwrap().aud, billing);

    let code = issue(grant()).await.unwrap();
    let refused = authority.exchange_code(presented(&code).audiences(&billing)).await;
    assert!(matches!(refused, Err(CodeError::Target)), "the code is for the default: {refused:?}");
    assert!(matches!(issue(grant().audience("payroll")).await, Err(SignInError::Target)));
}

#[tokio::test]
async fn oauth_code_with_dpop_jkt_is_good_for_that_key_alone() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let (prover, thief) = (Prover::new(&clock), Prover::new(&clock));
    let key = prover.proof().thumbprint();
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    let code = authority.issue_code(sign_in, grant(), binding(&format!("&dpop_jkt={key}"))).await.unwrap();
    assert_eq!(fault_of(authority.exchange_code(presented(&code)).await), CodeFault::Binding);
    assert_eq!(fault_of(authority.exchange_code(presented(&code).proof(&thief.proof())).await), CodeFault::Binding);
    let pair = authority.exchange_code(presented(&code).proof(&prover.proof())).await.unwrap();
    assert_eq!(pair.token_type, TokenType::Dpop);
    let claims = authority.introspect(&pair.access_token).await.unwrap();
    assert_eq!(claims.claims().unwrap().cnf.unwrap().jkt, key);
}

#[tokio::test]
async fn oauth_code_is_stored_as_a_hash() {
    use auth_layer::store::{HashedKey, TokenStore};

    let (store, clock) = (Arc::new(MemoryStore::new()), clock());
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let builder = Authority::builder("https://issuer", Arc::clone(&store)).audience("api").keys(keys);
    let authority = builder.clock(clock.clone()).build().unwrap();
    let code = code(&authority, UserId::generate()).await;
    let key = HashedKey::of("authorization code", code.expose());
    let record = store.one_time(key, clock.now()).await.unwrap().unwrap();
    let kept = serde_json::to_string(&record).unwrap();
    assert!(!kept.contains(code.expose()) && kept.contains("spa"), "{kept}");
}

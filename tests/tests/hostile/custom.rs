//! Custom claims with a type: claims that are not of that type are the client's fault as well.

use auth_layer::{AuthError, Authority, Policy, TokenFault, Trust, store::TokenKind, trust::Authenticated};
use http::{Request, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{fixture::Fixture, forge::TokenDraft};

/// Custom claims of an application.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tenant {
    tenant: u32,
    roles: Vec<String>,
}

/// Returns tokens with a valid signature and a record whose claims are no [`Tenant`].
fn without_tenant(draft: &TokenDraft) -> Vec<(String, String)> {
    let with = |tenant: Value, roles: Value| draft.clone().claim("tenant", tenant).claim("roles", roles);
    let mut tokens = vec![
        ("none of them".to_owned(), draft.token()),
        ("no roles".to_owned(), draft.clone().claim("tenant", 7).token()),
        ("no tenant".to_owned(), draft.clone().claim("roles", json!([])).token()),
    ];
    for tenant in [json!(-1), json!(4_294_967_296_u64), json!(7.0), json!("7"), Value::Null, json!([7]), json!({})] {
        tokens.push((format!("tenant {tenant}"), with(tenant, json!([])).token()));
    }
    for roles in [Value::Null, json!("admin"), json!([1]), json!([null]), json!({ "0": "admin" }), json!([["admin"]])] {
        tokens.push((format!("roles {roles}"), with(json!(7), roles).token()));
    }
    tokens
}

/// Returns the answer to this token of a layer that demands a [`Tenant`].
async fn authenticate(authority: &Authority, single_use: bool, token: &str) -> Result<Authenticated, AuthError> {
    let policy = Policy::builder().custom_claims::<Tenant>();
    let policy = if single_use { policy.single_use() } else { policy };
    let request = Request::get("/").header(header::AUTHORIZATION, format!("Bearer {token}")).body(()).unwrap();
    Trust::from(authority).authenticate(&policy.build(), &request).await
}

/// Returns whether the token was refused for its custom claims.
fn is_refused(answer: &Result<Authenticated, AuthError>) -> bool {
    matches!(answer, Err(AuthError::InvalidToken(TokenFault::CustomClaims)))
}

#[tokio::test]
async fn claims_of_another_custom_type_are_refused() {
    let fixture = Fixture::new();
    let draft = fixture.good(TokenKind::Access).await.eddsa;
    for (order, authority) in fixture.authorities() {
        let before = fixture.store.calls().writes;
        for (name, token) in without_tenant(&draft) {
            // The second request is answered from the in-process cache.
            for _ in 0..2 {
                let answer = authenticate(authority, false, &token).await;
                assert!(is_refused(&answer), "{order}, {name}: {answer:?}");
            }
        }
        let right = draft.clone().claim("tenant", 7).claim("roles", json!(["admin"])).token();
        let Authenticated::Claims(claims) = authenticate(authority, false, &right).await.unwrap() else {
            panic!("{order}")
        };
        assert_eq!(*claims.custom::<Tenant>().unwrap(), Tenant { tenant: 7, roles: vec!["admin".to_owned()] });
        assert_eq!(fixture.store.calls().writes, before, "{order}: a write");
    }
}

#[tokio::test]
async fn single_use_token_with_claims_of_another_type_is_not_used_up() {
    let fixture = Fixture::new();
    let draft = fixture.good(TokenKind::SingleUse).await.eddsa;
    for (order, authority) in fixture.authorities() {
        let before = fixture.store.calls().writes;
        for (name, token) in without_tenant(&draft) {
            let answer = authenticate(authority, true, &token).await;
            assert!(is_refused(&answer), "{order}, {name}: {answer:?}");
            assert_eq!(fixture.store.calls().writes, before, "{order}, {name}: a write");
        }
    }
}

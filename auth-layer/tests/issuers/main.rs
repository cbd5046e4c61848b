//! Tokens of other issuers: whose are accepted, and how they are denied. On the in-memory store.

mod cache;
mod confusion;
mod deny;
mod logout;
#[cfg(feature = "metrics")]
mod metrics_shown;
#[path = "../support/minter.rs"]
mod minter;
mod node;
mod outage;
mod proofs;
#[path = "../support/prover.rs"]
mod prover;
#[cfg(feature = "discovery")]
mod remote;
mod settings;
mod streams;
#[path = "../support/vendors.rs"]
mod vendors;

use std::{sync::Arc, time::Duration};

use auth_layer::{
    AuthError, Authority, Claims, Grant, TokenFault, Trust,
    clock::{Clock, ManualClock},
    keys::{Keyring, SigningKey},
    store::MemoryStore,
    trust::{Authenticated, BuildError, Issuer, Policy, Typ},
};
use chrono::DateTime;
use http::Request;
use serde_json::{Value, json};

use self::{
    minter::Minter,
    node::{LEASE, Node},
    vendors::Vendor,
};

/// A lease that begins with the clock ends a nanosecond late.
const MILLI: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Our own issuer, and another one.
const OURS: &str = "https://auth.example";
const THEIRS: &str = "https://idp.example";

fn clock() -> ManualClock {
    ManualClock::starting_at(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

/// Returns the fault for which a token is refused.
fn fault<T: std::fmt::Debug>(result: Result<T, AuthError>) -> TokenFault {
    match result {
        Err(AuthError::InvalidToken(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

/// Checks a token as a layer with this policy does.
async fn check(trust: &Trust, policy: &Policy, token: &str) -> Result<Claims, AuthError> {
    let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
    match trust.authenticate(policy, &request).await? {
        Authenticated::Claims(claims) => Ok(claims),
        other => panic!("{other:?}"),
    }
}

/// Returns the claims of a token of `THEIRS`, by RFC 9068.
fn claims(clock: &ManualClock) -> Value {
    let now = clock.now().timestamp();
    json!({ "iss": THEIRS, "sub": "ada", "aud": "orders", "exp": now + 600, "iat": now, "jti": "t1", "sid": "s1" })
}

fn access() -> Value {
    json!({ "typ": "at+jwt" })
}

/// Returns an issuer with this key.
fn theirs(minter: &Minter) -> Issuer {
    Issuer::with_jwk_set(THEIRS, minter.jwk_set()).audience("orders")
}

#[tokio::test]
async fn issuer_tokens_are_accepted_and_read_as_each_vendor_mints_them() {
    for vendor in Vendor::all() {
        let clock = clock();
        let [node, _] = Node::pair(&clock, || vendor.trusted());
        let token = vendor.token(clock.now());
        for _ in 0..2 {
            // The second time from the in-process cache.
            let claims = node.trust.verify(&token).await.unwrap_or_else(|error| panic!("{}: {error:?}", vendor.name));
            assert_eq!((&*claims.iss, claims.token_id(), claims.session_id()), (vendor.issuer, None, None));
            let [sid, jti, client, scope] = [
                claims.sid.as_ref().map(ToString::to_string),
                claims.jti.as_ref().map(|jti| jti.to_string().len().to_string()),
                claims.client_id.clone(),
                Some(claims.scope.to_string()),
            ];
            let text = |text: &str| Some(text.to_owned());
            let expected = match vendor.name {
                "Keycloak" => [
                    text("0a4f4e0c-3f0b-4a37-8a39-6b7a4a4f7a10"),
                    text("36"),
                    text("web"),
                    text("openid profile email"),
                ],
                "Auth0" => [None, None, text("8Kz3"), text("openid read:orders")],
                "Entra" => {
                    [text("000e4bd1-2f3c-4d2a-8e5f-2b1e6f9d7c55"), text("36"), text("6e74172b"), text("orders.read")]
                }
                "Cognito" => {
                    [text("bbbbbbbb-bbbb-4ccc-8ddd-eeeeeeeeeeee"), text("36"), text("7f2k3"), text("orders/read phone")]
                }
                "Google" => [None, None, text("worker@project.iam.gserviceaccount.com"), text("")],
                _ => [None, None, None, text("")],
            };
            assert_eq!([sid, jti, client, scope], expected, "{}", vendor.name);
        }
        clock.advance(2 * HOUR);
        assert_eq!(fault(node.trust.verify(&token).await), TokenFault::Expired, "{}", vendor.name);
    }
}

#[tokio::test]
async fn issuer_tokens_keep_their_custom_claims() {
    #[derive(serde::Deserialize)]
    struct Access {
        realm_access: Roles,
        azp: String,
    }
    #[derive(serde::Deserialize)]
    struct Roles {
        roles: Vec<String>,
    }

    let (clock, vendor) = (clock(), vendors::keycloak());
    let [node, _] = Node::pair(&clock, || vendor.trusted());
    let claims = node.trust.verify(&vendor.token(clock.now())).await.unwrap();
    let access = claims.custom::<Access>().unwrap();
    assert_eq!((access.realm_access.roles.as_slice(), &*access.azp), (&["offline_access".to_owned()][..], "web"));
}

#[tokio::test]
async fn issuer_of_a_policy_that_names_none_is_our_own() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let authority = Authority::builder(OURS, MemoryStore::new()).audience("orders").clock(clock.clone());
    let authority = authority.keys(Keyring::new(SigningKey::generate().unwrap())).build().unwrap();
    let trust = Trust::new(&authority).issuer(theirs(&minter)).build().unwrap();
    assert_eq!(trust.issuers().collect::<Vec<_>>(), [OURS, THEIRS]);
    let sign_in = authority.begin_sign_in(7_u64).await.unwrap();
    let own = authority.sign_in(sign_in, Grant::new("web")).await.unwrap().access_token;
    let other = minter.mint(access(), &claims(&clock));
    let policy = |names: &[&str]| Policy::builder().issuers(names.iter().copied()).build();

    for (policy, takes_own, takes_other) in [
        (Policy::default(), true, false),
        (policy(&[OURS]), true, false),
        (policy(&[THEIRS]), false, true),
        (policy(&[OURS, THEIRS]), true, true),
        (policy(&["https://unknown.example"]), false, false),
    ] {
        for (token, takes) in [(&own, takes_own), (&other, takes_other)] {
            for _ in 0..2 {
                match check(&trust, &policy, token).await {
                    Ok(claims) => assert!(takes, "{policy:?} {claims:?}"),
                    // Read as ours, it names no key of ours.
                    refused => {
                        assert!(!takes && matches!(fault(refused), TokenFault::Issuer | TokenFault::Key), "{policy:?}");
                    }
                }
            }
        }
    }
    // The authority's own trust knows no other issuer.
    assert!(check(authority.trust(), &policy(&[THEIRS]), &other).await.is_err());
}

#[tokio::test]
async fn issuer_of_another_trust_follows_the_authoritys_keys() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let builder = Authority::builder(OURS, MemoryStore::new()).audience("orders").clock(clock.clone());
    let authority = builder.keys(Keyring::new(SigningKey::generate().unwrap())).local_cache(LEASE).build().unwrap();
    let trust = Trust::new(&authority).issuer(theirs(&minter)).build().unwrap();
    authority.set_keys(Keyring::new(SigningKey::generate().unwrap()));
    let sign_in = authority.begin_sign_in(7_u64).await.unwrap();
    let token = authority.sign_in(sign_in, Grant::new("web")).await.unwrap().access_token;
    trust.verify(&token).await.unwrap();
    authority.set_keys(Keyring::new(SigningKey::generate().unwrap()));
    assert_eq!(fault(trust.verify(&token).await), TokenFault::Key);
}

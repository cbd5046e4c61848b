//! What an issuer's settings accept and refuse.

use auth_layer::{
    keys::{Algorithm, KeyError, VerifyingKey},
    trust::TrustBuilder,
};

use super::*;

fn builder() -> TrustBuilder {
    Trust::builder(MemoryStore::new())
}

fn key() -> VerifyingKey {
    SigningKey::generate().unwrap().verifying_key()
}

fn refused(issuer: Issuer) -> String {
    builder().issuer(issuer).build().unwrap_err().to_string()
}

#[test]
fn issuer_settings_that_cannot_work_fail_the_build() {
    let other = || Issuer::with_keys(THEIRS, key());
    for (issuer, why) in [
        (Issuer::with_keys("", key()).audience("orders"), "the issuer's name is empty"),
        (other(), "no audience was given"),
        (other().claim("token_use", "access"), "no audience was given"),
        (other().audience(""), "the audience is empty"),
        (other().audience("a").max_life(Duration::ZERO), "`max_life` is zero or longer than ten years"),
        (other().audience("a").max_session_life(HOUR), "`max_session_life` is shorter than `max_life`"),
        (other().audience("a").algorithms([]), "no algorithm was given"),
        (other().audience("a").algorithms([Algorithm::Rs256]), "no key of an allowed algorithm was given"),
        (other().audience("a").claim("", "x"), "the name or value of a claim is empty"),
        (other().audience("a").claim("azp", ""), "the name or value of a claim is empty"),
        (other().audience("a").claim("iss", "x"), "the claim `iss` is always checked, and has a setting of its own"),
        (other().audience("a").logout_audience(""), "the audience of logout tokens is empty"),
        (Issuer::with_jwk_set(THEIRS, "{}").audience("a"), "the keys of \"https://idp.example\" cannot be used"),
        (
            Issuer::recorded(OURS, key()).audience("a").typ(Typ::AnyJwt),
            "`typ` is a setting for issuers that record no tokens",
        ),
    ] {
        assert_eq!(refused(issuer), why);
    }
    builder().issuer(other().claim("azp", "web")).build().unwrap();
    let Err(BuildError::Keys { source, .. }) =
        builder().issuer(Issuer::with_jwk_set(THEIRS, "[]").audience("a")).build()
    else {
        panic!()
    };
    assert!(matches!(source, KeyError::Set(_)));
}

#[test]
fn issuers_of_one_name_or_two_that_record_tokens_fail_the_build() {
    let recorded = |name: &str| Issuer::recorded(name, key()).audience("a");
    let other = |name: &str| Issuer::with_keys(name, key()).audience("a");
    let same = builder().issuer(other(THEIRS)).issuer(other(THEIRS)).build();
    assert!(matches!(same, Err(BuildError::SameName(name)) if name == THEIRS));
    let two = builder().issuer(recorded(OURS)).issuer(recorded(THEIRS)).build();
    assert!(matches!(two, Err(BuildError::SecondRecorded(name)) if name == THEIRS));
    assert!(matches!(builder().build(), Err(BuildError::Missing("issuer"))));
    // Another issuer with the authority's name.
    let authority = Authority::builder(OURS, MemoryStore::new()).audience("orders");
    let authority = authority.keys(Keyring::new(SigningKey::generate().unwrap())).build().unwrap();
    let same = Trust::new(&authority).issuer(other(OURS)).build();
    assert!(matches!(same, Err(BuildError::SameName(name)) if name == OURS));
    // Our own is the first, in whichever order they were added.
    let trust = builder().issuer(other(THEIRS)).issuer(recorded(OURS)).build().unwrap();
    assert_eq!(trust.issuers().collect::<Vec<_>>(), [OURS, THEIRS]);
}

#[tokio::test]
async fn issuer_claims_must_be_as_set_alone_or_in_an_array() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let [node, _] =
        Node::pair(&clock, || theirs(&minter).claim("azp", "web").claim("azp", "app").claim("groups", "staff"));
    let token = |azp: Value, groups: Value| {
        let mut claims = claims(&clock);
        (claims["azp"], claims["groups"]) = (azp, groups);
        minter.mint(access(), &claims)
    };
    for azp in ["web", "app"] {
        node.trust.verify(&token(json!(azp), json!(["staff", "sales"]))).await.unwrap();
        node.trust.verify(&token(json!(azp), json!("staff"))).await.unwrap();
    }
    for (azp, groups) in [
        (json!("other"), json!("staff")),
        (json!("web"), json!(null)),
        (json!("web"), json!("staff2")),
        (json!("web"), json!([])),
        (json!("web"), json!({ "staff": true })),
    ] {
        assert_eq!(fault(node.trust.verify(&token(azp, groups)).await), TokenFault::ClaimRule);
    }
}

#[tokio::test]
async fn issuer_tokens_that_live_longer_than_allowed_are_refused_until_their_end() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let [node, _] = Node::pair(&clock, || theirs(&minter).max_life(HOUR));
    let token = |life: Duration, is_dated: bool| {
        let mut claims = claims(&clock);
        claims["exp"] = (clock.now() + life).timestamp().into();
        if !is_dated {
            claims.as_object_mut().unwrap().remove("iat");
        }
        minter.mint(access(), &claims)
    };
    let second = Duration::from_secs(1);
    node.trust.verify(&token(HOUR, true)).await.unwrap();
    node.trust.verify(&token(HOUR, false)).await.unwrap();
    assert_eq!(fault(node.trust.verify(&token(HOUR + second, true)).await), TokenFault::Lifetime);
    assert_eq!(fault(node.trust.verify(&token(HOUR + MINUTE, false)).await), TokenFault::Lifetime);
    // Towards its end it lives no longer than allowed, but the denial of its subject may be over.
    let long = token(10 * HOUR, true);
    clock.advance(9 * HOUR + MINUTE);
    assert_eq!(fault(node.trust.verify(&long).await), TokenFault::Lifetime);
}

#[tokio::test]
async fn issuer_token_without_kid_is_accepted_where_one_key_fits() {
    let clock = clock();
    let (rsa, p256) = (Minter::rsa("k1"), Minter::p256("k2"));
    let set = |keys: &[Value]| json!({ "keys": keys }).to_string();
    let mut second = Minter::p256("k3").jwk();
    second.as_object_mut().unwrap().remove("kid");
    let token = p256.mint(json!({ "typ": "at+jwt", "kid": null }), &claims(&clock));
    for (keys, accepts) in [
        (set(&[p256.jwk()]), true),
        (set(&[rsa.jwk(), p256.jwk()]), true),
        (set(&[p256.jwk(), second]), false),
        (set(&[rsa.jwk()]), false),
    ] {
        let [node, _] = Node::pair(&clock, || Issuer::with_jwk_set(THEIRS, &*keys).audience("orders"));
        match node.trust.verify(&token).await {
            Ok(_) => assert!(accepts),
            refused => assert!(!accepts && fault(refused) == TokenFault::Key),
        }
        let other = p256.mint(json!({ "typ": "at+jwt", "kid": "k9" }), &claims(&clock));
        assert_eq!(fault(node.trust.verify(&other).await), TokenFault::Key, "a kid is never ignored");
    }
}

#[tokio::test]
async fn issuer_of_a_shared_secret_needs_the_key_itself() {
    let (clock, secret) = (clock(), [7; 32]);
    let key = SigningKey::from_secret("shared", &secret).unwrap().verifying_key();
    let [node, _] = Node::pair(&clock, || Issuer::with_keys(THEIRS, key.clone()).typ(Typ::AnyJwt).audience("orders"));
    let input = {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let [header, payload] = [json!({ "alg": "HS256", "typ": "JWT" }), claims(&clock)]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let input = format!("{header}.{payload}");
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, input.as_bytes())))
    };
    node.trust.verify(&input).await.unwrap();
    let set =
        json!({ "keys": [{ "kty": "oct", "kid": "shared", "k": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc" }] });
    let published = Issuer::with_jwk_set(THEIRS, set.to_string()).audience("orders");
    assert_eq!(refused(published), format!("the keys of {THEIRS:?} cannot be used"));
}

//! Denials by token, session and subject.

use super::*;

/// The ways in which a vendor's token is denied.
#[derive(Clone, Copy, Debug)]
enum Way {
    Claims,
    Token,
    Session,
    Subject,
}

async fn deny(trust: &Trust, way: Way, token: &str, claims: &Claims) {
    match (way, &claims.sid) {
        (Way::Claims, _) => trust.deny(claims).await,
        (Way::Token, _) => trust.deny_token(token).await,
        (Way::Session, Some(session)) => trust.deny_session(&claims.iss, session).await,
        (Way::Session, None) => panic!("there is no session"),
        (Way::Subject, _) => trust.deny_subject(&claims.iss, &claims.sub).await,
    }
    .unwrap();
}

#[tokio::test]
async fn denied_token_of_each_vendor_is_refused_on_two_nodes_within_the_lease() {
    for vendor in Vendor::all() {
        for way in [Way::Claims, Way::Token, Way::Session, Way::Subject] {
            let clock = clock();
            let [denying, other] = Node::pair(&clock, || vendor.trusted());
            let token = vendor.token(clock.now());
            let claims = denying.trust.verify(&token).await.unwrap();
            other.trust.verify(&token).await.unwrap();
            if matches!(way, Way::Session) && claims.sid.is_none() {
                continue;
            }
            deny(&denying.trust, way, &token, &claims).await;
            let case = format!("{} {way:?}", vendor.name);
            assert_eq!(fault(denying.trust.verify(&token).await), TokenFault::Revoked, "{case}");
            other.trust.verify(&token).await.unwrap();
            clock.advance(LEASE + MILLI);
            assert_eq!(fault(other.trust.verify(&token).await), TokenFault::Revoked, "{case}");
        }
    }
}

#[tokio::test]
async fn denied_token_is_refused_alone_and_a_session_with_all_its_tokens() {
    let (clock, vendor) = (clock(), vendors::keycloak());
    let [node, _] = Node::pair(&clock, || vendor.trusted());
    let tokens = [vendor.token(clock.now()), vendor.token(clock.now())];
    node.trust.deny_token(&tokens[0]).await.unwrap();
    assert_eq!(fault(node.trust.verify(&tokens[0]).await), TokenFault::Revoked);
    let claims = node.trust.verify(&tokens[1]).await.unwrap();

    node.trust.deny_session(vendor.issuer, claims.sid.as_ref().unwrap()).await.unwrap();
    assert_eq!(fault(node.trust.verify(&tokens[1]).await), TokenFault::Revoked);
    // Also what the issuer mints later, but no other session.
    clock.advance(HOUR);
    assert_eq!(fault(node.trust.verify(&vendor.token(clock.now())).await), TokenFault::Revoked);
    let other = vendor.token_with(clock.now(), |claims| claims["sid"] = "another".into());
    node.trust.verify(&other).await.unwrap();
}

#[tokio::test]
async fn denied_subject_is_refused_what_was_issued_until_then_and_within_the_leeway() {
    let (clock, vendor) = (clock(), vendors::auth0());
    let [node, _] = Node::pair(&clock, || vendor.trusted());
    let old = vendor.token(clock.now());
    let claims = node.trust.verify(&old).await.unwrap();
    node.trust.deny_subject(vendor.issuer, &claims.sub).await.unwrap();
    clock.advance(Duration::from_secs(30));
    assert_eq!(fault(node.trust.verify(&vendor.token(clock.now())).await), TokenFault::Revoked);
    clock.advance(Duration::from_secs(1));
    node.trust.verify(&vendor.token(clock.now())).await.unwrap();
    // A token that does not say when it was issued counts as issued before.
    let undated = vendor.token_with(clock.now(), |claims| {
        claims.as_object_mut().unwrap().remove("iat");
    });
    for token in [&old, &undated] {
        assert_eq!(fault(node.trust.verify(token).await), TokenFault::Revoked);
    }
    let other = vendor.token_with(clock.now(), |claims| claims["sub"] = "auth0|other".into());
    node.trust.verify(&other).await.unwrap();
}

/// ECDSA signatures are malleable: of one, anybody can make a second one that is right.
#[tokio::test]
async fn denied_token_without_an_id_is_refused_with_each_of_its_signatures() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (clock, vendor) = (clock(), vendors::pyjwt());
    let [node, _] = Node::pair(&clock, || vendor.trusted());
    let token = vendor.token(clock.now());
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(ORDER[at]) - i16::from(signature[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        signature[32 + at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let twin = format!("{input}.{}", URL_SAFE_NO_PAD.encode(&signature));
    assert_ne!(twin, token);
    node.trust.verify(&twin).await.unwrap();
    node.trust.deny_token(&token).await.unwrap();
    for token in [&token, &twin] {
        assert_eq!(fault(node.trust.verify(token).await), TokenFault::Revoked);
    }
}

#[tokio::test]
async fn deny_refuses_forged_tokens_and_unknown_issuers() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let [node, _] = Node::pair(&clock, || theirs(&minter));
    let forged = Minter::ed25519("k1").mint(access(), &claims(&clock));
    assert_eq!(fault(node.trust.deny_token(&forged).await), TokenFault::Signature);
    assert_eq!(fault(node.trust.deny_token("a.b.c").await), TokenFault::Malformed);
    let user: auth_layer::Subject = "ada".parse().unwrap();
    assert_eq!(fault(node.trust.deny_subject("https://unknown.example", &user).await), TokenFault::Issuer);
    node.trust.verify(&minter.mint(access(), &claims(&clock))).await.unwrap();
}

#[tokio::test]
async fn deny_refuses_tokens_of_an_authority_which_revokes_them() {
    let authority = Authority::builder(OURS, MemoryStore::new()).audience("orders");
    let authority = authority.keys(Keyring::new(SigningKey::generate().unwrap())).build().unwrap();
    let sign_in = authority.begin_sign_in(7_u64).await.unwrap();
    let token = authority.sign_in(sign_in, Grant::new("web")).await.unwrap().access_token;
    let trust = Trust::new(&authority).issuer(theirs(&Minter::ed25519("k1"))).build().unwrap();
    let claims = trust.verify(&token).await.unwrap();
    assert_eq!(fault(trust.deny(&claims).await), TokenFault::Issuer);
    assert_eq!(fault(trust.deny_token(&token).await), TokenFault::Issuer);
    assert_eq!(fault(trust.deny_subject(OURS, &claims.sub).await), TokenFault::Issuer);
}

#[tokio::test]
async fn denied_token_stays_denied_until_no_node_accepts_it() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let day = 24 * HOUR;
    for way in [Way::Token, Way::Session, Way::Subject] {
        let [node, _] = Node::pair(&clock, || theirs(&minter).max_life(day).max_session_life(2 * day));
        let mut claims = claims(&clock);
        claims["exp"] = (clock.now() + day).timestamp().into();
        let token = minter.mint(access(), &claims);
        let claims = node.trust.verify(&token).await.unwrap();
        deny(&node.trust, way, &token, &claims).await;
        // Until the leeway after its expiry.
        for _ in 0..24 {
            assert_eq!(fault(node.trust.verify(&token).await), TokenFault::Revoked, "{way:?}");
            clock.advance(HOUR);
        }
        clock.advance(Duration::from_secs(29));
        assert_eq!(fault(node.trust.verify(&token).await), TokenFault::Revoked, "{way:?}");
        clock.advance(Duration::from_secs(1));
        assert_eq!(fault(node.trust.verify(&token).await), TokenFault::Expired, "{way:?}");
    }
}

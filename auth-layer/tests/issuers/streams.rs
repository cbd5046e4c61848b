//! Streams of other issuers' tokens.

use auth_layer::stream::StreamEnd;
use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn stream_of_another_issuers_token_ends_with_each_denial_on_its_node() {
    for way in 0..4 {
        let (clock, minter) = (clock(), Minter::ed25519("k1"));
        let node = Node::new(&clock, theirs(&minter));
        let [token, other] = [("t1", "s1", "ada"), ("t2", "s2", "bob")].map(|(id, session, subject)| {
            let mut claims = claims(&clock);
            (claims["jti"], claims["sid"], claims["sub"]) = (id.into(), session.into(), subject.into());
            minter.mint(access(), &claims)
        });
        let claims = node.trust.verify(&token).await.unwrap();
        let mut revoked = node.trust.revoked(&claims);
        let mut other = node.trust.revoked(&node.trust.verify(&other).await.unwrap());
        assert!(timeout(Duration::from_millis(50), &mut revoked).await.is_err());
        match way {
            0 => node.trust.deny_token(&token).await.unwrap(),
            1 => node.trust.deny_session(THEIRS, claims.sid.as_ref().unwrap()).await.unwrap(),
            2 => node.trust.deny_subject(THEIRS, &claims.sub).await.unwrap(),
            _ => node.trust.deny(&claims).await.unwrap(),
        }
        assert_eq!(timeout(MINUTE, &mut revoked).await.unwrap(), StreamEnd::Revoked, "{way}");
        assert!(timeout(Duration::from_millis(50), &mut other).await.is_err(), "{way}");
    }
}

#[tokio::test]
async fn stream_of_another_issuers_token_ends_with_a_denial_on_another_node_and_at_its_expiry() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let [denying, watching] = Node::pair(&clock, || theirs(&minter));
    let token = minter.mint(access(), &claims(&clock));
    let claims = watching.trust.verify(&token).await.unwrap();
    let mut revoked = watching.trust.revoked(&claims);
    assert!(timeout(Duration::from_millis(50), &mut revoked).await.is_err());
    denying.trust.deny_token(&token).await.unwrap();
    clock.advance(LEASE + MILLI);
    assert_eq!(timeout(MINUTE, revoked).await.unwrap(), StreamEnd::Revoked);

    let mut lasting = self::claims(&clock);
    lasting["jti"] = "t2".into();
    let claims = watching.trust.verify(&minter.mint(access(), &lasting)).await.unwrap();
    let mut revoked = watching.trust.revoked(&claims);
    assert!(timeout(Duration::from_millis(50), &mut revoked).await.is_err());
    clock.advance(HOUR);
    assert_eq!(timeout(MINUTE, revoked).await.unwrap(), StreamEnd::Expired);
}

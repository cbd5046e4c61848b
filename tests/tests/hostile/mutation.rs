//! Random damage, the same on every run.

use auth_layer::{AuthError, Claims, GrantFault, RefreshError, store::TokenKind};
use http::{HeaderValue, Request, StatusCode, header};

use crate::{
    fixture::Fixture,
    forge::{KEYS, TokenDraft},
    protected_route::{ProtectedRoute, bearer},
};

/// The number of damaged tokens.
const ROUNDS: usize = 4_000;

/// xorshift64* (Vigna 2016), good enough to choose bytes by.
struct Random(u64);

impl Random {
    /// Returns the next number.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Returns a number below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// Returns a byte.
    fn byte(&mut self) -> u8 {
        // Mostly characters of tokens, so that the damage passes the first checks.
        let likely = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_..{}[]\",:\\ne";
        if self.below(8) == 0 { self.next().to_le_bytes()[0] } else { likely[self.below(likely.len())] }
    }

    /// Returns these bytes with a few of them flipped, replaced, inserted, deleted, repeated, or
    /// spliced in from `other`.
    fn damage(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let length = self.below((bytes.len() - at).min(40)) + 1;
            match self.below(7) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.byte(),
                2 => bytes.insert(at, self.byte()),
                3 if bytes.len() > 40 => drop(bytes.drain(at..at + length)),
                4 => bytes.splice(at..at, bytes[at..at + length].to_vec()).for_each(drop),
                5 if at > 0 => bytes.swap(at, self.below(at)),
                _ => {
                    let from = self.below(other.len());
                    let piece = &other[from..other.len().min(from + length)];
                    bytes.splice(at..at + length, piece.iter().copied()).for_each(drop);
                }
            }
        }
        bytes
    }
}

#[tokio::test]
async fn mutation_of_a_token_is_never_accepted() {
    let fixture = Fixture::new();
    let access = fixture.good(TokenKind::Access).await;
    let refresh = fixture.good(TokenKind::Refresh).await;
    let once = fixture.good(TokenKind::SingleUse).await;
    let mut random = Random(0x5eed);
    let before = fixture.store.calls().writes;
    for (order, authority) in fixture.authorities() {
        let route = ProtectedRoute::new(authority, false);
        for key in KEYS.each() {
            let sign = |draft: &TokenDraft| draft.clone().signed_by(key).token();
            let other = sign(&access.other);
            let (access, refresh, once) = (sign(&access.eddsa), sign(&refresh.eddsa), sign(&once.eddsa));
            assert!(authority.verify(&access).await.is_ok());
            for round in 0..ROUNDS / 10 {
                let name = format!("{order}, {}, round {round}", key.alg());
                let damaged = random.damage(access.as_bytes(), other.as_bytes());
                if damaged == access.as_bytes() || damaged == other.as_bytes() {
                    continue;
                }
                if let Ok(value) = HeaderValue::from_bytes(&[b"Bearer ", &damaged[..]].concat()) {
                    let request = Request::get("/").header(header::AUTHORIZATION, value);
                    let status = route.send(request.body(axum::body::Body::empty()).unwrap()).await.status;
                    let refused = [StatusCode::UNAUTHORIZED, StatusCode::BAD_REQUEST];
                    assert!(refused.contains(&status), "{name}: {status}: {}", damaged.escape_ascii());
                }
                if let Ok(damaged) = String::from_utf8(damaged) {
                    let verified = authority.verify(&damaged).await;
                    assert!(matches!(verified, Err(AuthError::InvalidToken(_))), "{name}: {verified:?}: {damaged}");
                }
                if let Ok(damaged) = String::from_utf8(random.damage(refresh.as_bytes(), access.as_bytes()))
                    && damaged != refresh
                {
                    let refused = authority.refresh(&damaged).await;
                    let of_itself = matches!(refused, Err(RefreshError::InvalidGrant(GrantFault::Token(_))));
                    assert!(of_itself, "{name}: {refused:?}: {damaged}");
                }
                if let Ok(damaged) = String::from_utf8(random.damage(once.as_bytes(), access.as_bytes()))
                    && damaged != once
                {
                    let consumed = authority.spend(&damaged).await;
                    assert!(matches!(consumed, Err(AuthError::InvalidToken(_))), "{name}: {consumed:?}: {damaged}");
                }
            }
        }
        assert_eq!(route.handler_calls(), 0, "{order}");
    }
    assert_eq!(fixture.store.calls().writes, before, "a write");
    assert!(fixture.record_first.refresh(&refresh.eddsa.token()).await.is_ok());
    assert!(fixture.record_first.spend(&once.eddsa.token()).await.is_ok());
}

/// Damage below the signature, as a broken issuer with our key might make it. The token may be good
/// (an unknown claim, another scope), but then it is the recorded one. Otherwise it is refused as
/// the client's fault.
#[tokio::test]
async fn mutation_that_is_signed_is_refused_or_is_the_recorded_token() {
    let fixture = Fixture::new();
    let good = fixture.good(TokenKind::Access).await;
    let draft = &good.eddsa;
    let issued = fixture.record_first.verify(&draft.token()).await.unwrap();
    let (header_text, payload_text) = (draft.header_text(), draft.payload_text());
    let other = good.other.payload_text();
    let mut random = Random(0xbad_5eed);
    let before = fixture.store.calls().writes;
    let (mut accepted, mut refused) = (0, 0);
    for (order, authority) in fixture.authorities() {
        let route = ProtectedRoute::new(authority, false);
        for round in 0..ROUNDS / 2 {
            let token = if random.below(3) == 0 {
                draft.with_header_text(random.damage(header_text.as_bytes(), payload_text.as_bytes()))
            } else {
                draft.with_payload_text(random.damage(payload_text.as_bytes(), other.as_bytes()))
            };
            match authority.verify(&token).await {
                Ok(claims) => {
                    accepted += 1;
                    let of = |claims: &Claims| (claims.jti.clone(), claims.sub.clone(), claims.sid.clone(), claims.exp);
                    assert_eq!(
                        (&claims.iss, &claims.aud),
                        (&issued.iss, &issued.aud),
                        "{order}, round {round}: {token}"
                    );
                    assert_eq!(of(&claims), of(&issued), "{order}, round {round}: {token}");
                }
                Err(AuthError::InvalidToken(_)) => {
                    refused += 1;
                    let request = Request::get("/").header(header::AUTHORIZATION, bearer(&token).unwrap());
                    let status = route.send(request.body(axum::body::Body::empty()).unwrap()).await.status;
                    assert_eq!(status, StatusCode::UNAUTHORIZED, "{order}, round {round}: {token}");
                }
                Err(other) => panic!("{order}, round {round}: {other:?}: {token}"),
            }
        }
    }
    assert_eq!(fixture.store.calls().writes, before, "a write");
    assert!(accepted > 0 && refused > ROUNDS / 2, "the damage is neither nothing nor all: {accepted}, {refused}");
}

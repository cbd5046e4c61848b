//! The routers that are compared: bare, with this crate, and with its alternatives.
//!
//! Each is an axum router with one route, `GET /me`, whose handler does nothing. All get the same
//! tokens, which this crate issues. All check the signature, `exp`, `iss` and `aud`; only this
//! crate checks that the token is not revoked.

pub(crate) mod key;

use std::sync::Arc;

use auth_layer::{AuthLayer, Authority, Trust, dpop::ProofPolicy, extract::Custom, keys::Keyring, trust::Issuer};
use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::get,
};
use axum_jwt_auth::{Decoder, LocalDecoder};
use jsonwebtoken::{DecodingKey, Validation};
use serde::{Deserialize, Serialize};

use self::key::{AUDIENCE, ISSUER, Key, PeerClaims, SECRET};

async fn me() -> &'static str {
    "ok"
}

/// Returns the bare router. It has its state, like a router that is being served.
pub(crate) fn bare() -> Router {
    Router::new().route("/me", get(me)).with_state(())
}

/// Returns the router behind this crate's layer.
pub(crate) fn layered(authority: &Authority) -> Router {
    bare().layer(AuthLayer::new(authority.clone()))
}

/// The custom claims of [`typed`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Tenant {
    pub(crate) tenant: u64,
}

/// Returns this crate's router with a handler that takes custom claims.
#[allow(dead_code, reason = "not every benchmark has all of them")]
pub(crate) fn typed(authority: &Authority) -> Router {
    let me = async |Custom(tenant): Custom<Tenant>| if tenant.tenant == 7 { "ok" } else { "another's" };
    Router::new().route("/me", get(me)).with_state(()).layer(AuthLayer::new(authority))
}

/// Returns this crate's router with one policy around the router and another around the route.
#[allow(dead_code, reason = "not every benchmark has all of them")]
pub(crate) fn layered_twice(authority: &Authority) -> Router {
    let inner = bare().layer(AuthLayer::builder(authority).scope("profile").build());
    inner.layer(AuthLayer::new(authority))
}

/// Returns this crate's router behind a layer that takes the tokens of another issuer too.
#[allow(dead_code, reason = "not every benchmark has all of them")]
pub(crate) fn with_issuer(authority: &Authority, name: &str, keys: &Keyring) -> Router {
    let issuer = Issuer::with_keys(name, keys).audience(AUDIENCE);
    let trust = Trust::new(authority).issuer(issuer).build().expect("the settings are right");
    bare().layer(AuthLayer::builder(trust).issuers([ISSUER, name]).build())
}

/// Returns this crate's router behind a layer that takes proofs.
#[allow(dead_code, reason = "not every benchmark has all of them")]
pub(crate) fn with_proofs(authority: &Authority, origin: &str) -> Router {
    let proofs = ProofPolicy::new(origin.parse().expect("an origin"));
    bare().layer(AuthLayer::builder(authority).dpop(proofs).build())
}

/// Returns a router with the middleware that a careful engineer writes with jsonwebtoken.
pub(crate) fn hand_written(key: &Key) -> Router {
    bare().layer(from_fn_with_state(Arc::new(key.decoding()), check_by_hand))
}

async fn check_by_hand(
    State(decoding): State<Arc<(DecodingKey, Validation)>>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let claims = decode_by_hand(&request, &decoding)?;
    request.extensions_mut().insert(Arc::new(claims));
    Ok(next.run(request).await)
}

/// Decodes the claims of a request's bearer token.
pub(crate) fn decode_by_hand(
    request: &Request,
    (key, validation): &(DecodingKey, Validation),
) -> Result<PeerClaims, StatusCode> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or(StatusCode::UNAUTHORIZED)?;
    match jsonwebtoken::decode(token, key, validation) {
        Ok(token) => Ok(token.claims),
        Err(_) => Err(StatusCode::UNAUTHORIZED),
    }
}

/// Returns a router with axum-jwt-auth's extractor.
pub(crate) fn axum_jwt_auth(key: &Key) -> Router {
    let (key, validation) = decoding_10(key);
    let decoder = LocalDecoder::new(vec![key], validation).expect("it is complete");
    let decoder: Decoder<PeerClaims> = Arc::new(decoder);
    Router::new().route("/me", get(async |_: axum_jwt_auth::Claims<PeerClaims>| "ok")).with_state(decoder)
}

/// Returns the key for the jsonwebtoken that axum-jwt-auth uses, on `RustCrypto`.
fn decoding_10(key: &Key) -> (jsonwebtoken_10::DecodingKey, jsonwebtoken_10::Validation) {
    let decoding = match key.jwk() {
        Some(jwk) => {
            let jwk: jsonwebtoken_10::jwk::Jwk = serde_json::from_str(&jwk).expect("a JWK of ours is one");
            jsonwebtoken_10::DecodingKey::from_jwk(&jwk).expect("jsonwebtoken has the same algorithms")
        }
        None => jsonwebtoken_10::DecodingKey::from_secret(SECRET),
    };
    let algorithm = key.algorithm.as_str().parse().expect("jsonwebtoken has the same names");
    let mut validation = jsonwebtoken_10::Validation::new(algorithm);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    (decoding, validation)
}

mod claims;
mod garbage;
mod nonces;
mod proofs;
mod rfc;
mod targets;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::{
    clock::Timestamp,
    jwt::assemble,
    keys::{Algorithm, SigningKey},
};

const NOW: i64 = 1_700_000_000;
const PATH: &str = "/orders";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds, 0).unwrap()
}

fn origin() -> Origin {
    "https://api.example".parse().unwrap()
}

fn key() -> SigningKey {
    SigningKey::generate().unwrap()
}

/// Returns the public JWK of a key, with the members that its type needs.
fn jwk(key: &SigningKey) -> Value {
    let mut jwk = key.verifying_key().to_jwk().unwrap();
    jwk.as_object_mut().unwrap().retain(|name, _| ["kty", "crv", "x", "y"].contains(&name.as_str()));
    jwk
}

fn header(key: &SigningKey) -> Value {
    json!({ "typ": "dpop+jwt", "alg": key.algorithm().as_str(), "jwk": jwk(key) })
}

fn payload() -> Value {
    json!({ "jti": "a-jti", "htm": "GET", "htu": "https://api.example/orders", "iat": NOW })
}

/// Signs a proof with any header and payload.
fn signed(key: &SigningKey, header: &str, payload: &str) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = key.sign(input.as_bytes()).unwrap();
    assemble(input, &signature)
}

/// Returns an object with another value for one member; `None` removes it.
fn with(mut object: Value, name: &str, value: Option<Value>) -> Value {
    let members = object.as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    object
}

/// Verifies a proof for the request that [`payload`] is for.
fn verify(text: &str) -> Result<Proof, ProofFault> {
    let origin = origin();
    ProofCheck::new(&Method::GET, &origin, PATH, at(NOW)).verify(text)
}

/// Verifies a proof with this header.
fn verify_header(key: &SigningKey, header: &Value) -> Result<Proof, ProofFault> {
    verify(&signed(key, &header.to_string(), &payload().to_string()))
}

/// Verifies a proof with this payload.
fn verify_payload(payload: &Value) -> Result<Proof, ProofFault> {
    let key = key();
    verify(&signed(&key, &header(&key).to_string(), &payload.to_string()))
}

fn fault(result: Result<Proof, ProofFault>) -> Option<ProofFault> {
    result.err()
}

//! A client that proves possession of a key.

use std::sync::Arc;

use auth_layer::{
    clock::Clock,
    dpop::{Proof, ProofPolicy},
};
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// The origin that proofs name.
pub(crate) const ORIGIN: &str = "https://api.example";

/// A key, and the clock that dates its proofs.
pub(crate) struct Prover {
    key: Ed25519KeyPair,
    clock: Arc<dyn Clock>,
}

impl Prover {
    pub(crate) fn new(clock: &(impl Clock + Clone)) -> Self {
        Self { key: Ed25519KeyPair::generate().unwrap(), clock: Arc::new(clock.clone()) }
    }

    /// Returns the text of a new proof for this request, with the hash of an access token.
    pub(crate) fn text(&self, method: &Method, path: &str, token: Option<&str>) -> String {
        self.text_with(method, path, token, |_| {})
    }

    /// Returns the text of a new proof whose claims were changed before it was signed.
    pub(crate) fn text_with(
        &self,
        method: &Method,
        path: &str,
        token: Option<&str>,
        change: impl FnOnce(&mut Value),
    ) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key());
        let header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": { "kty": "OKP", "crv": "Ed25519", "x": x } });
        let mut claims = json!({
            "jti": Uuid::now_v7().to_string(),
            "htm": method.as_str(),
            "htu": format!("{ORIGIN}{path}"),
            "iat": self.clock.now().timestamp(),
        });
        if let Some(token) = token {
            claims["ath"] = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())).into();
        }
        change(&mut claims);
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let input = format!("{header}.{claims}");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(self.key.sign(input.as_bytes())))
    }

    /// Returns a new proof for a token request, verified.
    pub(crate) fn proof(&self) -> Proof {
        let proofs = ProofPolicy::new(ORIGIN.parse().unwrap());
        let text = self.text(&Method::POST, "/oauth/token", None);
        proofs.check(&Method::POST, "/oauth/token", self.clock.now()).verify(&text).unwrap()
    }
}

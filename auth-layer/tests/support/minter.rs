//! Another issuer: a key, and tokens that it signs.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeySize, PublicKeyComponents},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key that signs tokens, under a `kid`.
pub(crate) struct Minter {
    kid: &'static str,
    key: MintingKey,
}

enum MintingKey {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Minter {
    pub(crate) fn rsa(kid: &'static str) -> Self {
        Self { kid, key: MintingKey::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()) }
    }

    pub(crate) fn p256(kid: &'static str) -> Self {
        Self { kid, key: MintingKey::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()) }
    }

    pub(crate) fn ed25519(kid: &'static str) -> Self {
        Self { kid, key: MintingKey::Ed25519(Ed25519KeyPair::generate().unwrap()) }
    }

    /// Returns the public key as a JWK.
    pub(crate) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.key {
            MintingKey::Rsa(key) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({ "kty": "RSA", "n": text(&n), "e": text(&e) })
            }
            MintingKey::P256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            MintingKey::Ed25519(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()) })
            }
        };
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm().into();
        jwk["kid"] = self.kid.into();
        jwk
    }

    /// Returns a JWK set with this key alone.
    pub(crate) fn jwk_set(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }

    fn algorithm(&self) -> &'static str {
        match self.key {
            MintingKey::Rsa(_) => "RS256",
            MintingKey::P256(_) => "ES256",
            MintingKey::Ed25519(_) => "EdDSA",
        }
    }

    /// Returns a signed token. The header gets `alg` and `kid`, unless it has them; one that is null
    /// is left out.
    pub(crate) fn mint(&self, mut header: Value, claims: &Value) -> String {
        for (name, value) in [("alg", self.algorithm()), ("kid", self.kid)] {
            if header.get(name).is_none() {
                header[name] = value.into();
            }
        }
        header.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let [header, claims] = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let input = format!("{header}.{claims}");
        let signature = self.sign(input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            MintingKey::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            MintingKey::P256(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            MintingKey::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}

//! Keys of the ring that a test can sign anything with.

use std::sync::LazyLock;

use auth_layer::keys::{Algorithm, Keyring, SigningKey};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
        RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// A key twice: as the library holds it, and raw, to sign what the library never would.
pub(crate) struct ForgeKey {
    pub(crate) library: SigningKey,
    raw: RawKey,
}

/// The raw key, or the secret of HS256.
enum RawKey {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Secret(Vec<u8>),
}

/// One key for each algorithm, a second Ed25519 key of the same ring, and a key that nobody trusts.
pub(crate) struct ForgeKeys {
    pub(crate) eddsa: ForgeKey,
    pub(crate) es256: ForgeKey,
    pub(crate) rs256: ForgeKey,
    pub(crate) ps256: ForgeKey,
    pub(crate) hs256: ForgeKey,
    pub(crate) second: ForgeKey,
    pub(crate) attacker: ForgeKey,
}

/// Made once, because an RSA key takes long.
pub(crate) static KEYS: LazyLock<ForgeKeys> = LazyLock::new(|| {
    let generated = |algorithm| ForgeKey::new(SigningKey::generate_for(algorithm).unwrap());
    let rs256 = generated(Algorithm::Rs256);
    let pem = rs256.library.to_pkcs8_pem().unwrap();
    let ps256 = SigningKey::from_pem(Algorithm::Ps256, pem.as_bytes()).unwrap().with_kid("the-same-rsa-key").unwrap();
    let secret = b"a secret of more than 32 bytes, as HS256 demands".to_vec();
    let hs256 = SigningKey::from_secret("shared-secret", &secret).unwrap();
    ForgeKeys {
        eddsa: generated(Algorithm::EdDsa),
        es256: generated(Algorithm::Es256),
        ps256: ForgeKey::new(ps256),
        rs256,
        hs256: ForgeKey { library: hs256, raw: RawKey::Secret(secret) },
        second: generated(Algorithm::EdDsa),
        attacker: generated(Algorithm::EdDsa),
    }
});

impl ForgeKeys {
    /// Returns the keys of the ring, one for each algorithm.
    pub(crate) fn each(&'static self) -> [&'static ForgeKey; 5] {
        [&self.eddsa, &self.es256, &self.rs256, &self.ps256, &self.hs256]
    }

    /// Returns the ring that tokens are checked against.
    pub(crate) fn ring(&self) -> Keyring {
        let others = [&self.es256, &self.rs256, &self.ps256, &self.hs256, &self.second];
        let ring = Keyring::new(self.eddsa.library.clone());
        others.into_iter().fold(ring, |ring, key| ring.with_retired(key.library.clone()).unwrap())
    }
}

impl ForgeKey {
    /// Holds the key raw as well.
    fn new(library: SigningKey) -> Self {
        let pem = library.to_pkcs8_pem().unwrap();
        let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
        let raw = match library.algorithm() {
            Algorithm::EdDsa => RawKey::Ed25519(Ed25519KeyPair::from_pkcs8(&der).unwrap()),
            Algorithm::Es256 => RawKey::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).unwrap()),
            _ => RawKey::Rsa(RsaKeyPair::from_pkcs8(&der).unwrap()),
        };
        Self { library, raw }
    }

    /// Returns its `kid`.
    pub(crate) fn kid(&self) -> &str {
        self.library.kid()
    }

    /// Returns the name of its algorithm.
    pub(crate) fn alg(&self) -> &'static str {
        self.library.algorithm().as_str()
    }

    /// Signs with this key, by its own algorithm.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.raw {
            RawKey::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            RawKey::P256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            RawKey::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                match self.library.algorithm() {
                    Algorithm::Ps256 => pair.sign(&RSA_PSS_SHA256, &random, message, &mut signature).unwrap(),
                    _ => pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap(),
                }
                signature
            }
            RawKey::Secret(secret) => mac(secret, message),
        }
    }

    /// Encodes these two texts, signs them and returns the token.
    pub(crate) fn token(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        self.token_of_parts(&URL_SAFE_NO_PAD.encode(header), &URL_SAFE_NO_PAD.encode(payload))
    }

    /// Signs these two parts as they stand, in any encoding, and returns the token.
    pub(crate) fn token_of_parts(&self, header: &str, payload: &str) -> String {
        let input = format!("{header}.{payload}");
        let signature = URL_SAFE_NO_PAD.encode(self.sign(input.as_bytes()));
        format!("{input}.{signature}")
    }

    /// Returns what is public of the key, in each form in which a careless verifier may hold it.
    pub(crate) fn public_forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (raw, spki) = match &self.raw {
            RawKey::Ed25519(pair) => (pair.public_key().as_ref(), x509(pair.public_key())),
            RawKey::P256(pair) => (pair.public_key().as_ref(), x509(pair.public_key())),
            // For RSA that is the DER of PKCS #1.
            RawKey::Rsa(pair) => (pair.public_key().as_ref(), x509(pair.public_key())),
            RawKey::Secret(_) => return Vec::new(),
        };
        let body = STANDARD.encode(&spki);
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
        let jwk = self.library.verifying_key().to_jwk().unwrap().to_string();
        vec![
            ("its raw bytes", raw.to_vec()),
            ("its DER", spki),
            ("its PEM without the last line feed", pem.trim_end().into()),
            ("its PEM", pem.into()),
            ("its JWK", jwk.into()),
            ("its thumbprint", self.kid().into()),
        ]
    }
}

/// Computes HMAC with SHA-256 under any secret, even an empty one.
pub(crate) fn mac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

/// Returns the key as a `SubjectPublicKeyInfo`.
fn x509(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    key.as_der().unwrap().as_ref().to_vec()
}

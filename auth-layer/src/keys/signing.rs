use std::{fmt, sync::Arc};

use aws_lc_rs::{
    encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, Pkcs8V1Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
        RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use super::{
    Algorithm, KeyError, VerifyingKey,
    der::{self, KeyKind},
    jwk::{Jwk, KeyUse},
    pem::{self, PrivatePem},
    public::{PublicKey, check_rsa_bits},
    seal::Sealer,
    verifying::hmac_key,
};
use crate::hash::bytes_32;

/// A key that signs, and verifies what it signed. Cloning it copies a few pointers.
///
/// ```
/// use auth_layer::keys::{Algorithm, Keyring, SigningKey};
///
/// # fn example(pem: &[u8]) -> Result<Keyring, auth_layer::keys::KeyError> {
/// // openssl genpkey -algorithm ed25519 -out key.pem
/// let key = SigningKey::from_pem(Algorithm::EdDsa, pem)?.with_kid("2026-11")?;
/// let keys = Keyring::new(key);
/// # Ok(keys)
/// # }
/// ```
#[derive(Clone)]
pub struct SigningKey {
    signer: Arc<Signer>,
    sealer: Arc<Sealer>,
    verifying: VerifyingKey,
}

#[expect(clippy::large_enum_variant, reason = "a program has a handful of keys")]
enum Signer {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Secret(hmac::Key),
}

impl SigningKey {
    /// Generates an Ed25519 key.
    pub fn generate() -> Result<Self, KeyError> {
        Self::generate_for(Algorithm::EdDsa)
    }

    /// Generates a key for this algorithm. RSA keys have 3072 bits.
    ///
    /// # Errors
    ///
    /// [`KeyError::Form`] for HS256: its secrets are made and shared by the operator.
    pub fn generate_for(algorithm: Algorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Crypto;
        let signer = match algorithm {
            Algorithm::EdDsa => Signer::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
            Algorithm::Es256 => Signer::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?),
            Algorithm::Rs256 | Algorithm::Ps256 => Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa3072).map_err(failed)?),
            Algorithm::Hs256 => return Err(KeyError::Form(algorithm)),
        };
        Self::from_pair(algorithm, signer)
    }

    /// Reads a private key from PEM.
    ///
    /// The label is `PRIVATE KEY` (PKCS #8) or, for RSA, `RSA PRIVATE KEY` (PKCS #1). The `kid` is
    /// the key's RFC 7638 thumbprint.
    ///
    /// # Errors
    ///
    /// - [`KeyError::Pem`] if the text is not a PEM, or the key is damaged or serves another
    ///   algorithm.
    /// - [`KeyError::PemHolds`] if the text does not hold exactly one usable key.
    /// - [`KeyError::PublicKey`] if it holds only a public key.
    /// - [`KeyError::RsaBits`] if an RSA key has a size that is not accepted.
    /// - [`KeyError::Form`] for HS256.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyError> {
        if algorithm == Algorithm::Hs256 {
            return Err(KeyError::Form(algorithm));
        }
        let unreadable = || KeyError::Pem(algorithm);
        let key = PrivatePem::read(pem).map_err(|error| match error {
            KeyError::PemHolds(pem::DAMAGED | pem::NO_PEM) => unreadable(),
            other => other,
        })?;
        match key.kind {
            KeyKind::Other(name) => Err(KeyError::PemHolds(name)),
            kind if kind.serves(algorithm) => Self::from_private_pem(algorithm, &key),
            _ => Err(unreadable()),
        }
    }

    /// Reads a private key from a PKCS #8 PEM (`PRIVATE KEY`). The kind of key decides the
    /// algorithm.
    ///
    /// Ed25519 gives `EdDSA`, P-256 gives ES256, RSA gives RS256. The `kid` is the key's RFC 7638
    /// thumbprint.
    ///
    /// ```
    /// # use auth_layer::keys::{Algorithm, KeyError, SigningKey};
    /// let made = SigningKey::generate_for(Algorithm::Es256)?;
    /// let pem = made.to_pkcs8_pem().expect("only secrets have none");
    /// assert_eq!(SigningKey::from_pkcs8_pem(pem.as_bytes())?.algorithm(), Algorithm::Es256);
    ///
    /// let sec1 = b"-----BEGIN EC PRIVATE KEY-----\nMHcCAQ==\n-----END EC PRIVATE KEY-----\n";
    /// assert!(matches!(SigningKey::from_pkcs8_pem(sec1), Err(KeyError::PemHolds(_))));
    /// # Ok::<(), KeyError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`KeyError::PemHolds`] says what the text holds instead of one such key.
    /// - [`KeyError::Pem`] if the key cannot be parsed.
    /// - [`KeyError::PublicKey`] if it holds only a public key.
    /// - [`KeyError::RsaBits`] if an RSA key has a size that is not accepted.
    pub fn from_pkcs8_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let key = PrivatePem::read(pem)?;
        if let PrivateKeyDer::Pkcs1(_) = *key.der {
            return Err(KeyError::PemHolds(pem::PKCS1));
        }
        let algorithm = match key.kind {
            KeyKind::Ed25519 => Algorithm::EdDsa,
            KeyKind::P256 => Algorithm::Es256,
            KeyKind::Rsa => Algorithm::Rs256,
            KeyKind::Other(name) => return Err(KeyError::PemHolds(name)),
        };
        Self::from_private_pem(algorithm, &key)
    }

    /// Builds a key from PEM that is known to serve `algorithm`.
    fn from_private_pem(algorithm: Algorithm, pem: &PrivatePem) -> Result<Self, KeyError> {
        let der = pem.der.secret_der();
        let signer = match algorithm {
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(der).map(Signer::Ed25519),
            Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Signer::P256),
            _ => {
                pem.pkcs1().and_then(der::rsa_modulus).map_or(Ok(()), check_rsa_bits)?;
                match *pem.der {
                    PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(der).map(Signer::Rsa),
                    _ => RsaKeyPair::from_pkcs8(der).map(Signer::Rsa),
                }
            }
        };
        Self::from_pair(algorithm, signer.map_err(|_| KeyError::Pem(algorithm))?)
    }

    /// Reads a private key or a secret from the text of a JWK (RFC 7517 §4).
    ///
    /// The `kid` is the JWK's, or else the key's RFC 7638 thumbprint. A secret must have one.
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        let jwk = Jwk::parse(json, KeyUse::Sign)?;
        let key = match jwk.algorithm {
            Algorithm::Hs256 => return Self::from_secret(jwk.kid.clone().ok_or(KeyError::Kid)?, &jwk.bytes("k")?),
            _ if !jwk.is_private() => return Err(KeyError::PublicKey),
            algorithm => Self::from_pair(algorithm, jwk_signer(&jwk)?)?,
        };
        match jwk.kid {
            Some(kid) => key.with_kid(kid),
            None => Ok(key),
        }
    }

    /// Creates an HS256 key from a secret of 32 bytes or more.
    ///
    /// ```
    /// # fn example(secret: &[u8]) -> Result<(), auth_layer::keys::KeyError> {
    /// use auth_layer::keys::{Keyring, SigningKey};
    ///
    /// let keys = Keyring::new(SigningKey::from_secret("shared", secret)?);
    /// # let _ = keys;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_secret(kid: impl Into<String>, secret: &[u8]) -> Result<Self, KeyError> {
        Ok(Self {
            signer: Arc::new(Signer::Secret(hmac_key(secret)?)),
            sealer: Arc::new(Sealer::derive(secret)?),
            verifying: VerifyingKey::from_secret(kid, secret)?,
        })
    }

    /// Replaces the `kid`.
    pub fn with_kid(self, kid: impl Into<String>) -> Result<Self, KeyError> {
        Ok(Self { verifying: self.verifying.with_kid(kid)?, ..self })
    }

    /// Returns the private key as PKCS #8 PEM, wiped from memory when dropped. `None` for a secret.
    pub fn to_pkcs8_pem(&self) -> Option<Zeroizing<String>> {
        let der = self.signer.pkcs8()?;
        // Written here: `rustls-pki-types` writes no PEM, and other crates leave the text in
        // memory.
        let text = Zeroizing::new(STANDARD.encode(&*der));
        let mut pem = Zeroizing::new(String::with_capacity(text.len() + 128));
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Some(pem)
    }

    /// Returns the `kid`.
    pub fn kid(&self) -> &str {
        self.verifying.kid()
    }

    /// Returns the key's one algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.verifying.algorithm()
    }

    /// Returns the key that verifies what this one signs.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.verifying.clone()
    }

    /// Borrows the public half.
    pub(crate) fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::Crypto;
        match &*self.signer {
            Signer::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
            Signer::P256(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let (pkcs1, pss) = (&RSA_PKCS1_SHA256, &RSA_PSS_SHA256);
                match self.algorithm() {
                    Algorithm::Ps256 => pair.sign(pss, &SystemRandom::new(), message, &mut signature),
                    _ => pair.sign(pkcs1, &SystemRandom::new(), message, &mut signature),
                }
                .map_err(failed)?;
                Ok(signature)
            }
            Signer::Secret(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
    }

    /// Seals `plain`. Only holders of this signing key can open it, with the same `context`.
    pub(crate) fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.sealer.seal(context, plain)
    }

    /// Opens what [`seal`](Self::seal) sealed. `None` for another key or another context.
    pub(crate) fn unseal(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.sealer.unseal(context, sealed)
    }

    /// Returns the derived key that makes DPoP nonces.
    pub(crate) fn nonce_key(&self) -> &hmac::Key {
        self.sealer.nonce_key()
    }

    /// Returns the token against forged requests for this context.
    pub(crate) fn csrf_token(&self, context: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(self.sealer.csrf_key(), context))
    }

    /// Whether this is the token for this context. Compares in constant time.
    pub(crate) fn is_csrf_token(&self, context: &[u8], token: &str) -> bool {
        bytes_32(token).is_some_and(|tag| hmac::verify(self.sealer.csrf_key(), context, &tag).is_ok())
    }

    fn from_pair(algorithm: Algorithm, signer: Signer) -> Result<Self, KeyError> {
        let public = match &signer {
            Signer::Ed25519(pair) => PublicKey::Ed25519 { x: pair.public_key().as_ref().to_vec() },
            Signer::P256(pair) => PublicKey::p256(pair.public_key().as_ref())?,
            Signer::Rsa(pair) => PublicKey::from(pair.public_key()),
            Signer::Secret(_) => return Err(KeyError::Form(algorithm)),
        };
        let verifying = VerifyingKey::from_public(algorithm, public)?;
        let sealer = Sealer::derive(&signer.secret_bytes()?)?;
        Ok(Self { signer: Arc::new(signer), sealer: Arc::new(sealer), verifying })
    }
}

impl Signer {
    fn pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        let der = match self {
            Self::Ed25519(pair) => pair.to_pkcs8v1().ok()?.as_ref().to_vec(),
            Self::P256(pair) => pair.to_pkcs8v1().ok()?.as_ref().to_vec(),
            Self::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair).ok()?.as_ref().to_vec(),
            Self::Secret(_) => return None,
        };
        Some(Zeroizing::new(der))
    }

    /// Returns bytes that only a holder of the key has, the same for every form it was loaded from.
    fn secret_bytes(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let failed = |_| KeyError::Crypto;
        match self {
            Self::Ed25519(pair) => {
                let seed = pair.seed().map_err(failed)?;
                let bytes = seed.as_be_bytes().map_err(failed)?;
                Ok(Zeroizing::new(bytes.as_ref().to_vec()))
            }
            Self::P256(pair) => {
                let bytes: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(failed)?;
                Ok(Zeroizing::new(bytes.as_ref().to_vec()))
            }
            Self::Rsa(_) | Self::Secret(_) => self.pkcs8().ok_or(KeyError::Crypto),
        }
    }
}

fn jwk_signer(jwk: &Jwk) -> Result<Signer, KeyError> {
    let signer = match jwk.public()? {
        PublicKey::Ed25519 { x } => Ed25519KeyPair::from_seed_and_public_key(&jwk.bytes("d")?, &x).map(Signer::Ed25519),
        PublicKey::P256 { x, y } => {
            let point = [&[4][..], &x, &y].concat();
            let d = jwk.bytes("d")?;
            EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &d, &point)
                .map(Signer::P256)
        }
        PublicKey::Rsa { n, e } => {
            check_rsa_bits(&n)?;
            let [d, p, q, dp, dq, qi] = ["d", "p", "q", "dp", "dq", "qi"].map(|name| jwk.bytes(name));
            RsaKeyPair::from_components(&aws_lc_rs::rsa::KeyPairComponents {
                public_key: aws_lc_rs::rsa::PublicKeyComponents { n: &n[..], e: &e[..] },
                d: &d?[..],
                p: &p?[..],
                q: &q?[..],
                dP: &dp?[..],
                dQ: &dq?[..],
                qInv: &qi?[..],
            })
            .map(Signer::Rsa)
        }
    };
    signer.map_err(|_| KeyError::Inconsistent)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid())
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

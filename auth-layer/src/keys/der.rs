//! Reads as much DER as it takes to name a key.
//!
//! aws-lc reads the key itself, but if it refuses one it tells neither algorithm nor size.
//! `rustls-pki-types` does not look inside DER.

use rustls_pki_types::{AlgorithmIdentifier, alg_id};

use super::Algorithm;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Ed25519,
    P256,
    Rsa,
    /// A key for none of our algorithms. The text continues a sentence after "holds".
    Other(&'static str),
}

/// The start of an algorithm identifier and the kind it stands for. The first match counts.
const KEY_KINDS: [(AlgorithmIdentifier, KeyKind); 12] = [
    (alg_id::ED25519, KeyKind::Ed25519),
    (alg_id::ECDSA_P256, KeyKind::P256),
    (alg_id::RSA_ENCRYPTION, KeyKind::Rsa),
    (alg_id::ED448, KeyKind::Other("an Ed448 key")),
    (alg_id::ECDSA_P384, KeyKind::Other("a P-384 key")),
    (alg_id::ECDSA_P521, KeyKind::Other("a P-521 key")),
    (alg_id::ECDSA_P256K1, KeyKind::Other("a secp256k1 key")),
    (alg(&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), KeyKind::Other("an EC key of another curve")),
    (alg(&[6, 3, 0x2b, 0x65, 0x6e]), KeyKind::Other(X25519_OR_X448)),
    (alg(&[6, 3, 0x2b, 0x65, 0x6f]), KeyKind::Other(X25519_OR_X448)),
    (alg(&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10]), KeyKind::Other("an RSA key for PSS alone")),
    (alg(&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1]), KeyKind::Other("a DSA key")),
];

const X25519_OR_X448: &str = "an X25519 or X448 key, which agrees on secrets and signs nothing";

const fn alg(bytes: &'static [u8]) -> AlgorithmIdentifier {
    AlgorithmIdentifier::from_slice(bytes)
}

impl KeyKind {
    fn of(algorithm: &[u8]) -> Self {
        let known = KEY_KINDS.iter().find(|(id, _)| algorithm.starts_with(id));
        known.map_or(Self::Other("a key of an unknown algorithm"), |(_, kind)| *kind)
    }

    pub(super) fn serves(self, algorithm: Algorithm) -> bool {
        matches!(
            (self, algorithm),
            (Self::Ed25519, Algorithm::EdDsa)
                | (Self::P256, Algorithm::Es256)
                | (Self::Rsa, Algorithm::Rs256 | Algorithm::Ps256)
        )
    }
}

/// Returns kind and key of a PKCS #8 document (RFC 5958 §2). An RSA key is in PKCS #1 form.
pub(super) fn private_key_info(pkcs8: &[u8]) -> Option<(KeyKind, &[u8])> {
    let (info, _) = read_value(pkcs8, SEQUENCE)?;
    let (_, rest) = read_value(info, INTEGER)?;
    let (algorithm, rest) = read_value(rest, SEQUENCE)?;
    let (key, _) = read_value(rest, OCTET_STRING)?;
    Some((KeyKind::of(algorithm), key))
}

/// Returns the kind of a SubjectPublicKeyInfo and its BIT STRING (RFC 5280 §4.1).
pub(super) fn public_key_info(spki: &[u8]) -> Option<(KeyKind, &[u8])> {
    let (info, _) = read_value(spki, SEQUENCE)?;
    let (algorithm, rest) = read_value(info, SEQUENCE)?;
    let (key, _) = read_value(rest, BIT_STRING)?;
    // Keys are whole bytes: the last one has no unused bits.
    let key = key.strip_prefix(&[0])?;
    Some((KeyKind::of(algorithm), key))
}

/// Returns the modulus of a PKCS #1 `RSAPrivateKey`, which follows the version (RFC 8017 §A.1.2).
pub(super) fn rsa_modulus(pkcs1: &[u8]) -> Option<&[u8]> {
    let (key, _) = read_value(pkcs1, SEQUENCE)?;
    let (_, rest) = read_value(key, INTEGER)?;
    read_value(rest, INTEGER).map(|(modulus, _)| modulus)
}

/// Returns the contents of the first value, if it has this tag, and the bytes after it.
fn read_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = der else { return None };
    let (length, rest) = match *length {
        short @ ..0x80 => (usize::from(short), rest),
        long => {
            let (length, rest) =
                rest.split_at_checked(usize::from(long - 0x80)).filter(|(length, _)| length.len() <= 4)?;
            (length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
        }
    };
    rest.split_at_checked(length).filter(|_| *first == tag)
}

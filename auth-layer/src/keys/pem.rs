//! What a PEM text holds (RFC 7468), so that a key that cannot be used is named.

use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

use super::{Algorithm, KeyError, der};

/// The private key of a PEM text that holds one.
pub(super) struct PrivatePem {
    pub(super) form: Form,
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// The form of a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `PRIVATE KEY` (RFC 5958).
    Pkcs8(Kind),
    /// `RSA PRIVATE KEY` (RFC 8017 §A.1.2).
    Pkcs1,
}

/// The kind of key in a PKCS #8 document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ed25519,
    P256,
    Rsa,
    /// One that signs none of our algorithms, as a reader of an error message calls it.
    Other(&'static str),
}

impl Kind {
    /// The algorithm that a key of this kind signs with, where none is named.
    pub(super) fn algorithm(self) -> Result<Algorithm, KeyError> {
        match self {
            Self::Ed25519 => Ok(Algorithm::EdDsa),
            Self::P256 => Ok(Algorithm::Es256),
            Self::Rsa => Ok(Algorithm::Rs256),
            Self::Other(name) => Err(KeyError::PemHolds(name)),
        }
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

impl PrivatePem {
    /// Reads the one private key of `pem`. Other sections, such as its certificate, do not matter.
    ///
    /// # Errors
    ///
    /// [`KeyError::PublicKey`] where there is only a public key, [`KeyError::PemHolds`] for
    /// everything else.
    pub(super) fn read(pem: &[u8]) -> Result<Self, KeyError> {
        let labels = labels(pem);
        let private: Vec<&[u8]> = labels.iter().copied().filter(|label| label.ends_with(b"PRIVATE KEY")).collect();
        match private[..] {
            [] => return Err(without_private_key(&labels)),
            [b"PRIVATE KEY" | b"RSA PRIVATE KEY"] => {}
            [other] => return Err(KeyError::PemHolds(unusable(other))),
            _ => return Err(KeyError::PemHolds("more than one private key, and each file has one")),
        }
        // The older form of encryption (RFC 1421 §4.6.1.1) has the label of a key in the clear.
        if contains(pem, b"Proc-Type: 4,ENCRYPTED") {
            return Err(KeyError::PemHolds(ENCRYPTED));
        }
        let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem);
        for section in sections {
            let (kind, der) = section.map_err(|_| KeyError::PemHolds(DAMAGED))?;
            let der = Zeroizing::new(der);
            let form = match kind {
                SectionKind::PrivateKey => Form::Pkcs8(kind_of(&der).ok_or(KeyError::PemHolds(DAMAGED))?),
                SectionKind::RsaPrivateKey => Form::Pkcs1,
                _ => continue,
            };
            return Ok(Self { form, der });
        }
        Err(KeyError::PemHolds(DAMAGED))
    }
}

const ENCRYPTED: &str = "an encrypted key (`openssl pkcs8 -in OLD -out NEW` decrypts it)";
pub(super) const DAMAGED: &str = "a damaged key";
pub(super) const NO_PEM: &str = "no PEM";
pub(super) const PKCS1: &str =
    "an RSA key in PKCS#1 form (`openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW` converts it)";

fn unusable(label: &[u8]) -> &'static str {
    match label {
        b"ENCRYPTED PRIVATE KEY" => ENCRYPTED,
        b"EC PRIVATE KEY" => "an EC key in SEC1 form (`openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW` converts it)",
        b"OPENSSH PRIVATE KEY" => "an OpenSSH key",
        b"DSA PRIVATE KEY" => "a DSA key",
        _ => "a private key of an unknown form",
    }
}

fn without_private_key(labels: &[&[u8]]) -> KeyError {
    match labels {
        [] => KeyError::PemHolds(NO_PEM),
        labels if labels.iter().any(|label| label.ends_with(b"PUBLIC KEY")) => KeyError::PublicKey,
        [b"CERTIFICATE" | b"TRUSTED CERTIFICATE" | b"X509 CERTIFICATE", ..] => KeyError::PemHolds("a certificate"),
        [b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST", ..] => KeyError::PemHolds("a certificate request"),
        [b"EC PARAMETERS", ..] => KeyError::PemHolds("the parameters of a curve and no key"),
        _ => KeyError::PemHolds("something else than a key"),
    }
}

/// The labels of all sections, known or not.
fn labels(pem: &[u8]) -> Vec<&[u8]> {
    let lines = pem.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines
        .filter_map(|line| {
            line.trim_ascii_end().strip_prefix(b"-----BEGIN ".as_slice())?.strip_suffix(b"-----".as_slice())
        })
        .collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The kind of key in a PKCS #8 document: its algorithm's identifier, and for elliptic curves that
/// of the curve (RFC 5958 §2).
fn kind_of(pkcs8: &[u8]) -> Option<Kind> {
    let (info, _) = der::value(pkcs8, der::SEQUENCE)?;
    let (_, rest) = der::value(info, der::INTEGER)?;
    let (algorithm, _) = der::value(rest, der::SEQUENCE)?;
    let (name, parameters) = der::value(algorithm, der::OBJECT_IDENTIFIER)?;
    Some(match name {
        [0x2b, 0x65, 0x70] => Kind::Ed25519,
        [0x2b, 0x65, 0x71] => Kind::Other("an Ed448 key"),
        [0x2b, 0x65, 0x6e | 0x6f] => Kind::Other("an X25519 or X448 key, which agrees on secrets and signs nothing"),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1] => Kind::Rsa,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10] => Kind::Other("an RSA key for PSS alone"),
        [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1] => Kind::Other("a DSA key"),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1] => match der::value(parameters, der::OBJECT_IDENTIFIER)?.0 {
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] => Kind::P256,
            [0x2b, 0x81, 4, 0, 0x22] => Kind::Other("a P-384 key"),
            [0x2b, 0x81, 4, 0, 0x23] => Kind::Other("a P-521 key"),
            [0x2b, 0x81, 4, 0, 0x0a] => Kind::Other("a secp256k1 key"),
            _ => Kind::Other("an EC key of another curve"),
        },
        _ => Kind::Other("a key of an unknown algorithm"),
    })
}

/// The private key itself in a PKCS #8 document; of RSA it is in PKCS #1 form.
pub(super) fn private_key(pkcs8: &[u8]) -> Option<&[u8]> {
    let (info, _) = der::value(pkcs8, der::SEQUENCE)?;
    let (_, rest) = der::value(info, der::INTEGER)?;
    let (_, rest) = der::value(rest, der::SEQUENCE)?;
    der::value(rest, der::OCTET_STRING).map(|(key, _)| key)
}

#[cfg(test)]
mod tests;

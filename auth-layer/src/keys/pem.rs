//! Reads PEM (RFC 7468) and names a key that cannot be used.
//!
//! `rustls-pki-types` reads the sections. It skips unknown ones and cannot name them, so the labels
//! are read here.

use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use zeroize::Zeroizing;

use super::{
    Algorithm, KeyError,
    der::{self, KeyKind},
};

/// The one private key of a PEM text.
pub(super) struct PrivatePem {
    pub(super) kind: KeyKind,
    /// In the form `PRIVATE KEY` (RFC 5958) or `RSA PRIVATE KEY` (RFC 8017 §A.1.2).
    pub(super) der: Zeroizing<PrivateKeyDer<'static>>,
}

impl PrivatePem {
    /// Reads the one private key of `pem`. Other sections, such as a certificate, are ignored.
    ///
    /// # Errors
    ///
    /// [`KeyError::PublicKey`] if there is only a public key, [`KeyError::PemHolds`] for everything
    /// else.
    pub(super) fn read(pem: &[u8]) -> Result<Self, KeyError> {
        let labels = labels(pem);
        let private: Vec<&[u8]> = labels.iter().copied().filter(|label| label.ends_with(b"PRIVATE KEY")).collect();
        match private[..] {
            [] => return Err(without_private_key(&labels)),
            [b"PRIVATE KEY" | b"RSA PRIVATE KEY"] => {}
            [other] => return Err(KeyError::PemHolds(unusable(other))),
            _ => return Err(KeyError::PemHolds("more than one private key, and each file has one")),
        }
        // The older form of encryption (RFC 1421 §4.6.1.1) keeps the key's label in the clear.
        if contains(pem, b"Proc-Type: 4,ENCRYPTED") {
            return Err(KeyError::PemHolds(ENCRYPTED));
        }
        let der = PrivateKeyDer::from_pem_slice(pem).map(Zeroizing::new);
        let der = der.map_err(|_| KeyError::PemHolds(DAMAGED))?;
        let kind = match &*der {
            PrivateKeyDer::Pkcs8(key) => der::private_key_info(key.secret_pkcs8_der()).map(|(kind, _)| kind),
            _ => Some(KeyKind::Rsa),
        };
        Ok(Self { kind: kind.ok_or(KeyError::PemHolds(DAMAGED))?, der })
    }

    /// Returns the PKCS #1 form of an RSA key.
    pub(super) fn pkcs1(&self) -> Option<&[u8]> {
        match &*self.der {
            PrivateKeyDer::Pkcs8(key) => der::private_key_info(key.secret_pkcs8_der()).map(|(_, key)| key),
            other => Some(other.secret_der()),
        }
    }
}

/// Returns the first `PUBLIC KEY` (RFC 7468 §13) or `RSA PUBLIC KEY` of `pem`, as in a BIT STRING.
///
/// `None` if it cannot be read or does not serve `algorithm`.
pub(super) fn public_key(algorithm: Algorithm, pem: &[u8]) -> Option<Vec<u8>> {
    let label = labels(pem).into_iter().find(|label| label.ends_with(b"PUBLIC KEY"))?;
    if label == b"RSA PUBLIC KEY" {
        // `rustls-pki-types` does not know this label, so the section is read under the other one.
        let pem = String::from_utf8_lossy(pem).replace(" RSA PUBLIC KEY-----", " PUBLIC KEY-----");
        let pkcs1 = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
        return KeyKind::Rsa.serves(algorithm).then(|| pkcs1.to_vec());
    }
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
    let (kind, key) = der::public_key_info(&spki)?;
    kind.serves(algorithm).then(|| key.to_vec())
}

/// Whether the text holds a private key of any form.
pub(super) fn is_private(pem: &[u8]) -> bool {
    contains(pem, b"PRIVATE KEY-----")
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

/// Returns the labels of all sections, known or not.
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

#[cfg(test)]
mod tests;

//! TLS with a certificate that is read again while the service runs.
//!
//! rustls terminates it, with aws-lc and no process-wide provider. A new certificate is for new
//! connections: a TLS connection keeps the one that it began with.

mod certificate;
mod follow;

use std::{io, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::{
    certificate::{ServerCertificate, TlsFiles, Validity},
    follow::{LoadedFiles, Warnings, follow},
};

/// The protocols, in the order of the server's choice: gRPC needs HTTP/2.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The reason why the certificate or its key cannot be used. Each message names the flag.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("`--tls-cert` needs `--tls-key`; name the file of the private key, or omit both for plain HTTP")]
    KeyNotSet,
    #[error("`--tls-key` needs `--tls-cert`; name the file of the certificate, or omit both for plain HTTP")]
    CertificateNotSet,
    #[error("`{flag} {}` cannot be read: {error}; check the path and the permissions", path.display())]
    Read { flag: &'static str, path: PathBuf, error: io::Error },
    #[error("`{flag} {}` is not valid PEM: {problem}; copy the file again", path.display())]
    Pem { flag: &'static str, path: PathBuf, problem: &'static str },
    #[error("`--tls-cert {}` holds no certificate; use PEM, the server's certificate first, then its chain", .0.display())]
    NoCertificate(PathBuf),
    #[error("`--tls-cert {}`: certificate {number} of the file cannot be parsed; copy the file again", path.display())]
    Certificate { path: PathBuf, number: usize },
    #[error("`--tls-key {}` holds no private key; use PEM without a passphrase: PKCS#8, PKCS#1 or SEC1", .0.display())]
    NoKey(PathBuf),
    #[error(
        "`--tls-key {}` holds a key that TLS cannot use; use ECDSA (P-256, P-384 or P-521), Ed25519, or RSA of 2048 bits or \
         more",
        .0.display()
    )]
    Key(PathBuf),
    #[error(
        "`--tls-key {}` is not the key of the first certificate in `--tls-cert {}`; name the two that belong together, and put \
         the server's certificate first",
        key.display(),
        certificate.display()
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("TLS cannot be set up (a bug; please report it)")]
    Setup(#[source] rustls::Error),
    #[error("reading `--tls-cert` and `--tls-key` panicked (a bug; please report the panic above); retrying")]
    Panicked,
}

/// The certificate for new connections. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct CurrentCertificate(Arc<ArcSwap<CertifiedKey>>);

impl CurrentCertificate {
    pub(crate) fn new(certificate: &ServerCertificate) -> Self {
        Self(Arc::new(ArcSwap::new(Arc::clone(certificate.certified_key()))))
    }

    /// Returns what accepts connections with this certificate.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        // TLS 1.2 and 1.3.
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().map_err(TlsError::Setup)?;
        let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Takes another certificate; false if it is the same.
    fn replace(&self, certificate: &ServerCertificate) -> bool {
        // The same certificate has the same key.
        if self.0.load().cert == certificate.certified_key().cert {
            return false;
        }
        self.0.store(Arc::clone(certificate.certified_key()));
        true
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[cfg(test)]
pub(crate) mod tests;

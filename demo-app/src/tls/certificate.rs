//! Reads the certificate and its key, and says what is wrong with them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use http::Uri;
use rustls::{
    client::verify_server_name,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::TlsError;
use crate::config::Config;

const CERT_FLAG: &str = "--tls-cert";
const KEY_FLAG: &str = "--tls-key";

/// How long before its end a certificate should have been renewed.
const RENEW_BEFORE: TimeDelta = TimeDelta::days(14);

/// The files of the certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// What the files hold. It has no `Debug`, because it holds the key.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    /// Whether every user of the machine may read the key.
    key_is_exposed: bool,
}

/// A certificate with its chain and its key, which belong together.
#[derive(Debug)]
pub(crate) struct ServerCertificate {
    certified_key: Arc<CertifiedKey>,
    valid_from: DateTime<Utc>,
    valid_until: DateTime<Utc>,
    /// Whether every user of the machine may read the key.
    key_is_exposed: bool,
}

/// How a certificate's dates relate to the present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    NotYet,
    Valid,
    EndsSoon,
    Expired,
}

impl TlsFiles {
    /// Returns the files that the settings name; `None` for plain HTTP.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, TlsError> {
        match (&config.tls_cert, &config.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some(Self { certificate: certificate.clone(), key: key.clone() })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(TlsError::KeyNotSet),
            (None, Some(_)) => Err(TlsError::CertificateNotSet),
        }
    }

    /// Reads the files and parses them.
    pub(crate) fn load(&self) -> Result<ServerCertificate, TlsError> {
        self.parse(&self.read()?)
    }

    pub(super) fn read(&self) -> Result<Contents, TlsError> {
        let certificate = fs::read(&self.certificate).map_err(read_error(CERT_FLAG, &self.certificate))?;
        let read = fs::metadata(&self.key).and_then(|metadata| Ok((metadata, fs::read(&self.key)?)));
        let (metadata, key) = read.map_err(read_error(KEY_FLAG, &self.key))?;
        Ok(Contents { certificate, key, key_is_exposed: is_readable_by_all(&metadata) })
    }

    pub(super) fn parse(&self, contents: &Contents) -> Result<ServerCertificate, TlsError> {
        let chain = self.parse_chain(&contents.certificate)?;
        let (valid_from, valid_until) = self.parse_dates(&chain)?;
        let key = self.parse_key(&contents.key)?;
        let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|_| TlsError::Key(self.key.clone()))?;
        let certified_key = CertifiedKey::new(chain, key);
        // Every key that aws-lc loads has its public half, so only a mismatch is left.
        certified_key
            .keys_match()
            .map_err(|_| TlsError::Mismatch { certificate: self.certificate.clone(), key: self.key.clone() })?;
        let (certified_key, key_is_exposed) = (Arc::new(certified_key), contents.key_is_exposed);
        Ok(ServerCertificate { certified_key, valid_from, valid_until, key_is_exposed })
    }

    /// Returns the path of the key.
    pub(crate) fn key(&self) -> &Path {
        &self.key
    }

    fn parse_chain(&self, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let path = &self.certificate;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain = chain.map_err(|error| pem_error(&error, CERT_FLAG, path))?;
        if chain.is_empty() { Err(TlsError::NoCertificate(path.clone())) } else { Ok(chain) }
    }

    /// Parses the whole chain, since clients do, and returns the dates of the first certificate.
    fn parse_dates(&self, chain: &[CertificateDer<'_>]) -> Result<(DateTime<Utc>, DateTime<Utc>), TlsError> {
        let mut dates = None;
        for (index, der) in chain.iter().enumerate() {
            let unusable = || TlsError::Certificate { path: self.certificate.clone(), number: index + 1 };
            ParsedCertificate::try_from(der).map_err(|_| unusable())?;
            let (_, certificate) = X509Certificate::from_der(der).map_err(|_| unusable())?;
            let validity = certificate.validity();
            let [from, until] = [validity.not_before, validity.not_after].map(|time| time.timestamp());
            let date = |seconds| DateTime::from_timestamp(seconds, 0).ok_or_else(unusable);
            dates.get_or_insert((date(from)?, date(until)?));
        }
        dates.ok_or_else(|| TlsError::NoCertificate(self.certificate.clone()))
    }

    fn parse_key(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey(self.key.clone()),
            error => pem_error(&error, KEY_FLAG, &self.key),
        })
    }
}

impl ServerCertificate {
    pub(super) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified_key
    }

    pub(crate) fn valid_from(&self) -> DateTime<Utc> {
        self.valid_from
    }

    pub(crate) fn valid_until(&self) -> DateTime<Utc> {
        self.valid_until
    }

    pub(crate) fn key_is_exposed(&self) -> bool {
        self.key_is_exposed
    }

    /// Returns the number of certificates, the server's included.
    pub(crate) fn chain_length(&self) -> usize {
        self.certified_key.cert.len()
    }

    pub(crate) fn validity(&self, now: DateTime<Utc>) -> Validity {
        match now {
            now if now < self.valid_from => Validity::NotYet,
            now if now > self.valid_until => Validity::Expired,
            now if now > self.valid_until - RENEW_BEFORE => Validity::EndsSoon,
            _ => Validity::Valid,
        }
    }

    /// Returns whether clients of this URL accept the certificate's names.
    pub(crate) fn covers(&self, url: &str) -> bool {
        let Ok(url) = url.parse::<Uri>() else { return false };
        let host = url.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let (Ok(name), Ok(certificate)) = (ServerName::try_from(host), self.certified_key.end_entity_cert()) else {
            return false;
        };
        ParsedCertificate::try_from(certificate).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
    }
}

fn read_error(flag: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    let path = path.to_owned();
    move |error| TlsError::Read { flag, path, error }
}

/// Describes broken PEM. The parser's own text quotes the file, which may hold the key.
fn pem_error(error: &pem::Error, flag: &'static str, path: &Path) -> TlsError {
    let problem = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is broken",
        _ => "a section is not base64",
    };
    TlsError::Pem { flag, path: path.to_owned(), problem }
}

/// Returns whether users outside of the file's group may read it. A group is often given the key.
#[cfg(unix)]
fn is_readable_by_all(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o004 != 0
}

#[cfg(not(unix))]
fn is_readable_by_all(_: &fs::Metadata) -> bool {
    false
}

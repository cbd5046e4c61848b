//! Reads the certificate and its key again while the service runs.
//!
//! The files themselves are compared, and not their dates, so it does not matter how they are
//! replaced: written over, renamed, or behind a link that is turned, as certbot and Kubernetes do.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};

use super::{CurrentCertificate, ServerCertificate, TlsError, TlsFiles, Validity, certificate::Contents};
use crate::{logging::ProblemLog, telemetry::set_certificate_end};

/// The interval between two reads of the files.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The files as they were read last, and the last good certificate in them.
pub(crate) struct LoadedFiles {
    files: TlsFiles,
    /// `None` if they could not be read.
    contents: Option<Contents>,
    certificate: ServerCertificate,
    /// Why the certificate is not that of the files.
    problem: Option<TlsError>,
}

impl LoadedFiles {
    /// Reads the files of a service that starts.
    pub(crate) fn new(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = files.read()?;
        let certificate = files.parse(&contents)?;
        Ok(Self { files, contents: Some(contents), certificate, problem: None })
    }

    pub(crate) fn files(&self) -> &TlsFiles {
        &self.files
    }

    pub(crate) fn certificate(&self) -> &ServerCertificate {
        &self.certificate
    }

    /// Reads the files again. They are parsed only if they have changed.
    pub(super) fn reload(&mut self) {
        let read = || {
            let contents = self.files.read()?;
            let is_changed = self.contents.as_ref() != Some(&contents);
            Ok(is_changed.then(|| (self.files.parse(&contents), contents)))
        };
        // A panic costs only this read.
        let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(TlsError::Panicked));
        let parsed = match read {
            Ok(None) => return,
            Ok(Some((parsed, contents))) => {
                self.contents = Some(contents);
                parsed
            }
            Err(error) => {
                self.contents = None;
                Err(error)
            }
        };
        match parsed {
            Ok(certificate) => (self.certificate, self.problem) = (certificate, None),
            Err(error) => self.problem = Some(error),
        }
    }
}

/// Replaces `current` whenever the files hold another certificate. Never returns, except at
/// shutdown. Files that cannot be used leave it unchanged.
pub(crate) async fn follow(mut loaded: LoadedFiles, current: CurrentCertificate, mut warnings: Warnings) {
    let mut problems = ProblemLog::new(
        "the certificate or its key has a problem; the loaded certificate stays in use",
        "the certificate and its key can be used again",
    );
    loop {
        set_certificate_end(loaded.certificate().valid_until());
        tokio::time::sleep(POLL_INTERVAL).await;
        let reload = tokio::task::spawn_blocking(move || {
            loaded.reload();
            loaded
        });
        // An error means that the runtime is shutting down.
        let Ok(reloaded) = reload.await else { return };
        loaded = reloaded;
        problems.report(loaded.problem.as_ref().map(|problem| problem as _));
        if loaded.problem.is_none() {
            let certificate = loaded.certificate();
            if current.replace(certificate) {
                tracing::info!(valid_until = %certificate.valid_until(), "the certificate changed");
            }
            warnings.report(certificate, loaded.files(), SystemTime::now().into());
        }
    }
}

/// Warns of a certificate that clients refuse or soon will, and of a key that others may read. Each
/// once, until it changes.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    validity: Option<Validity>,
    key_is_exposed: bool,
}

impl Warnings {
    /// Logs what has changed for the worse.
    pub(crate) fn report(&mut self, certificate: &ServerCertificate, files: &TlsFiles, now: DateTime<Utc>) {
        let validity = certificate.validity(now);
        if self.validity.replace(validity) != Some(validity) {
            let (from, until) = (certificate.valid_from(), certificate.valid_until());
            match validity {
                Validity::Valid => {}
                Validity::EndsSoon => {
                    tracing::warn!(valid_until = %until, "the certificate of `--tls-cert` ends within 14 days; renew it");
                }
                Validity::Expired => {
                    tracing::error!(valid_until = %until, "the certificate of `--tls-cert` has expired; clients refuse it");
                }
                Validity::NotYet => {
                    tracing::error!(
                        valid_from = %from,
                        "the certificate of `--tls-cert` is not valid yet; clients refuse it; check the clock"
                    );
                }
            }
        }
        let was_exposed = std::mem::replace(&mut self.key_is_exposed, certificate.key_is_exposed());
        if self.key_is_exposed && !was_exposed {
            let path = files.key().display();
            tracing::warn!(%path, "other users may read the key of `--tls-key`; run `chmod o-r` on it");
        }
    }
}

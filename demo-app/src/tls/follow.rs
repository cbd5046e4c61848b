//! Reads the certificate and its key again while the service runs.
//!
//! The files themselves are compared, and not their dates, so it does not matter how they are
//! replaced: written over, renamed, or behind a link that is turned, as certbot and Kubernetes do.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};

use super::{CurrentCertificate, ServerCertificate, TlsError, TlsFiles, Validity};
use crate::logging::ProblemLog;

/// The interval between two reads of the files.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Replaces `current` whenever the files hold another certificate. Never returns, except at
/// shutdown. Files that cannot be used leave it unchanged.
pub(crate) async fn follow(files: TlsFiles, current: CurrentCertificate, mut warnings: Warnings) {
    let mut problems = ProblemLog::new(
        "the certificate or its key has a problem; the loaded certificate stays in use",
        "the certificate and its key can be used again",
    );
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let reading = files.clone();
        let load = tokio::task::spawn_blocking(move || {
            catch_unwind(AssertUnwindSafe(|| reading.load())).unwrap_or(Err(TlsError::Panicked))
        });
        // The runtime is shutting down.
        let Ok(loaded) = load.await else { return };
        problems.report(loaded.as_ref().err().map(|error| error as _));
        if let Ok(certificate) = loaded {
            if current.replace(&certificate) {
                tracing::info!(valid_until = %certificate.valid_until(), "the certificate changed");
            }
            warnings.report(&certificate, &files, SystemTime::now().into());
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

//! Options of the store, and defaults for a URI.

use std::time::Duration;

use mongodb::options::{ClientOptions, ReadPreference, SelectionCriteria};

use super::records;
use crate::store::{StoreError, StoreErrorKind};

/// Options of a [`MongoStore`](super::MongoStore).
///
/// ```
/// use std::time::Duration;
///
/// use auth_layer::store::mongodb::MongoOptions;
///
/// let options = MongoOptions::default().with_operation_timeout(Duration::from_secs(1));
/// assert_eq!(options.retention_margin, Duration::from_secs(330));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MongoOptions {
    /// How long records are kept beyond their expiry. Default: 330 s.
    ///
    /// Building an authority fails if this is shorter than the leeway plus the largest clock
    /// difference. MongoDB counts whole seconds, so fractions are rounded up. The store that
    /// started last sets it for all nodes.
    pub retention_margin: Duration,
    /// Time limit of an operation, which then fails with
    /// [`Unavailable`](StoreErrorKind::Unavailable). Default: 2 s.
    pub operation_timeout: Duration,
}

impl MongoOptions {
    /// Sets [`retention_margin`](Self::retention_margin).
    #[must_use]
    pub const fn with_retention_margin(self, margin: Duration) -> Self {
        Self { retention_margin: margin, ..self }
    }

    /// Sets [`operation_timeout`](Self::operation_timeout).
    #[must_use]
    pub const fn with_operation_timeout(self, timeout: Duration) -> Self {
        Self { operation_timeout: timeout, ..self }
    }
}

impl Default for MongoOptions {
    fn default() -> Self {
        Self { retention_margin: Duration::from_secs(330), operation_timeout: Duration::from_secs(2) }
    }
}

/// Parses `uri`, with our defaults for what it leaves open.
///
/// The driver's error for a bad URI is not passed on, because it may quote the password.
pub(super) async fn client_options(uri: &str) -> Result<ClientOptions, StoreError> {
    let mut options = ClientOptions::parse(uri)
        .await
        .map_err(|_| StoreError::new(StoreErrorKind::Unsupported, "the MongoDB URI cannot be read"))?;
    options.server_selection_timeout.get_or_insert(Duration::from_secs(1));
    options.connect_timeout.get_or_insert(Duration::from_secs(1));
    options.heartbeat_freq.get_or_insert(Duration::from_millis(500));
    options.max_pool_size.get_or_insert(100);
    options.app_name.get_or_insert_with(|| "auth-layer".to_owned());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.read_concern = Some(records::read_concern());
    options.write_concern = Some(records::write_concern(None));
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn mongodb_uri_keeps_its_timeouts_but_not_its_concerns() {
        let options = client_options(
            "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=7000&maxPoolSize=3&readPreference=secondary&w=1&readConcernLevel=majority",
        )
        .await
        .unwrap();
        assert_eq!(options.server_selection_timeout, Some(Duration::from_secs(7)));
        assert_eq!(options.max_pool_size, Some(3));
        assert_eq!(options.connect_timeout, Some(Duration::from_secs(1)));
        assert_eq!(options.selection_criteria, Some(SelectionCriteria::ReadPreference(ReadPreference::Primary)));
        assert_eq!(options.write_concern, Some(records::write_concern(None)));
        assert_eq!(options.read_concern, Some(records::read_concern()));
    }

    #[tokio::test]
    async fn mongodb_uri_that_cannot_be_read_is_refused_without_quoting_it() {
        for uri in
            ["mongodb://user:s3cr/et@127.0.0.1", "mongodb://user:s3cret@127.0.0.1/?w=s3cret&tls=s3cret", "s3cret"]
        {
            let error = client_options(uri).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported);
            assert!(!format!("{error:?} {error}").contains("s3cr"), "{error:?}");
        }
    }
}

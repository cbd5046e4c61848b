//! One fetch of an issuer's keys.

use std::{error::Error, time::Duration};

use tokio::time::timeout;
use url::{Position, Url};

use super::{
    http::{Body, Http, HttpFault},
    location::{IssuerUrl, Location, MetadataFault},
};
use crate::keys::VerifyingKeys;

type BoxError = Box<dyn Error + Send + Sync>;
type ReadKeySet = dyn Fn(&[u8]) -> Result<VerifyingKeys, BoxError> + Send + Sync;

/// Fetches the keys of an issuer.
pub(super) struct Fetcher {
    location: Location,
    read: Box<ReadKeySet>,
    http: Http,
    limit: Duration,
}

/// Keys that were fetched. There is at least one.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keys: VerifyingKeys,
    /// How long they are good, if the server says so.
    pub(super) max_age: Option<Duration>,
}

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the issuer took longer than {0:?}")]
    Late(Duration),
    #[error("neither {} nor {} is of use: {}; {}", .0.url, .1.url, .0.fault, .1.fault)]
    Metadata(DocumentError, DocumentError),
    #[error(transparent)]
    Document(DocumentError),
}

/// Why a document is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{url} is of no use")]
pub(super) struct DocumentError {
    /// Without its query.
    url: String,
    #[source]
    pub(super) fault: DocumentFault,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentFault {
    #[error(transparent)]
    Http(#[from] HttpFault),
    #[error(transparent)]
    Metadata(#[from] MetadataFault),
    #[error("it is not a JWK set")]
    KeySet(#[source] BoxError),
    #[error("it has no key that can be used")]
    NoKeys,
}

impl Fetcher {
    pub(super) fn new<E: Into<BoxError>>(
        location: Location,
        read: impl Fn(&[u8]) -> Result<VerifyingKeys, E> + Send + Sync + 'static,
        limit: Duration,
    ) -> Self {
        let read = Box::new(move |body: &[u8]| read(body).map_err(Into::into));
        Self { location, read, http: Http::default(), limit }
    }

    pub(super) fn location(&self) -> &Location {
        &self.location
    }

    /// Fetches the metadata, if the URL of the keys is there, and then the keys.
    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        // One limit for all: a body that drips would outlast any limit between two reads.
        timeout(self.limit, self.fetch_unbounded()).await.unwrap_or(Err(FetchError::Late(self.limit)))
    }

    async fn fetch_unbounded(&self) -> Result<Fetched, FetchError> {
        let url = match &self.location {
            Location::KeySet(url) => url.clone(),
            Location::Issuer(issuer) => self.discover(issuer).await?,
        };
        let fetched = self.get(url, |body| {
            let keys = (self.read)(&body.bytes).map_err(DocumentFault::KeySet)?;
            if keys.is_empty() { Err(DocumentFault::NoKeys) } else { Ok(Fetched { keys, max_age: body.max_age }) }
        });
        fetched.await.map_err(FetchError::Document)
    }

    /// Returns the URL of the keys. The metadata is read on each fetch, since the URL may change.
    async fn discover(&self, issuer: &IssuerUrl) -> Result<Url, FetchError> {
        let read = |body: Body| issuer.read_metadata(&body.bytes).map_err(DocumentFault::Metadata);
        let openid = match self.get(issuer.openid_metadata(), read).await {
            Ok(url) => return Ok(url),
            Err(error) if error.is_unanswered() => return Err(FetchError::Document(error)),
            Err(error) => error,
        };
        let oauth = self.get(issuer.oauth_metadata(), read).await;
        oauth.map_err(|oauth| FetchError::Metadata(openid, oauth))
    }

    async fn get<T>(&self, url: Url, read: impl FnOnce(Body) -> Result<T, DocumentFault>) -> Result<T, DocumentError> {
        let shown = url[..Position::AfterPath].to_owned();
        let document = self.http.get(url).await.map_err(DocumentFault::Http).and_then(read);
        document.map_err(|fault| DocumentError { url: shown, fault })
    }
}

impl DocumentError {
    /// Whether there was no answer, so that asking the same server for another document is no use.
    fn is_unanswered(&self) -> bool {
        matches!(self.fault, DocumentFault::Http(HttpFault::Client(_) | HttpFault::Request(_)))
    }
}

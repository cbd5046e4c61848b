//! GET, and nothing else: no redirects, no large bodies.

use std::time::Duration;

use http::{
    HeaderMap,
    header::{ACCEPT, CACHE_CONTROL},
};
use reqwest::{Client, ClientBuilder, Response, StatusCode, redirect::Policy};
use tokio::sync::OnceCell;
use url::Url;

/// The largest body, in bytes.
const MAX_BODY: usize = 256 * 1024;

const USER_AGENT: &str = concat!("auth-layer/", env!("CARGO_PKG_VERSION"));

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpFault {
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    #[error("the answer is {0} and not 200; redirects are not followed")]
    Status(StatusCode),
    #[error("the body is larger than 256 KB")]
    TooLarge,
}

/// A body.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// How long it is good, if the server says so.
    pub(super) max_age: Option<Duration>,
}

/// The clients. Each is made when it is needed first.
#[derive(Debug, Default)]
pub(super) struct Http {
    pub(super) tls: OnceCell<Client>,
    /// For loopback: without certificates, and without proxies, since nothing is encrypted.
    pub(super) plain: OnceCell<Client>,
}

impl Http {
    /// Gets a URL of the scheme `https` or, on loopback, `http`.
    pub(super) async fn get(&self, url: Url) -> Result<Body, HttpFault> {
        let client = if url.scheme() == "https" {
            self.tls.get_or_try_init(async || builder().https_only(true).build()).await
        } else {
            self.plain.get_or_try_init(async || builder().no_proxy().tls_certs_only([]).build()).await
        };
        let client = client.map_err(HttpFault::Client)?;
        let response = client.get(url).header(ACCEPT, "application/json").send().await.map_err(request_fault)?;
        if response.status() != StatusCode::OK {
            return Err(HttpFault::Status(response.status()));
        }
        let max_age = max_age(response.headers());
        Ok(Body { bytes: read(response).await?, max_age })
    }
}

pub(super) fn builder() -> ClientBuilder {
    Client::builder().tls_backend_rustls().redirect(Policy::none()).user_agent(USER_AGENT)
}

/// A URL in the error could have a secret in its query.
fn request_fault(error: reqwest::Error) -> HttpFault {
    HttpFault::Request(error.without_url())
}

async fn read(mut response: Response) -> Result<Vec<u8>, HttpFault> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(request_fault)? {
        if bytes.len() + chunk.len() > MAX_BODY {
            return Err(HttpFault::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Returns the `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1), the shortest of several.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    let directives = values.flat_map(|value| value.split(','));
    let ages = directives.filter_map(|directive| {
        let (name, age) = directive.trim().split_once('=')?;
        // It may be quoted.
        let age = age.trim_matches('"').parse().ok()?;
        name.eq_ignore_ascii_case("max-age").then(|| Duration::from_secs(age))
    });
    ages.min()
}

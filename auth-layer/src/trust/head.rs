use std::fmt;

use http::{
    HeaderMap, Method, Request, Uri, Version,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
    request::Parts,
};

/// A request without its body, as a check sees it.
///
/// ```
/// use auth_layer::trust::RequestHead;
/// use http::Request;
///
/// let request = Request::options("/orders")
///     .header("origin", "https://page.example")
///     .header("access-control-request-method", "POST")
///     .body(())?;
/// assert!(RequestHead::from(&request).is_preflight());
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The version of HTTP.
    pub version: Version,
    /// The headers.
    pub headers: &'a HeaderMap,
}

impl<'a> RequestHead<'a> {
    /// Builds a head from its parts.
    pub fn new(method: &'a Method, uri: &'a Uri, version: Version, headers: &'a HeaderMap) -> Self {
        Self { method, uri, version, headers }
    }

    /// Whether the request is a CORS preflight (Fetch §4.8). A preflight never carries credentials.
    pub fn is_preflight(&self) -> bool {
        *self.method == Method::OPTIONS
            && self.headers.contains_key(ORIGIN)
            && self.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }
}

impl<'a, B> From<&'a Request<B>> for RequestHead<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self::new(request.method(), request.uri(), request.version(), request.headers())
    }
}

impl<'a> From<&'a Parts> for RequestHead<'a> {
    fn from(parts: &'a Parts) -> Self {
        Self::new(&parts.method, &parts.uri, parts.version, &parts.headers)
    }
}

impl fmt::Debug for RequestHead<'_> {
    /// Omits headers and query, which may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .field("path", &self.uri.path())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

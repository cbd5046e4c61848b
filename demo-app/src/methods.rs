//! The methods of HTTP that metrics and traces name. A client may send any word as one.

use http::Method;

/// The methods of RFC 9110 and RFC 5789.
pub(crate) static KNOWN: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
    Method::CONNECT,
];

/// Returns the place of a method in [`KNOWN`].
pub(crate) fn place(method: &Method) -> Option<usize> {
    KNOWN.iter().position(|known| known == method)
}

//! Sets the request id, which appears in the log and in the response's `X-Request-Id`.
//!
//! tower-http sets and returns the id, but accepts any text from anybody. So
//! [`TrustedProxies`](crate::trusted_proxies::TrustedProxies) first removes ids of strangers, and
//! those that must not appear in a log.

use http::{HeaderMap, HeaderName, HeaderValue};
use tower_http::request_id::{MakeRequestId, RequestId};
use uuid::{Uuid, fmt::Hyphenated};

pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The maximum length of a proxy's request id, in bytes.
const MAX_LENGTH: usize = 64;

/// Returns whether the `X-Request-Id` is a single, short and plain value.
pub(crate) fn is_single_and_plain(headers: &HeaderMap) -> bool {
    let mut sent = headers.get_all(HEADER).iter();
    matches!((sent.next(), sent.next()), (Some(id), None) if is_plain(id.as_bytes()))
}

/// Accepts letters, digits, `-` and `_`. A token has dots, so it is never accepted as an id.
fn is_plain(id: &[u8]) -> bool {
    (1..=MAX_LENGTH).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Makes UUIDs of version 7, which sort by time; tower-http makes version 4.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UuidV7;

impl MakeRequestId for UuidV7 {
    fn make_request_id<B>(&mut self, _: &http::Request<B>) -> Option<RequestId> {
        let mut text = [0; Hyphenated::LENGTH];
        let text: &str = Uuid::now_v7().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).ok().map(RequestId::new)
    }
}

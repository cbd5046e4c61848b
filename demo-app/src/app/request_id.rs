//! The identifier of a request: in the log, and in the answer's `X-Request-Id`.
//!
//! tower-http sets and returns it. It would take any text that a client sends; what has no place in
//! a log is removed before.

use axum::extract::Request;
use http::{HeaderName, HeaderValue};
use tower_http::request_id::{MakeRequestId, RequestId};
use uuid::Uuid;

pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest identifier that is taken from a client, in bytes.
const LONGEST: usize = 64;

/// Removes an `X-Request-Id` unless it is one, short and plain. One that is gets into the log.
pub(super) fn keep_plain(mut request: Request) -> Request {
    let mut sent = request.headers().get_all(HEADER).iter();
    let keep = matches!((sent.next(), sent.next()), (Some(id), None) if is_plain(id.as_bytes()));
    if !keep {
        request.headers_mut().remove(HEADER);
    }
    request
}

/// No dot: a token in the compact form is never taken for an identifier.
fn is_plain(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Makes UUIDs of version 7, which sort by time; tower-http's own are of version 4.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeOrdered;

impl MakeRequestId for TimeOrdered {
    fn make_request_id<B>(&mut self, _: &http::Request<B>) -> Option<RequestId> {
        HeaderValue::try_from(Uuid::now_v7().to_string()).ok().map(RequestId::new)
    }
}

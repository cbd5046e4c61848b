//! Lets pages of other origins call this service (CORS).
//!
//! Only origins that `--cors-origin` names may, and only with tokens in a header: browsers send our
//! cookies along to none of them. The page of `/oauth/authorize` is for browsers to go to, so it is
//! left out, and so is gRPC.

use std::{convert::Infallible, time::Duration};

use auth_layer::dpop::{NONCE_HEADER, Origin, PROOF_HEADER};
use axum::{extract::Request, response::Response};
use http::{
    HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;

use crate::{oauth::AUTHORIZE, request_id};

/// How long a browser may remember the answer to a preflight.
const MAX_AGE: Duration = Duration::from_hours(1);

/// What a page may send besides the headers that need no preflight.
const SENT: [HeaderName; 3] = [AUTHORIZATION, CONTENT_TYPE, PROOF_HEADER];

/// What a page may read of an answer.
const READ: [HeaderName; 4] = [WWW_AUTHENTICATE, RETRY_AFTER, NONCE_HEADER, request_id::HEADER];

/// Answers preflights, and marks answers that a page of another origin may read.
#[derive(Clone, Debug)]
pub(crate) struct Cors(Option<CorsLayer>);

impl Cors {
    /// Lets pages of these origins call the service.
    pub(crate) fn new(origins: &[Origin]) -> Self {
        let origins = origins.iter().map(|origin| HeaderValue::from_str(origin.as_str()));
        let origins: Vec<_> = origins.map(|origin| origin.expect("an origin is ASCII without controls")).collect();
        Self((!origins.is_empty()).then(|| {
            CorsLayer::new()
                .allow_origin(origins)
                .allow_methods([Method::GET, Method::POST, Method::DELETE])
                .allow_headers(SENT)
                .expose_headers(READ)
                .max_age(MAX_AGE)
        }))
    }

    /// Answers a preflight, or has `answer` answer the request.
    pub(crate) async fn respond<A>(&self, request: Request, answer: impl Fn(Request) -> A) -> Response
    where
        A: Future<Output = Response>,
    {
        let Some(cors) = self.0.as_ref().filter(|_| request.uri().path() != AUTHORIZE) else {
            return answer(request).await;
        };
        let inner = service_fn(|request| {
            let answered = answer(request);
            async { Ok::<_, Infallible>(answered.await) }
        });
        match cors.layer(inner).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body::Body;
use http_body_util::Full;
use serde::Serialize;
use tower_service::Service;

use crate::middleware::EarlyResponse;

/// Serves a metadata document as JSON. Made by
/// [`ProtectedResourceMetadata::service`](super::ProtectedResourceMetadata::service).
///
/// It is a tower service, for any framework that routes to one.
#[derive(Clone, Debug)]
pub struct MetadataService {
    document: Bytes,
}

impl MetadataService {
    pub(super) fn of(document: &impl Serialize) -> Self {
        let document = serde_json::to_vec(document).expect("texts and lists in a struct always serialise");
        Self { document: document.into() }
    }

    fn respond(&self, method: &Method) -> Response<Bytes> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refusal = Response::new(Bytes::new());
            *refusal.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        //= RFC 9728 §3.2
        let mut response = Response::new(self.document.clone());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl<B: Body + Send + 'static> Service<Request<B>> for MetadataService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let response = self.respond(request.method());
        Box::pin(async { Ok(EarlyResponse::new(request, response).await.map(Full::new)) })
    }
}

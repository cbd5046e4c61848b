//! A protected route, and what its refusals must look like (RFC 6750 §3).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use auth_layer::{AuthLayer, Authority, Claims, Rejection, SingleUse};
use axum::{Router, body::Body, routing::get};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::corpus::Expected;

/// A route behind the layer that counts the requests it gets.
pub(crate) struct ProtectedRoute {
    app: Router,
    handler_calls: Arc<AtomicUsize>,
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 401 `unauthorized`: no credentials, or another scheme.
    Unauthorized,
    /// 401 `invalid_token`.
    InvalidToken,
    /// 400 `invalid_request`.
    InvalidRequest,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// Returns the id of the token.
fn id_of(claims: &Claims) -> String {
    claims.token_id().unwrap().to_string()
}

impl ProtectedRoute {
    /// Makes a route for access tokens or for single-use tokens.
    pub(crate) fn new(authority: &Authority, single_use: bool) -> Self {
        let builder = AuthLayer::builder(authority);
        if single_use { Self::spending(builder.single_use().build()) } else { Self::behind(builder.build()) }
    }

    /// Makes a route that spends single-use tokens.
    fn spending(layer: AuthLayer) -> Self {
        let handler_calls = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&handler_calls);
        let enter = async move |token: SingleUse| {
            let claims = token.spend().await?;
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Rejection>(id_of(&claims))
        };
        let app = Router::new().route("/", get(enter.clone()).post(enter)).layer(layer);
        Self { app, handler_calls }
    }

    /// Makes a route that requests without credentials reach as well.
    pub(crate) fn optional(authority: &Authority) -> Self {
        Self::behind(AuthLayer::builder(authority).optional(true).build())
    }

    /// Makes a route behind this layer.
    fn behind(layer: AuthLayer) -> Self {
        let handler_calls = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&handler_calls);
        let enter = async move |claims: Option<Claims>| {
            count.fetch_add(1, Ordering::SeqCst);
            claims.map_or("nobody".to_owned(), |claims| id_of(&claims))
        };
        let app = Router::new().route("/", get(enter.clone()).post(enter)).layer(layer);
        Self { app, handler_calls }
    }

    /// Returns the number of requests that passed the layer.
    pub(crate) fn handler_calls(&self) -> usize {
        self.handler_calls.load(Ordering::SeqCst)
    }

    /// Sends a request.
    pub(crate) async fn send(&self, request: Request<Body>) -> HttpResponse {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        HttpResponse { status: parts.status, headers: parts.headers, body: String::from_utf8(body).unwrap() }
    }

    /// Sends these credentials over HTTP and over gRPC. Fails unless both refuse in the same way.
    pub(crate) async fn assert_refuses(&self, name: &str, credentials: &[HeaderValue], refusal: Refusal, secret: &str) {
        let handler_calls = self.handler_calls();
        let mut request = Request::get("/").body(Body::empty()).unwrap();
        for value in credentials {
            request.headers_mut().append(header::AUTHORIZATION, value.clone());
        }
        self.send(request).await.assert_refusal(name, refusal, r#"Bearer realm="api""#, secret);

        let request = Request::post("/").version(Version::HTTP_2).header(header::CONTENT_TYPE, "application/grpc");
        let mut request = request.body(Body::empty()).unwrap();
        for value in credentials {
            request.headers_mut().append(header::AUTHORIZATION, value.clone());
        }
        self.send(request).await.assert_grpc_refusal(name);
        assert_eq!(self.handler_calls(), handler_calls, "{name}: the handler was reached");
    }
}

impl HttpResponse {
    /// Fails unless this is exactly that refusal and holds nothing of the token. `bearer` is the
    /// challenge without an error.
    pub(crate) fn assert_refusal(&self, name: &str, refusal: Refusal, bearer: &str, secret: &str) {
        let (status, error, challenge) = match refusal {
            Refusal::Unauthorized => (401, "unauthorized", bearer.to_owned()),
            Refusal::InvalidToken => (401, "invalid_token", format!(r#"{bearer}, error="invalid_token""#)),
            Refusal::InvalidRequest => (400, "invalid_request", format!(r#"{bearer}, error="invalid_request""#)),
        };
        assert_eq!(self.status, status, "{name}: {self:?}");
        let challenges: Vec<&HeaderValue> = self.headers.get_all(header::WWW_AUTHENTICATE).iter().collect();
        assert_eq!(challenges, [&challenge], "{name}");
        self.assert_error(name, error, secret);
    }

    /// Fails unless the body is this error with a description, and holds nothing else and nothing
    /// of the token.
    pub(crate) fn assert_error(&self, name: &str, error: &str, secret: &str) {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json", "{name}");
        let body: Value = serde_json::from_str(&self.body).unwrap();
        let members = body.as_object().unwrap();
        assert_eq!(members.keys().collect::<Vec<_>>(), ["error", "error_description"], "{name}");
        assert_eq!(members["error"], error, "{name}");
        assert!(members["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        self.assert_leaks_nothing_of(name, secret);
    }

    /// Fails unless this is a refusal in gRPC's terms.
    pub(crate) fn assert_grpc_refusal(&self, name: &str) {
        assert_eq!(self.status, 200, "{name}: {self:?}");
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/grpc", "{name}");
        assert_eq!(self.headers["grpc-status"], "16", "{name}");
        assert!(!self.headers["grpc-message"].is_empty(), "{name}");
        assert!(self.body.is_empty(), "{name}: {self:?}");
    }

    /// Fails if the response holds a part of the token.
    fn assert_leaks_nothing_of(&self, name: &str, secret: &str) {
        let said = format!("{:?}{}", self.headers, self.body);
        // Short parts are words that may stand in any answer.
        for part in secret.split('.').filter(|part| part.len() >= 16) {
            assert!(!said.contains(part), "{name}: the answer repeats the token");
        }
    }
}

impl Expected {
    /// Returns the refusal of a request with such a token, or `None` if no request can hold it.
    pub(crate) fn refusal(self) -> Option<Refusal> {
        match self {
            Self::InvalidToken => Some(Refusal::InvalidToken),
            Self::InvalidRequest => Some(Refusal::InvalidRequest),
            Self::Unsendable => None,
        }
    }
}

/// Returns the token as credentials, or `None` if no header field can hold it.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(format!("Bearer {token}").as_bytes()).ok()
}

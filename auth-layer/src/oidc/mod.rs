//! The endpoint at which other issuers say that a session has ended.
//!
//! An issuer that supports OpenID Connect Back-Channel Logout sends a logout token when a user logs
//! out, or when an administrator ends the session. [`BackChannelLogout`] verifies it and denies the
//! session, so its access tokens end before they expire.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use tower_service::Service;

use crate::{
    middleware::EarlyResponse,
    oauth::{Form, is_form},
    rejection::Rejection,
    trust::{AuthError, Trust},
};

/// The largest body of a request: a token of the default size and its form.
const MAX_BODY: usize = 32 * 1024;

const LOGOUT_TOKEN: &str = "logout_token";

/// Serves an endpoint for logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.5).
///
/// It takes a `POST` with the form field `logout_token`, and answers
///
/// - 200 once no node accepts the tokens of the session;
/// - 400 `invalid_request` if the token is not good or was used before;
/// - 503 if the store is away. The denial is then recorded in the background.
///
/// It is a tower service, for any framework that routes to one. Issuers that may use it have a
/// [`logout_audience`](crate::trust::Issuer::logout_audience).
///
/// ```
/// # use auth_layer::{AuthLayer, Claims, Trust};
/// use auth_layer::oidc::BackChannelLogout;
/// use axum::{Router, routing::get};
///
/// fn app(trust: &Trust) -> Router {
///     Router::new()
///         .route("/me", get(async |claims: Claims| claims.sub.to_string()))
///         .layer(AuthLayer::new(trust))
///         .route_service("/backchannel-logout", BackChannelLogout::new(trust))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct BackChannelLogout {
    trust: Trust,
}

impl BackChannelLogout {
    /// Creates the endpoint for the issuers of this trust.
    pub fn new(trust: impl Into<Trust>) -> Self {
        Self { trust: trust.into() }
    }

    /// Answers a request. The body may be left unread, in whole or in part.
    async fn respond<B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>>(
        &self,
        head: &Parts,
        body: B,
    ) -> Response<Bytes> {
        if head.method != Method::POST {
            let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "Logout tokens come by POST");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        if !is_form(&head.headers) {
            return refusal(StatusCode::BAD_REQUEST, "The body must be a form");
        }
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return refusal(StatusCode::BAD_REQUEST, "The body is too large or broke off");
        };
        let Some(token) = logout_token(&body.to_bytes()) else {
            return refusal(StatusCode::BAD_REQUEST, "The form must have one field logout_token");
        };
        match self.trust.log_out(&token).await {
            Ok(()) => response(StatusCode::OK, Bytes::new()),
            Err(AuthError::Unavailable(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a logout is not finished yet");
                Rejection::unavailable().into_http()
            }
            Err(error) => {
                tracing::info!(error = &error as &dyn std::error::Error, "a logout token is not accepted");
                refusal(StatusCode::BAD_REQUEST, "The logout token is not accepted")
            }
        }
    }
}

/// Returns the logout token of a form that has one.
fn logout_token(body: &[u8]) -> Option<String> {
    Form::read(body, &[LOGOUT_TOKEN]).ok()?.take(LOGOUT_TOKEN).ok()?
}

fn refusal(status: StatusCode, description: &str) -> Response<Bytes> {
    let body = serde_json::json!({ "error": "invalid_request", "error_description": description });
    let mut response = response(status, body.to_string().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Builds a response that no cache keeps (§2.8).
fn response(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl<B> Service<Request<B>> for BackChannelLogout
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let endpoint = self.clone();
        let (head, body) = request.into_parts();
        Box::pin(async move {
            let mut body = Box::pin(body).fuse();
            let response = endpoint.respond(&head, &mut body).await;
            Ok(EarlyResponse::new(Request::from_parts(head, body), response).await.map(Full::new))
        })
    }
}

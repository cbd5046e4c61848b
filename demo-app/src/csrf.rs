//! Refuses requests that another site made the browser send (cross-site request forgery).
//!
//! A browser adds cookies to requests that any page causes. So a request that changes something and
//! carries one of our cookies has to show two things:
//!
//! - **Its origin.** tower-http compares `Sec-Fetch-Site` and `Origin` with this host. It lets
//!   requests through that have neither header, as those of old browsers.
//! - **The session's token** in `X-CSRF-Token`. Only the service's own page has it, from the answer
//!   to its sign-in or refresh. Another site can neither read it nor send the header.
//!
//! Requests without our cookies need neither: what they carry is not added by a browser.
//!
//! Two routes differ:
//!
//! - `POST /auth/login` reads no cookie, so it needs no token: a page that has lost its token must
//!   be able to sign in again. With `transport=cookie`, or with our cookies, its origin is checked.
//!   Otherwise another site could sign a visitor in to an account of its own (login CSRF).
//! - `POST /oauth/authorize` reads no cookie of ours. Its form has a field of its own, bound to a
//!   cookie of its own. A visitor may come to it from another site, so no page has our token there.

use std::convert::Infallible;

use auth_layer::{
    dpop::Origin,
    rejection::{Rejection, RejectionKind},
};
use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, Method, header::AUTHORIZATION};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::csrf::{CsrfLayer, ProtectionError};

use crate::{
    cookies::SessionCookies, error::ApiError, oauth::AUTHORIZE, openapi::LOGIN, routes::transport::Transport,
    state::AppState,
};

/// The header that carries a session's token.
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// Compares a request's origin with the service's.
#[derive(Clone, Debug)]
pub(crate) struct OriginCheck(CsrfLayer<fn(ProtectionError) -> Response>);

impl OriginCheck {
    /// Creates the check for a service whose pages have this issuer's origin.
    ///
    /// The origin of the request's host is good too. Behind a proxy that changes the host, only the
    /// issuer's is.
    pub(crate) fn new(issuer: &str) -> Self {
        let refuse: fn(ProtectionError) -> Response = |_| ApiError::Csrf.into_response();
        let check = CsrfLayer::new().with_rejection_response(refuse);
        let origin = issuer.parse::<Origin>().ok();
        let trusting = origin.and_then(|origin| check.clone().add_trusted_origin(origin.to_string()).ok());
        Self(trusting.unwrap_or(check))
    }
}

/// What a request must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defence {
    Nothing,
    Origin,
    OriginAndToken,
}

/// Lets a request in if it shows what it must.
pub(crate) async fn defend(state: &AppState, request: Request, next: Next) -> Response {
    let defence = match defence(&request) {
        Ok(Defence::Nothing) => return next.run(request).await,
        Ok(defence) => defence,
        Err(error) => return error.into_response(),
    };
    let OriginCheck(check) = state.origin_check.clone();
    let state = state.clone();
    let inner = service_fn(move |request: Request| {
        let (state, next) = (state.clone(), next.clone());
        async move {
            let shown = match defence {
                Defence::OriginAndToken => check_token(&state, request.headers()),
                Defence::Origin | Defence::Nothing => Ok(()),
            };
            Ok::<_, Infallible>(match shown {
                Ok(()) => next.run(request).await,
                Err(error) => error.into_response(),
            })
        }
    });
    match check.layer(inner).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn defence(request: &Request) -> Result<Defence, ApiError> {
    let path = request.uri().path();
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) || path == AUTHORIZE {
        return Ok(Defence::Nothing);
    }
    let carries_cookies = SessionCookies::of(request.headers())?.is_any();
    if path == LOGIN.path {
        let wants_cookies = Transport::of(request.uri())? == Transport::Cookie;
        return Ok(if wants_cookies || carries_cookies { Defence::Origin } else { Defence::Nothing });
    }
    if !carries_cookies {
        return Ok(Defence::Nothing);
    }
    if carries_token_in_header(request.headers()) {
        return Err(ApiError::Auth(Rejection::new(RejectionKind::InvalidRequest)));
    }
    Ok(Defence::OriginAndToken)
}

/// Returns whether an `Authorization` header has one of our schemes.
fn carries_token_in_header(headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).iter().any(|value| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"dpop")
    })
}

/// Checks that the token is that of every session whose cookie is good.
///
/// Cookies that are not good authenticate nothing: the route refuses them with the error that it has
/// for that.
fn check_token(state: &AppState, headers: &HeaderMap) -> Result<(), ApiError> {
    let mut sent = headers.get_all(TOKEN_HEADER).iter();
    let sent = match (sent.next(), sent.next()) {
        (Some(token), None) => token.to_str().unwrap_or_default(),
        _ => "",
    };
    let mut owners = SessionCookies::of(headers)?.tokens().filter_map(|token| state.authority.owner_of(token));
    let is_good = owners.all(|owner| state.authority.is_csrf_token(owner.session_id, sent));
    if is_good { Ok(()) } else { Err(ApiError::Csrf) }
}

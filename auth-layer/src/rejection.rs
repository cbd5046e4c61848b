//! Responses to refused requests (RFC 6750 §3, RFC 9110 §11.6.1, RFC 9449 §7.1; "Trailers-Only" in
//! gRPC).

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

pub use crate::layer_context::{InvalidRealm, InvalidResourceMetadata, Realm, ResourceMetadata};
use crate::{
    authority::{RefreshError, SignInError},
    claims::{CustomClaimsError, Scope},
    dpop::{ALGORITHMS, NONCE_HEADER, ProofFault},
    keys::Algorithm,
    layer_context::LayerContext,
    store::StoreError,
    trust::{AuthError, Denied},
    watch::StreamEnd,
};

/// The `Retry-After` of a 503.
const RETRY: Duration = Duration::from_secs(1);

/// A refusal, ready to be sent over HTTP or gRPC. It names the case and hides the cause.
///
/// Every error of this crate that a request can meet converts into one. A layer puts it into the
/// extensions of its response. There an application can count it, log it or answer in its own form.
///
/// ```
/// use auth_layer::rejection::{Rejection, RejectionKind};
///
/// let rejection = Rejection::new(RejectionKind::InvalidToken);
/// assert_eq!((rejection.status().as_u16(), rejection.error()), (401, "invalid_token"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    kind: RejectionKind,
    realm: Realm,
    resource_metadata: Option<ResourceMetadata>,
    /// Whether the challenge is for the scheme `DPoP`, in place of `Bearer`.
    asks_for_proof: bool,
    nonce: Option<HeaderValue>,
}

/// The cases of a [`Rejection`].
///
/// ```
/// # use axum::response::Response;
/// use auth_layer::rejection::{Rejection, RejectionKind};
///
/// // Outside the layer: says which refusals are outages.
/// fn is_outage(response: &Response) -> bool {
///     let rejection = response.extensions().get::<Rejection>();
///     rejection.is_some_and(|rejection| *rejection.kind() == RejectionKind::Unavailable)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionKind {
    /// Credentials are needed and there are none: 401, gRPC `UNAUTHENTICATED`.
    MissingCredentials,
    /// The credentials cannot be read: 400 `invalid_request`, gRPC `UNAUTHENTICATED`.
    InvalidRequest,
    /// The token is not good: 401 `invalid_token`, gRPC `UNAUTHENTICATED`.
    InvalidToken,
    /// The proof of possession is not good: 401 `invalid_dpop_proof` (RFC 9449 §7.1), gRPC
    /// `UNAUTHENTICATED`.
    InvalidProof,
    /// The proof of possession lacks the nonce of the response: 401 `use_dpop_nonce` (RFC 9449 §9),
    /// gRPC `UNAUTHENTICATED`.
    NonceNeeded,
    /// The token's scope does not cover this: 403 `insufficient_scope`, gRPC `PERMISSION_DENIED`.
    InsufficientScope(Scope),
    /// The user lacks this role: 403 `insufficient_scope`, gRPC `PERMISSION_DENIED`.
    InsufficientRole(Arc<str>),
    /// The user signed in longer ago than this: 401 `insufficient_user_authentication` with
    /// `max_age` (RFC 9470 §3), gRPC `UNAUTHENTICATED`.
    SignInTooOld(Duration),
    /// The token's `acr` is none of these: 401 `insufficient_user_authentication` with `acr_values`
    /// (RFC 9470 §3), gRPC `UNAUTHENTICATED`.
    SignInTooWeak(Vec<String>),
    /// The application found an unknown user or a wrong password: 401 `invalid_credentials`, gRPC
    /// `UNAUTHENTICATED`.
    InvalidCredentials,
    /// A refresh token or a sign-in is not good: 400 `invalid_grant` (RFC 6749 §5.2), gRPC
    /// `UNAUTHENTICATED`.
    InvalidGrant,
    /// The requested scope is more than was granted: 400 `invalid_scope` (RFC 6749 §5.2), gRPC
    /// `INVALID_ARGUMENT`.
    InvalidScope,
    /// The requested audience is not the issuer's: 400 `invalid_target` (RFC 8707 §2), gRPC
    /// `INVALID_ARGUMENT`.
    InvalidTarget,
    /// A token's state cannot be learnt, or a revocation cannot be promised: 503 with
    /// `Retry-After`, gRPC `UNAVAILABLE`.
    Unavailable,
    /// The service is at fault: 500, gRPC `INTERNAL`.
    Internal,
}

impl Rejection {
    /// Creates the refusal for this case, in the realm `api`.
    pub fn new(kind: RejectionKind) -> Self {
        Self { kind, realm: Realm::default(), resource_metadata: None, asks_for_proof: false, nonce: None }
    }

    /// Creates the refusal of a request without credentials.
    pub fn missing_credentials() -> Self {
        Self::new(RejectionKind::MissingCredentials)
    }

    /// Creates the refusal of a token that is not good.
    pub fn invalid_token() -> Self {
        Self::new(RejectionKind::InvalidToken)
    }

    /// Creates the refusal of a good token whose scope does not cover `required`.
    pub fn insufficient_scope(required: Scope) -> Self {
        Self::new(RejectionKind::InsufficientScope(required))
    }

    /// Creates the refusal of a sign-in, the same for an unknown user and a wrong password.
    pub fn invalid_credentials() -> Self {
        Self::new(RejectionKind::InvalidCredentials)
    }

    /// Creates the response to a fault of the service.
    pub fn internal() -> Self {
        Self::new(RejectionKind::Internal)
    }

    /// Creates the response for an outage: a token's state cannot be learnt, or a revocation not
    /// promised.
    pub fn unavailable() -> Self {
        Self::new(RejectionKind::Unavailable)
    }

    /// Replaces the realm.
    ///
    /// ```
    /// # use auth_layer::{Rejection, rejection::{InvalidRealm, Realm}};
    /// # fn example() -> Result<Rejection, InvalidRealm> {
    /// Ok(Rejection::invalid_token().with_realm(Realm::new("shop")?))
    /// # }
    /// ```
    #[must_use]
    pub fn with_realm(self, realm: Realm) -> Self {
        Self { realm, ..self }
    }

    /// Takes realm, metadata and challenge from a layer.
    ///
    /// `uses_dpop` says whether the request came with the scheme `DPoP`.
    #[must_use]
    pub(crate) fn for_layer(self, layer: &LayerContext, uses_dpop: bool) -> Self {
        let asks_for_proof = layer.proofs().is_some_and(|proofs| proofs.is_required || uses_dpop);
        let needs_nonce = self.kind == RejectionKind::NonceNeeded;
        let nonce = layer.proofs().filter(|_| needs_nonce).and_then(|proofs| proofs.nonce.as_ref());
        Self {
            realm: layer.realm().clone(),
            resource_metadata: layer.resource_metadata().cloned(),
            asks_for_proof,
            nonce: nonce.map(|nonce| nonce(layer.now())),
            ..self
        }
    }

    /// Returns the case.
    pub fn kind(&self) -> &RejectionKind {
        &self.kind
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        match self.kind {
            RejectionKind::MissingCredentials
            | RejectionKind::InvalidToken
            | RejectionKind::InvalidProof
            | RejectionKind::NonceNeeded
            | RejectionKind::InvalidCredentials
            | RejectionKind::SignInTooOld(_)
            | RejectionKind::SignInTooWeak(_) => StatusCode::UNAUTHORIZED,
            RejectionKind::InvalidRequest
            | RejectionKind::InvalidGrant
            | RejectionKind::InvalidScope
            | RejectionKind::InvalidTarget => StatusCode::BAD_REQUEST,
            RejectionKind::InsufficientScope(_) | RejectionKind::InsufficientRole(_) => StatusCode::FORBIDDEN,
            RejectionKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            RejectionKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the gRPC status code.
    pub fn grpc_code(&self) -> u8 {
        match self.kind {
            RejectionKind::MissingCredentials
            | RejectionKind::InvalidRequest
            | RejectionKind::InvalidToken
            | RejectionKind::InvalidProof
            | RejectionKind::NonceNeeded
            | RejectionKind::SignInTooOld(_)
            | RejectionKind::SignInTooWeak(_)
            | RejectionKind::InvalidCredentials
            | RejectionKind::InvalidGrant => 16,
            RejectionKind::InvalidScope | RejectionKind::InvalidTarget => 3,
            RejectionKind::InsufficientScope(_) | RejectionKind::InsufficientRole(_) => 7,
            RejectionKind::Unavailable => 14,
            RejectionKind::Internal => 13,
        }
    }

    /// Returns the `error` of the JSON body. The challenge names the same error, if any.
    pub fn error(&self) -> &'static str {
        self.code_and_description().0
    }

    /// Returns the `error_description` of the JSON body.
    pub fn description(&self) -> &'static str {
        self.code_and_description().1
    }

    fn code_and_description(&self) -> (&'static str, &'static str) {
        match self.kind {
            RejectionKind::MissingCredentials => ("unauthorized", "A token is needed"),
            RejectionKind::InvalidRequest => ("invalid_request", "The credentials of the request cannot be read"),
            RejectionKind::InvalidToken => ("invalid_token", "The token is expired, revoked or otherwise not valid"),
            RejectionKind::InvalidProof => ("invalid_dpop_proof", "The DPoP proof is missing or not valid"),
            RejectionKind::NonceNeeded => ("use_dpop_nonce", "The DPoP proof must have the nonce of this response"),
            RejectionKind::InsufficientScope(_) => {
                ("insufficient_scope", "The token's scope does not cover this request")
            }
            RejectionKind::InsufficientRole(_) => ("insufficient_scope", "The user lacks a role for this request"),
            RejectionKind::SignInTooOld(_) => {
                ("insufficient_user_authentication", "The user signed in too long ago for this request")
            }
            RejectionKind::SignInTooWeak(_) => {
                ("insufficient_user_authentication", "The user must sign in by stronger means for this request")
            }
            RejectionKind::InvalidCredentials => ("invalid_credentials", "The username or the password is wrong"),
            RejectionKind::InvalidGrant => ("invalid_grant", "The grant is expired, revoked or otherwise not valid"),
            RejectionKind::InvalidScope => ("invalid_scope", "The scope is more than was granted"),
            RejectionKind::InvalidTarget => ("invalid_target", "The resource is unknown"),
            RejectionKind::Unavailable => ("temporarily_unavailable", "The request cannot be decided at the moment"),
            RejectionKind::Internal => ("server_error", "Something went wrong here"),
        }
    }

    /// Returns the value of `WWW-Authenticate`: for every 401, and as RFC 6750 §3.1 demands.
    fn challenge(&self) -> Option<HeaderValue> {
        let realm = self.realm.as_str();
        //= RFC 9449 §7.1
        let mut challenge = if self.asks_for_proof {
            format!(r#"DPoP realm="{realm}", algs="{}""#, ALGORITHMS.map(Algorithm::as_str).join(" "))
        } else {
            format!(r#"Bearer realm="{realm}""#)
        };
        if let Some(url) = &self.resource_metadata {
            challenge = format!(r#"{challenge}, resource_metadata="{}""#, url.as_str());
        }
        let error = self.error();
        let parameters = match &self.kind {
            // Without a token there is no error code (RFC 6750 §3).
            RejectionKind::MissingCredentials | RejectionKind::InvalidCredentials => String::new(),
            RejectionKind::InvalidRequest
            | RejectionKind::InvalidToken
            | RejectionKind::InvalidProof
            | RejectionKind::NonceNeeded
            | RejectionKind::InsufficientRole(_) => {
                format!(r#", error="{error}""#)
            }
            RejectionKind::InsufficientScope(scope) => format!(r#", error="{error}", scope="{scope}""#),
            RejectionKind::SignInTooOld(age) => format!(r#", error="{error}", max_age="{}""#, age.as_secs()),
            RejectionKind::SignInTooWeak(values) => {
                format!(r#", error="{error}", acr_values="{}""#, values.join(" "))
            }
            RejectionKind::InvalidGrant
            | RejectionKind::InvalidScope
            | RejectionKind::InvalidTarget
            | RejectionKind::Unavailable
            | RejectionKind::Internal => return None,
        };
        challenge.push_str(&parameters);
        // Realm, URL and scope are printable ASCII by their types.
        HeaderValue::try_from(challenge).ok()
    }

    /// Builds the response to this request, over gRPC or HTTP.
    ///
    /// ```
    /// # use auth_layer::Rejection;
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// // In a tower service of your own that refuses requests.
    /// fn refuse<B>(request: &Request<B>) -> Response<Bytes> {
    ///     Rejection::missing_credentials().into_response_to(request)
    /// }
    /// ```
    pub fn into_response_to<B: From<Bytes>, R>(self, request: &Request<R>) -> Response<B> {
        if is_grpc(request.method(), request.version(), request.headers()) {
            self.into_grpc()
        } else {
            self.into_http()
        }
    }

    /// Builds the response over HTTP.
    pub fn into_http<B: From<Bytes>>(self) -> Response<B> {
        let (error, description) = self.code_and_description();
        let body = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
        let mut response = Response::new(B::from(Bytes::from(body)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        //= RFC 9449 §9
        headers.extend(self.nonce.clone().map(|nonce| (NONCE_HEADER, nonce)));
        if self.kind == RejectionKind::Unavailable {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY.as_secs()));
        }
        response.extensions_mut().insert(self);
        response
    }

    /// Builds the response over gRPC: HTTP 200, trailers-only, with an empty body.
    pub fn into_grpc<B: From<Bytes>>(self) -> Response<B> {
        let mut response = Response::new(B::from(Bytes::new()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(u16::from(self.grpc_code())));
        if let Ok(message) = HeaderValue::try_from(grpc_message(self.description())) {
            headers.insert("grpc-message", message);
        }
        headers.extend(self.nonce.clone().map(|nonce| (NONCE_HEADER, nonce)));
        response.extensions_mut().insert(self);
        response
    }
}

/// Returns whether a request is gRPC's ("Requests" of gRPC over HTTP/2).
///
/// It is a POST over HTTP/2 whose content type is `application/grpc`, alone or followed by `+` or
/// parameters. Other clients read the HTTP status, and must not find 200 there.
///
/// ```
/// use auth_layer::rejection::is_grpc;
/// use http::{Method, Request, Version, header::CONTENT_TYPE};
///
/// let (call, ()) = Request::post("/demo.v1.Identity/WhoAmI")
///     .version(Version::HTTP_2)
///     .header(CONTENT_TYPE, "application/grpc")
///     .body(())?
///     .into_parts();
/// assert!(is_grpc(&call.method, call.version, &call.headers));
/// assert!(!is_grpc(&Method::GET, call.version, &call.headers));
/// # Ok::<_, http::Error>(())
/// ```
pub fn is_grpc(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    let name = b"application/grpc";
    *method == Method::POST
        && version == Version::HTTP_2
        && headers.get(CONTENT_TYPE).is_some_and(|value| {
            let value = value.as_bytes();
            value.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                && matches!(value.get(name.len()), None | Some(b'+' | b';' | b' '))
        })
}

/// `Percent-Encoded` of gRPC over HTTP/2: encodes `%` and everything but printable ASCII.
fn grpc_message(text: &str) -> String {
    const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

    utf8_percent_encode(text, ENCODED).to_string()
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

impl std::error::Error for Rejection {}

impl From<RejectionKind> for Rejection {
    fn from(kind: RejectionKind) -> Self {
        Self::new(kind)
    }
}

impl From<Denied> for Rejection {
    fn from(denied: Denied) -> Self {
        Self::new(match denied {
            Denied::Scope(scope) => RejectionKind::InsufficientScope(scope),
            Denied::Role(role) => RejectionKind::InsufficientRole(role),
            Denied::Age(age) => RejectionKind::SignInTooOld(age),
            Denied::Acr(values) => RejectionKind::SignInTooWeak(values),
        })
    }
}

impl From<AuthError> for Rejection {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::MissingCredentials => Self::missing_credentials(),
            AuthError::InvalidRequest(_) => Self::new(RejectionKind::InvalidRequest),
            AuthError::InvalidToken(_) => Self::invalid_token(),
            AuthError::InvalidProof(fault) => fault.into(),
            AuthError::Denied(denied) => denied.into(),
            AuthError::Unavailable(_) => Self::unavailable(),
        }
    }
}

impl From<ProofFault> for Rejection {
    fn from(fault: ProofFault) -> Self {
        Self::new(match fault {
            ProofFault::Nonce => RejectionKind::NonceNeeded,
            ProofFault::Binding => RejectionKind::InvalidToken,
            _ => RejectionKind::InvalidProof,
        })
    }
}

impl From<SignInError> for Rejection {
    fn from(error: SignInError) -> Self {
        Self::new(match error {
            SignInError::Proof(fault) => return fault.into(),
            SignInError::Fenced | SignInError::Disabled => RejectionKind::InvalidGrant,
            SignInError::Target => RejectionKind::InvalidTarget,
            SignInError::Unavailable(_) => RejectionKind::Unavailable,
            SignInError::Claims(_) | SignInError::Key(_) | SignInError::Unacceptable(_) => RejectionKind::Internal,
        })
    }
}

impl From<CustomClaimsError> for Rejection {
    fn from(_: CustomClaimsError) -> Self {
        Self::internal()
    }
}

impl From<RefreshError> for Rejection {
    fn from(error: RefreshError) -> Self {
        Self::new(match error {
            RefreshError::Proof(fault) => return fault.into(),
            RefreshError::InvalidGrant(_) => RejectionKind::InvalidGrant,
            RefreshError::Scope => RejectionKind::InvalidScope,
            RefreshError::Target => RejectionKind::InvalidTarget,
            RefreshError::Unavailable(_) => RejectionKind::Unavailable,
            RefreshError::Claims(_) | RefreshError::Key(_) | RefreshError::Unacceptable(_) => RejectionKind::Internal,
        })
    }
}

impl From<StreamEnd> for Rejection {
    fn from(end: StreamEnd) -> Self {
        match end {
            StreamEnd::Revoked | StreamEnd::Expired => Self::invalid_token(),
            StreamEnd::Unavailable => Self::unavailable(),
        }
    }
}

impl From<StoreError> for Rejection {
    /// A store that cannot be reached is an outage for everything that depends on it.
    fn from(_: StoreError) -> Self {
        Self::unavailable()
    }
}

#[cfg(feature = "axum")]
impl axum_core::response::IntoResponse for Rejection {
    fn into_response(self) -> axum_core::response::Response {
        self.into_http()
    }
}

#[cfg(feature = "tonic")]
impl From<Rejection> for tonic::Status {
    fn from(rejection: Rejection) -> Self {
        Self::new(i32::from(rejection.grpc_code()).into(), rejection.description())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_message_is_percent_encoded() {
        assert_eq!(grpc_message("a b ~\"\\"), "a b ~\"\\");
        assert_eq!(grpc_message("100 %\n\u{7f}é"), "100 %25%0A%7F%C3%A9");
    }
}

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, LOCATION, PRAGMA, REFERRER_POLICY},
};

use super::{
    super::{secret::Secret, token_error::permitted},
    AuthorizationErrorKind,
};

/// A redirect to the client, with a code or an error (RFC 6749 §4.1.2), and always with the issuer
/// (RFC 9207).
///
/// ```
/// use auth_layer::oauth::{AuthorizationRequest, Secret};
/// use bytes::Bytes;
///
/// /// Sends the user back with a code.
/// fn signed_in(request: &AuthorizationRequest, code: &Secret) -> http::Response<Bytes> {
///     let response = request.grant(code).into_http();
///     assert_eq!(response.status(), 303);
///     response
/// }
/// ```
///
/// `Debug` hides the location, which has the code and the client's `state`.
#[derive(Clone)]
#[must_use]
pub struct AuthorizationResponse {
    location: String,
    error: Option<AuthorizationErrorKind>,
}

/// Where a response goes, and what each response has.
#[derive(Clone)]
pub(super) struct Destination {
    /// Matched a redirect URI of the client.
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) issuer: String,
}

impl Destination {
    pub(super) fn code(&self, code: &Secret) -> AuthorizationResponse {
        //= RFC 6749 §4.1.2
        AuthorizationResponse { location: self.location(&[("code", code.expose())]), error: None }
    }

    pub(super) fn error(
        &self,
        kind: AuthorizationErrorKind,
        description: Option<&'static str>,
    ) -> AuthorizationResponse {
        let (code, default) = kind.code_and_description();
        let description: Cow<'_, str> = permitted(description.unwrap_or(default));
        //= RFC 6749 §4.1.2.1
        let location = self.location(&[("error", code), ("error_description", &description)]);
        AuthorizationResponse { location, error: Some(kind) }
    }

    /// Adds the parameters, `state` and `iss` to the redirect URI, and keeps its query.
    fn location(&self, parameters: &[(&str, &str)]) -> String {
        //= RFC 6749 §3.1.2
        let mut target = self.redirect_uri.clone();
        let start = match target.find('?') {
            Some(mark) => mark + 1,
            None => {
                target.push('?');
                target.len()
            }
        };
        let mut query = Serializer::for_suffix(target, start);
        query.extend_pairs(parameters);
        //= RFC 6749 §4.1.2
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        //= RFC 9207 §2
        query.append_pair("iss", &self.issuer);
        query.finish()
    }
}

impl AuthorizationResponse {
    /// Returns the URL to redirect to.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Returns the error; `None` for a code.
    pub fn error(&self) -> Option<AuthorizationErrorKind> {
        self.error
    }

    /// Builds the response: 303, so that the browser does not send the form on.
    pub fn into_http<B: From<Bytes>>(self) -> Response<B> {
        let mut response = Response::new(B::from(Bytes::new()));
        // Redirect URIs are printable ASCII, and what is added is form-encoded.
        let Ok(location) = HeaderValue::try_from(self.location) else {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return response;
        };
        //= RFC 9700 §4.12
        *response.status_mut() = StatusCode::SEE_OTHER;
        let headers = response.headers_mut();
        headers.insert(LOCATION, location);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        //= RFC 9700 §4.2.4
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

impl fmt::Debug for AuthorizationResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationResponse").field("error", &self.error).finish_non_exhaustive()
    }
}

#[cfg(feature = "axum")]
impl axum_core::response::IntoResponse for AuthorizationResponse {
    fn into_response(self) -> axum_core::response::Response {
        self.into_http()
    }
}

//! Requests to the token endpoint (RFC 6749 §4.1.3, §4.3.2, §4.4.2 and §6).

use http::{HeaderMap, header::CONTENT_TYPE};

use super::{
    client_authentication::{self, ClientAuthentication},
    form::Form,
    pkce::is_verifier,
    secret::Secret,
    token_error::{TokenError, TokenErrorKind},
};
use crate::claims::Scope;

/// A token request. Its form is checked; client, grant and resources are not.
///
/// ```
/// use auth_layer::oauth::{GrantRequest, TokenRequest};
/// use http::{HeaderMap, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse()?);
/// let body = b"grant_type=refresh_token&refresh_token=abc&client_id=spa";
/// let request = TokenRequest::parse(&headers, body)?;
/// assert_eq!(request.authentication.client_id(), Some("spa"));
/// assert!(matches!(request.grant, GrantRequest::RefreshToken { scope: None, .. }));
///
/// let error = TokenRequest::parse(&headers, b"grant_type=refresh_token").unwrap_err();
/// assert_eq!(error.error(), "invalid_request");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenRequest {
    /// What the request says of its client.
    pub authentication: ClientAuthentication,
    /// What the client presents.
    pub grant: GrantRequest,
    /// The requested resources (RFC 8707 §2.2), see
    /// [`audiences_for`](super::AuthorizationServer::audiences_for).
    pub resources: Vec<String>,
}

/// What a client presents to get a token: the `grant_type` (RFC 6749 §1.3) and its parameters.
///
/// ```
/// use auth_layer::oauth::{GrantRequest, TokenError, TokenErrorKind};
///
/// /// Refuses the grant types that this server does not offer.
/// fn is_offered(grant: &GrantRequest) -> Result<(), TokenError> {
///     match grant {
///         GrantRequest::Password { .. } => Err(TokenErrorKind::UnsupportedGrantType.into()),
///         _ => Ok(()),
///     }
/// }
///
/// assert!(is_offered(&GrantRequest::ClientCredentials { scope: None }).is_ok());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GrantRequest {
    /// `authorization_code` (RFC 6749 §4.1.3).
    AuthorizationCode {
        /// The code.
        code: Secret,
        /// The redirect URI, if it was sent.
        redirect_uri: Option<String>,
        /// The code verifier (RFC 7636 §4.5), of the right form.
        code_verifier: Secret,
    },
    /// `refresh_token` (RFC 6749 §6).
    RefreshToken {
        /// The refresh token.
        refresh_token: Secret,
        /// The requested scope.
        scope: Option<Scope>,
    },
    /// `client_credentials` (RFC 6749 §4.4).
    ClientCredentials {
        /// The requested scope.
        scope: Option<Scope>,
    },
    /// `password` (RFC 6749 §4.3). RFC 9700 §2.4 forbids it; a server must opt in.
    Password {
        /// The user's name.
        username: String,
        /// The user's password.
        password: Secret,
        /// The requested scope.
        scope: Option<Scope>,
    },
}

impl TokenRequest {
    /// Reads a request's headers and body. The query of its URL is never read.
    ///
    /// # Errors
    ///
    /// - `invalid_request` if the content type is not `application/x-www-form-urlencoded`, if a
    ///   parameter is missing, repeated or malformed, or if the client authenticates in two ways;
    /// - `invalid_client` if the `Authorization` header has no readable `Basic` credentials;
    /// - `unsupported_grant_type`, `invalid_scope`, `invalid_target`.
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, TokenError> {
        const NAMES: [&str; 8] =
            ["grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "username", "password", "scope"];
        let (mut form, authentication) = read(headers, body, &NAMES)?;
        let grant_type = required(&mut form, "grant_type")?;
        let scope = scope(&mut form)?;
        let grant = match grant_type.as_str() {
            "authorization_code" => GrantRequest::AuthorizationCode {
                code: required(&mut form, "code")?.into(),
                redirect_uri: form.take("redirect_uri")?,
                code_verifier: code_verifier(&mut form)?,
            },
            "refresh_token" => {
                GrantRequest::RefreshToken { refresh_token: required(&mut form, "refresh_token")?.into(), scope }
            }
            "client_credentials" => GrantRequest::ClientCredentials { scope },
            "password" => GrantRequest::Password {
                username: required(&mut form, "username")?,
                password: required(&mut form, "password")?.into(),
                scope,
            },
            _ => return Err(TokenErrorKind::UnsupportedGrantType.into()),
        };
        Ok(Self { authentication, grant, resources: form.take_resources()? })
    }
}

/// Reads the parameters `names`, and how the client authenticates.
pub(super) fn read<'b>(
    headers: &HeaderMap,
    body: &'b [u8],
    names: &[&'static str],
) -> Result<(Form<'b>, ClientAuthentication), TokenError> {
    if !is_form(headers) {
        return Err(invalid_request("The body must be application/x-www-form-urlencoded"));
    }
    let mut form = Form::read(body, &[names, &client_authentication::NAMES].concat())?;
    form.each_once()?;
    let authentication = ClientAuthentication::read(headers, &mut form)?;
    Ok((form, authentication))
}

/// Whether the one content type is a form's (RFC 6749 §4.1.3).
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// Takes a parameter that the request must have.
pub(super) fn required(form: &mut Form<'_>, name: &'static str) -> Result<String, TokenError> {
    //= RFC 6749 §5.2
    form.take(name)?.ok_or_else(|| invalid_request(missing(name)))
}

fn missing(name: &str) -> &'static str {
    match name {
        "grant_type" => "grant_type is missing",
        "code" => "code is missing",
        "code_verifier" => "code_verifier is missing",
        "refresh_token" => "refresh_token is missing",
        "username" => "username is missing",
        "password" => "password is missing",
        "token" => "token is missing",
        _ => "A parameter is missing",
    }
}

fn scope(form: &mut Form<'_>) -> Result<Option<Scope>, TokenError> {
    let Some(text) = form.take("scope")? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| TokenErrorKind::InvalidScope.into())
}

fn code_verifier(form: &mut Form<'_>) -> Result<Secret, TokenError> {
    //= RFC 7636 §4.5
    let verifier = Secret::from(required(form, "code_verifier")?);
    //= RFC 7636 §4.1
    if is_verifier(verifier.expose()) {
        Ok(verifier)
    } else {
        Err(invalid_request("code_verifier is not 43 to 128 unreserved characters"))
    }
}

fn invalid_request(description: &'static str) -> TokenError {
    TokenError::from(TokenErrorKind::InvalidRequest).with_description(description)
}

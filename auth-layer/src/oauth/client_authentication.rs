//! How a client authenticates (RFC 6749 §2.3).

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::{
    form::Form,
    secret::Secret,
    token_error::{TokenError, TokenErrorKind},
};

/// What a request says of its client. It is not checked yet.
///
/// ```
/// use auth_layer::oauth::TokenRequest;
/// use http::{HeaderMap, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse()?);
/// // `job:s3cret`
/// headers.insert(header::AUTHORIZATION, "Basic am9iOnMzY3JldA==".parse()?);
/// let request = TokenRequest::parse(&headers, b"grant_type=client_credentials")?;
/// assert_eq!(request.authentication.client_id(), Some("job"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub enum ClientAuthentication {
    /// The request names no client.
    None,
    /// The request names a client and has no secret.
    Public {
        /// The client's identifier.
        client_id: String,
    },
    /// Identifier and secret come in the `Authorization` header.
    Basic {
        /// The client's identifier.
        client_id: String,
        /// The client's secret.
        secret: Secret,
    },
    /// Identifier and secret come in the body.
    Post {
        /// The client's identifier.
        client_id: String,
        /// The client's secret.
        secret: Secret,
    },
}

/// The parameters that authenticate a client.
pub(super) const NAMES: [&str; 2] = ["client_id", "client_secret"];

impl ClientAuthentication {
    /// Returns the identifier of the client.
    pub fn client_id(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Public { client_id } | Self::Basic { client_id, .. } | Self::Post { client_id, .. } => {
                Some(client_id)
            }
        }
    }

    /// Returns the client's secret.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Basic { secret, .. } | Self::Post { secret, .. } => Some(secret),
            Self::None | Self::Public { .. } => None,
        }
    }

    /// Reads header and body. The form has the parameters [`NAMES`].
    pub(super) fn read(headers: &HeaderMap, form: &mut Form<'_>) -> Result<Self, TokenError> {
        let in_header = Self::from_header(headers)?;
        let [id, secret] = NAMES.map(|name| form.take(name));
        let (id, secret) = (id?, secret?.map(Secret::from));
        match (in_header, id, secret) {
            //= RFC 6749 §2.3
            (Some(_), _, Some(_)) => Err(invalid_request("The client authenticates in header and body")),
            // Some clients name themselves in the body too.
            (Some(header), Some(id), None) if header.client_id() != Some(&id) => {
                Err(invalid_request("Header and body name different clients"))
            }
            (Some(header), _, None) => Ok(header),
            (None, Some(client_id), Some(secret)) => Ok(Self::Post { client_id, secret }),
            (None, Some(client_id), None) => Ok(Self::Public { client_id }),
            (None, None, Some(_)) => Err(invalid_request("client_secret comes without client_id")),
            (None, None, None) => Ok(Self::None),
        }
    }

    fn from_header(headers: &HeaderMap) -> Result<Option<Self>, TokenError> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(invalid_request("There is more than one Authorization header"));
        }
        //= RFC 6749 §5.2
        basic(value.as_bytes()).map(Some).ok_or_else(|| TokenErrorKind::InvalidClient.into())
    }
}

/// Reads `Basic` credentials (RFC 7617 §2), whose parts are form-encoded (RFC 6749 §2.3.1).
fn basic(value: &[u8]) -> Option<ClientAuthentication> {
    let (scheme, rest) = value.split_at_checked(b"basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(rest.trim_ascii()).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    //= RFC 6749 §2.3.1
    let (client_id, secret) = (form_decoded(&decoded[..colon])?, form_decoded(&decoded[colon + 1..])?);
    if client_id.is_empty() {
        return None;
    }
    // An empty secret is as good as none (RFC 6749 §2.3.1).
    if secret.is_empty() {
        return Some(ClientAuthentication::Public { client_id });
    }
    Some(ClientAuthentication::Basic { client_id, secret: secret.into() })
}

/// Decodes one value of a form.
fn form_decoded(text: &[u8]) -> Option<String> {
    // Nearly every id and secret.
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return str::from_utf8(text).ok().map(str::to_owned);
    }
    let spaced: Zeroizing<Vec<u8>> =
        Zeroizing::new(text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect());
    String::from_utf8(percent_decode(&spaced).collect()).ok()
}

fn invalid_request(description: &'static str) -> TokenError {
    TokenError::from(TokenErrorKind::InvalidRequest).with_description(description)
}

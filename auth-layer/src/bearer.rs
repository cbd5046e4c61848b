//! The `Authorization` header (RFC 9110 §11.6.2, RFC 6750 §2.1).

use http::{HeaderMap, header::AUTHORIZATION};

/// The credentials cannot be read: RFC 6750 §3.1 `invalid_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BearerError {
    /// More than one `Authorization` header.
    #[error("more than one credential")]
    Several,
    /// No token behind `Bearer`, or one with characters outside RFC 6750's `b64token`.
    #[error("not a bearer token")]
    Syntax,
}

/// The bearer token of a request: `None` where there are no credentials, or credentials of another scheme.
///
/// The scheme is matched without regard to case (RFC 9110 §11.1). Tokens in query strings or bodies are never looked for.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, BearerError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(BearerError::Several);
    }
    let value = value.as_bytes();
    let scheme_end = value.iter().position(|byte| !is_tchar(*byte)).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(scheme_end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    let start = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
    let token = &rest[start..];
    if start == 0 || !is_b64token(token) {
        return Err(BearerError::Syntax);
    }
    std::str::from_utf8(token).map(Some).map_err(|_| BearerError::Syntax)
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `b64token` of RFC 6750 §2.1.
fn is_b64token(token: &[u8]) -> bool {
    let body_end = token.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    body_end > 0 && token[..body_end].iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(values: &[&[u8]]) -> Result<Option<String>, BearerError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        bearer_token(&headers).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn the_scheme_is_matched_without_regard_to_case() {
        for value in ["Bearer a.b-c_~+/==", "bearer a.b-c_~+/==", "BEARER   a.b-c_~+/=="] {
            assert_eq!(read(&[value.as_bytes()]), Ok(Some("a.b-c_~+/==".into())), "{value}");
        }
    }

    #[test]
    fn other_schemes_are_no_credentials_of_ours() {
        for value in ["Basic dTpw", "Bearer1 abc", "Bearertoken", "", "DPoP abc"] {
            assert_eq!(read(&[value.as_bytes()]), Ok(None), "{value}");
        }
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn what_the_grammar_forbids_is_an_invalid_request() {
        for value in [
            &b"Bearer"[..],
            b"Bearer ",
            b"Bearer ==",
            b"Bearer a b",
            b"Bearer a,b",
            b"Bearer\tabc",
            b"Bearer, abc",
            b"Bearer a=b",
            b"Bearer \"abc\"",
            b"Bearer abc\xff",
            "Bearer é".as_bytes(),
        ] {
            assert_eq!(read(&[value]), Err(BearerError::Syntax), "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn two_headers_are_an_invalid_request_whatever_they_say() {
        assert_eq!(read(&[b"Bearer abc", b"Bearer abc"]), Err(BearerError::Several));
        assert_eq!(read(&[b"Basic abc", b"Bearer abc"]), Err(BearerError::Several));
    }
}

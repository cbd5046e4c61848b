//! The `Authorization` header (RFC 9110 §11.6.2, RFC 6750 §2.1).

use http::{HeaderMap, header::AUTHORIZATION};

/// The credentials cannot be read: `invalid_request` (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BearerError {
    /// The request has more than one `Authorization` header.
    #[error("more than one credential")]
    Several,
    /// No token follows `Bearer`, or it has characters outside RFC 6750's `b64token`.
    #[error("not a bearer token")]
    Syntax,
}

/// The text after `Bearer`. Its characters are not checked yet.
#[derive(Clone, Copy)]
pub(crate) struct Credentials<'a>(&'a [u8]);

impl<'a> Credentials<'a> {
    /// Returns the bytes as they came.
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the token, if it is a `b64token` (RFC 6750 §2.1).
    pub(crate) fn token(self) -> Result<&'a str, BearerError> {
        if !is_b64token(self.0) {
            return Err(BearerError::Syntax);
        }
        std::str::from_utf8(self.0).map_err(|_| BearerError::Syntax)
    }
}

/// Returns the bearer credentials of a request; `None` without credentials or for another scheme.
///
/// The scheme is compared without regard to case (RFC 9110 §11.1). Tokens in query strings and
/// bodies are never read.
pub(crate) fn bearer_credentials(headers: &HeaderMap) -> Result<Option<Credentials<'_>>, BearerError> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    // A second header is looked for only if some header comes twice: comparing two numbers is
    // cheap.
    let some_twice = headers.len() != headers.keys_len();
    if some_twice && headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(BearerError::Several);
    }
    let Some((scheme, rest)) = value.as_bytes().split_at_checked(b"bearer".len()) else { return Ok(None) };
    // The usual form is recognised by two comparisons.
    let is_usual = scheme == b"Bearer" && rest.first() == Some(&b' ');
    if !is_usual && (!scheme.eq_ignore_ascii_case(b"bearer") || rest.first().copied().is_some_and(is_tchar)) {
        return Ok(None);
    }
    let start = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
    if start == 0 {
        return Err(BearerError::Syntax);
    }
    Ok(Some(Credentials(&rest[start..])))
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_b64token(token: &[u8]) -> bool {
    let body_end = token.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    // No early exit: without a branch per byte the compiler vectorises the loop.
    body_end > 0 && token[..body_end].iter().fold(true, |good, byte| good & is_b64token_char(*byte))
}

#[expect(clippy::needless_bitwise_bool, reason = "each `||` would be a branch")]
fn is_b64token_char(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = byte.wrapping_sub(b'0') < 10;
    letter | digit | (byte == b'-') | (byte == b'.') | (byte == b'_') | (byte == b'~') | (byte == b'+') | (byte == b'/')
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
        let credentials = bearer_credentials(&headers)?;
        credentials.map(|credentials| credentials.token().map(str::to_owned)).transpose()
    }

    #[test]
    fn bearer_scheme_is_matched_in_any_case() {
        for value in ["Bearer a.b-c_~+/==", "bearer a.b-c_~+/==", "BEARER   a.b-c_~+/=="] {
            assert_eq!(read(&[value.as_bytes()]), Ok(Some("a.b-c_~+/==".into())), "{value}");
        }
    }

    #[test]
    fn bearer_ignores_other_schemes() {
        for value in ["Basic dTpw", "Bearer1 abc", "Bearertoken", "", "DPoP abc"] {
            assert_eq!(read(&[value.as_bytes()]), Ok(None), "{value}");
        }
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn bearer_refuses_text_that_the_grammar_forbids() {
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
    fn bearer_refuses_two_headers() {
        assert_eq!(read(&[b"Bearer abc", b"Bearer abc"]), Err(BearerError::Several));
        assert_eq!(read(&[b"Basic abc", b"Bearer abc"]), Err(BearerError::Several));
    }

    #[test]
    fn bearer_is_read_beside_other_headers_that_come_twice() {
        let mut headers = HeaderMap::new();
        for value in ["a", "b"] {
            headers.append(http::header::COOKIE, HeaderValue::from_static(value));
        }
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        let credentials = bearer_credentials(&headers).unwrap().unwrap();
        assert_eq!(credentials.token(), Ok("abc"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        assert_eq!(bearer_credentials(&headers).map(|_| ()), Err(BearerError::Several));
    }
}

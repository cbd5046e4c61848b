//! The credentials of a request: the `Authorization` header (RFC 9110 §11.6.2, RFC 6750 §2.1, RFC
//! 9449 §7.1), or a cookie (RFC 6265 §5.4).

use std::{fmt, sync::Arc};

use http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE},
};

/// The credentials cannot be read: `invalid_request` (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The request has more than one `Authorization` header or cookie, or both.
    #[error("more than one credential")]
    Several,
    /// No token follows the scheme, or it has characters outside RFC 6750's `b64token`.
    #[error("not a token")]
    Syntax,
}

/// How a request carries its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// `Authorization: Bearer` (RFC 6750 §2.1).
    Bearer,
    /// `Authorization: DPoP` (RFC 9449 §7.1).
    Dpop,
    /// A cookie.
    Cookie,
}

/// The token of a request. Its characters are not checked yet.
#[derive(Clone, Copy)]
pub(crate) struct Credentials<'a> {
    pub(crate) carrier: Carrier,
    token: &'a [u8],
}

impl<'a> Credentials<'a> {
    /// Returns the bytes as they came.
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.token
    }

    /// Returns the token, if it is a `b64token` (RFC 6750 §2.1).
    pub(crate) fn token(self) -> Result<&'a str, CredentialsError> {
        //= RFC 6750 §2.1
        if !is_b64token(self.token) {
            return Err(CredentialsError::Syntax);
        }
        std::str::from_utf8(self.token).map_err(|_| CredentialsError::Syntax)
    }
}

/// The name of a cookie that carries an access token (RFC 6265 §4.1.1).
///
/// ```
/// use auth_layer::trust::CookieName;
///
/// assert!(CookieName::new("__Host-access").is_ok());
/// assert!(CookieName::new("a=b").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CookieName(Arc<str>);

/// The text is not the name of a cookie: one or more characters of an HTTP token (RFC 6265 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cookie's name has letters, digits and some punctuation, without spaces, `=` and `;`")]
pub struct InvalidCookieName;

impl CookieName {
    /// Creates the name.
    ///
    /// # Errors
    ///
    /// [`InvalidCookieName`] unless the text is a token.
    pub fn new(name: &str) -> Result<Self, InvalidCookieName> {
        if !name.is_empty() && name.bytes().all(is_tchar) { Ok(Self(name.into())) } else { Err(InvalidCookieName) }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the one value of the cookie in a request; `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`CredentialsError::Several`] if the cookie comes twice: two readers could take two values.
    ///
    /// ```
    /// use auth_layer::trust::CookieName;
    /// use http::HeaderMap;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("cookie", "theme=dark; __Host-access=abc".parse()?);
    /// let name = CookieName::new("__Host-access")?;
    /// assert_eq!(name.value(&headers)?, Some(&b"abc"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn value<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h [u8]>, CredentialsError> {
        let mut found = None;
        // HTTP/2 may split the header (RFC 9113 §8.2.3).
        for pair in headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';')) {
            let pair = pair.trim_ascii();
            let value = pair.strip_prefix(self.0.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            if let Some(value) = value
                && found.replace(value).is_some()
            {
                return Err(CredentialsError::Several);
            }
        }
        Ok(found)
    }
}

impl fmt::Debug for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Returns the credentials of a request; `None` without any or for another scheme.
///
/// The scheme `DPoP` is another scheme unless `takes_dpop`. Tokens in query strings and bodies are
/// never read.
#[inline]
pub(crate) fn credentials<'h>(
    headers: &'h HeaderMap,
    takes_dpop: bool,
    cookie: Option<&CookieName>,
) -> Result<Option<Credentials<'h>>, CredentialsError> {
    let in_header = authorization(headers, takes_dpop)?;
    let Some(cookie) = cookie else { return Ok(in_header) };
    match (cookie.value(headers)?, in_header) {
        (Some(_), Some(_)) => Err(CredentialsError::Several),
        (Some(token), None) => Ok(Some(Credentials { carrier: Carrier::Cookie, token })),
        (None, in_header) => Ok(in_header),
    }
}

/// Whether the request uses the scheme `DPoP`.
pub(crate) fn uses_dpop(headers: &HeaderMap) -> bool {
    headers.get(AUTHORIZATION).is_some_and(|value| after_scheme(value.as_bytes(), b"dpop").is_some())
}

/// Reads the `Authorization` header.
fn authorization(headers: &HeaderMap, takes_dpop: bool) -> Result<Option<Credentials<'_>>, CredentialsError> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    // A second header is looked for only if some header comes twice: comparing two numbers is
    // cheap.
    let some_twice = headers.len() != headers.keys_len();
    if some_twice && headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(CredentialsError::Several);
    }
    let value = value.as_bytes();
    // The usual form is recognised by one comparison.
    let (carrier, rest) = match value.strip_prefix(b"Bearer ") {
        Some(_) => (Carrier::Bearer, &value[b"Bearer".len()..]),
        None => match (after_scheme(value, b"bearer"), after_scheme(value, b"dpop")) {
            (Some(rest), _) => (Carrier::Bearer, rest),
            (None, Some(rest)) if takes_dpop => (Carrier::Dpop, rest),
            _ => return Ok(None),
        },
    };
    let start = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
    if start == 0 {
        return Err(CredentialsError::Syntax);
    }
    Ok(Some(Credentials { carrier, token: &rest[start..] }))
}

/// Returns what follows this scheme. Case does not count (RFC 9110 §11.1).
fn after_scheme<'v>(value: &'v [u8], lowercase: &[u8]) -> Option<&'v [u8]> {
    let (scheme, rest) = value.split_at_checked(lowercase.len())?;
    let is_longer = rest.first().copied().is_some_and(is_tchar);
    (scheme.eq_ignore_ascii_case(lowercase) && !is_longer).then_some(rest)
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

    fn read(values: &[&[u8]]) -> Result<Option<String>, CredentialsError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        let credentials = credentials(&headers, false, None)?;
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
            assert_eq!(read(&[value]), Err(CredentialsError::Syntax), "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn bearer_refuses_two_headers() {
        assert_eq!(read(&[b"Bearer abc", b"Bearer abc"]), Err(CredentialsError::Several));
        assert_eq!(read(&[b"Basic abc", b"Bearer abc"]), Err(CredentialsError::Several));
    }

    #[test]
    fn bearer_is_read_beside_other_headers_that_come_twice() {
        let mut headers = HeaderMap::new();
        for value in ["a", "b"] {
            headers.append(COOKIE, HeaderValue::from_static(value));
        }
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        let read = credentials(&headers, false, None).unwrap().unwrap();
        assert_eq!((read.carrier, read.token()), (Carrier::Bearer, Ok("abc")));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        assert_eq!(credentials(&headers, false, None).map(|_| ()), Err(CredentialsError::Several));
    }

    #[test]
    fn dpop_scheme_is_read_where_it_is_taken() {
        for (value, expected) in [
            ("DPoP abc", Ok(Some("abc"))),
            ("dpop  abc", Ok(Some("abc"))),
            ("DPoPabc abc", Ok(None)),
            ("DPoP", Err(CredentialsError::Syntax)),
        ] {
            let headers = [(AUTHORIZATION, HeaderValue::from_static(value))].into_iter().collect();
            let read = credentials(&headers, true, None);
            let token = read.map(|read| {
                read.map(|read| {
                    assert_eq!(read.carrier, Carrier::Dpop);
                    read.token().unwrap()
                })
            });
            assert_eq!(token, expected, "{value}");
            assert_eq!(uses_dpop(&headers), expected != Ok(None), "{value}");
        }
    }

    #[test]
    fn cookie_is_found_by_its_whole_name_and_never_beside_another_credential() {
        let name = CookieName::new("__Host-access").unwrap();
        for (authorization, cookies, expected) in [
            (None, &["__Host-access=abc"][..], Ok(Some("abc"))),
            (None, &["a=b;__Host-access=abc; c=d"], Ok(Some("abc"))),
            (None, &["a=b", "__Host-access=abc"], Ok(Some("abc"))),
            (None, &["x__Host-access=abc; __Host-access2=abc; __host-access=abc; __Host-access"], Ok(None)),
            (None, &["__Host-access=\"abc\""], Err(CredentialsError::Syntax)),
            (None, &["__Host-access="], Err(CredentialsError::Syntax)),
            (None, &["__Host-access=abc; __Host-access=abc"], Err(CredentialsError::Several)),
            (None, &["__Host-access=abc", "__Host-access=def"], Err(CredentialsError::Several)),
            (Some("Bearer abc"), &["__Host-access=abc"], Err(CredentialsError::Several)),
            (Some("Bearer abc"), &["a=b"], Ok(Some("abc"))),
            // Another scheme is no credential of ours.
            (Some("Basic dTpw"), &["__Host-access=abc"], Ok(Some("abc"))),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(authorization.map(|value| (AUTHORIZATION, HeaderValue::from_static(value))));
            for cookie in cookies {
                headers.append(COOKIE, HeaderValue::from_static(cookie));
            }
            let token = credentials(&headers, false, Some(&name));
            let token = token.and_then(|found| found.map(Credentials::token).transpose());
            assert_eq!(token, expected, "{authorization:?} {cookies:?}");
        }
    }
}

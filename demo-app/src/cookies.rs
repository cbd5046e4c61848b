//! The cookies of a browser's session: one for each token of a pair.
//!
//! `HttpOnly` keeps them from scripts, `Secure` from plain HTTP, and `SameSite=Lax` from the forms
//! of other sites. The prefix `__Host-` binds them to this host, so that no subdomain can set them.

use std::{sync::LazyLock, time::Duration};

use auth_layer::{CredentialsError, IssuedPair, trust::CookieName};
use axum::response::AppendHeaders;
use http::{HeaderMap, HeaderName, header::SET_COOKIE};

/// The name of the cookie with the access token.
pub(crate) const ACCESS: &str = "__Host-access";

/// The name of the cookie with the refresh token.
pub(crate) const REFRESH: &str = "__Host-refresh";

const ATTRIBUTES: &str = "; Path=/; Secure; HttpOnly; SameSite=Lax";

/// The largest cookie, in bytes: its name, value and attributes. Browsers need not keep a larger
/// one (RFC 6265 §6.1).
const MAX_COOKIE_BYTES: usize = 4_095;

/// The digits of the longest `Max-Age`: tokens live for 10 years at most.
const MAX_AGE_DIGITS: usize = 9;

/// The longest token that fits into either cookie, in bytes.
pub(crate) const MAX_TOKEN_BYTES: usize =
    MAX_COOKIE_BYTES - REFRESH.len() - "=; Max-Age=".len() - MAX_AGE_DIGITS - ATTRIBUTES.len();

static ACCESS_NAME: LazyLock<CookieName> = LazyLock::new(|| name(ACCESS));
static REFRESH_NAME: LazyLock<CookieName> = LazyLock::new(|| name(REFRESH));

/// The `Set-Cookie` headers of a response.
pub(crate) type SetCookies = AppendHeaders<[(HeaderName, String); 2]>;

/// Returns the name of a cookie.
///
/// # Panics
///
/// If the text has more than letters, hyphens and underscores. Each text is a constant.
pub(crate) fn name(text: &'static str) -> CookieName {
    CookieName::new(text).expect("the name has letters, hyphens and underscores")
}

/// Returns the name of the cookie that carries the access token, for layers.
pub(crate) fn access_name() -> CookieName {
    ACCESS_NAME.clone()
}

/// The values of our cookies in a request. A value that is not text is empty.
#[derive(Clone, Copy)]
pub(crate) struct SessionCookies<'h> {
    pub(crate) access: Option<&'h str>,
    pub(crate) refresh: Option<&'h str>,
}

impl<'h> SessionCookies<'h> {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// [`CredentialsError::Several`] if one comes twice.
    pub(crate) fn of(headers: &'h HeaderMap) -> Result<Self, CredentialsError> {
        let value = |name: &CookieName| -> Result<Option<&'h str>, CredentialsError> {
            let value = name.value(headers)?;
            Ok(value.map(|value| std::str::from_utf8(value).unwrap_or_default()))
        };
        Ok(Self { access: value(&ACCESS_NAME)?, refresh: value(&REFRESH_NAME)? })
    }

    /// Returns whether the request carries either.
    pub(crate) fn is_any(self) -> bool {
        self.access.is_some() || self.refresh.is_some()
    }

    /// Returns the values that are there.
    pub(crate) fn tokens(self) -> impl Iterator<Item = &'h str> {
        [self.access, self.refresh].into_iter().flatten()
    }
}

/// Sets both cookies. Each lives as long as its token.
pub(crate) fn set(pair: &IssuedPair) -> SetCookies {
    AppendHeaders([
        (SET_COOKIE, cookie(ACCESS, &pair.access_token, pair.expires_in)),
        (SET_COOKIE, cookie(REFRESH, &pair.refresh_token, pair.refresh_expires_in)),
    ])
}

/// Removes both cookies.
pub(crate) fn clear() -> SetCookies {
    AppendHeaders([ACCESS, REFRESH].map(|name| (SET_COOKIE, cookie(name, "", Duration::ZERO))))
}

/// Removes both cookies if the request carries either.
pub(crate) fn clear_if_carried(headers: &HeaderMap) -> Option<SetCookies> {
    SessionCookies::of(headers).map_or(true, SessionCookies::is_any).then(clear)
}

fn cookie(name: &str, value: &str, max_age: Duration) -> String {
    format!("{name}={value}; Max-Age={}{ATTRIBUTES}", max_age.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_with_the_longest_token_stays_below_4096_bytes() {
        // `--refresh-ttl 10years`
        let longest_life = Duration::from_hours(87_660);
        for name in [ACCESS, REFRESH] {
            let cookie = cookie(name, &"a".repeat(MAX_TOKEN_BYTES), longest_life);
            assert!((MAX_COOKIE_BYTES - 1..=MAX_COOKIE_BYTES).contains(&cookie.len()), "{name}: {}", cookie.len());
        }
    }
}

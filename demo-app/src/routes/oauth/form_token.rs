//! Binds the sign-in form to the browser that got it, against forged requests from other sites.
//!
//! The page sets a random value as a cookie and has the same value in its form. Another site can
//! make a browser send a form, but knows neither.

use auth_layer::{keys::KeyError, oauth::Secret};
use http::{HeaderMap, HeaderValue, header::InvalidHeaderValue};

use crate::cookies;

/// The length of a value: 256 bits in base64url.
const LENGTH: usize = 43;

/// The value of one browser.
pub(super) struct FormToken(Secret);

/// How the cookie is named and limited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FormCookie {
    /// Whether browsers reach the service by https.
    pub(crate) is_https: bool,
    /// The path for which the browser sends it. On https it is `/`.
    pub(crate) path: &'static str,
}

impl FormToken {
    /// Returns the browser's value, so that its other tabs stay good, or makes one.
    pub(super) fn of(headers: &HeaderMap, cookie: FormCookie) -> Result<Self, KeyError> {
        match cookie.read(headers) {
            Some(value) => Ok(Self(value)),
            None => Secret::generate().map(Self),
        }
    }

    /// Returns the value for the form.
    pub(super) fn value(&self) -> &str {
        self.0.expose()
    }

    /// Returns the `Set-Cookie` header.
    pub(super) fn set_cookie(&self, cookie: FormCookie) -> Result<HeaderValue, InvalidHeaderValue> {
        // The name with `__Host-` needs `Path=/`. No other host can set it, nor plain http.
        let (secure, path) = if cookie.is_https { ("; Secure", "/") } else { ("", cookie.path) };
        // Lax: the browser comes from the client's site, and other tabs need the value it has.
        let text = format!("{}={}{secure}; Path={path}; HttpOnly; SameSite=Lax", cookie.name(), self.value());
        HeaderValue::try_from(text)
    }
}

impl FormCookie {
    fn name(self) -> &'static str {
        if self.is_https { "__Host-authorize" } else { "authorize" }
    }

    /// Whether a form's value is the one of the browser's cookie. Compares in constant time.
    pub(super) fn goes_with(self, headers: &HeaderMap, form_value: &Secret) -> bool {
        self.read(headers).is_some_and(|value| value.hash().verify(form_value))
    }

    /// Returns the cookie's value, if there is one cookie of this name and it has a right form.
    fn read(self, headers: &HeaderMap) -> Option<Secret> {
        let value = cookies::name(self.name()).value(headers).ok().flatten()?;
        let value = std::str::from_utf8(value).ok()?;
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (value.len() == LENGTH && value.bytes().all(is_base64url)).then(|| Secret::from(value))
    }
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    const HTTP: FormCookie = FormCookie { is_https: false, path: "/oauth/authorize" };
    const HTTPS: FormCookie = FormCookie { is_https: true, ..HTTP };

    fn cookies(headers: &[String]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(COOKIE, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn oauth_form_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let token = FormToken(Secret::from("v"));
        let set = |cookie| token.set_cookie(cookie).unwrap();
        assert_eq!(set(HTTPS), "__Host-authorize=v; Secure; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(set(HTTP), "authorize=v; Path=/oauth/authorize; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn oauth_form_token_goes_with_the_one_cookie_of_its_browser() {
        let token = FormToken::of(&HeaderMap::new(), HTTP).unwrap();
        let other = Secret::generate().unwrap();
        let (own, foreign) = (format!("authorize={}", token.value()), format!("authorize={}", other.expose()));
        for (headers, is_good) in [
            (vec![own.clone()], true),
            (vec!["a=b".to_owned(), format!("c=d; {own} ;e=f")], true),
            // The other cookies of the host are none of our business.
            (vec![format!("theme=brûlée; {own}")], true),
            (vec![], false),
            (vec![foreign.clone()], false),
            (vec![format!("{own}; {foreign}")], false),
            (vec![own.clone(), foreign], false),
            (vec![format!("{own}A")], false),
            (vec![format!("__Host-{own}")], false),
            (vec!["authorize=".to_owned()], false),
        ] {
            let headers = cookies(&headers);
            assert_eq!(HTTP.goes_with(&headers, &token.0), is_good, "{headers:?}");
            assert!(!HTTP.goes_with(&headers, &Secret::from("")), "{headers:?}");
        }
    }

    #[test]
    fn oauth_form_token_is_kept_for_other_tabs_and_replaced_if_odd() {
        let token = FormToken::of(&HeaderMap::new(), HTTPS).unwrap();
        let again = FormToken::of(&cookies(&[format!("__Host-authorize={}", token.value())]), HTTPS).unwrap();
        assert_eq!(again.value(), token.value());
        for odd in ["", "a", &"a".repeat(44), &format!("{}\"", "a".repeat(42))] {
            let made = FormToken::of(&cookies(&[format!("__Host-authorize={odd}")]), HTTPS).unwrap();
            assert_ne!(made.value(), odd);
            assert_eq!(made.value().len(), LENGTH);
        }
    }
}

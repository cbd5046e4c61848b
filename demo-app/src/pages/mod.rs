//! The HTML pages: those at `/` and `/docs`, and those for people who sign in to another application.
//!
//! `askama` reads the templates when the program is built, and escapes what is put into them.

mod files;

use std::borrow::Cow;

use askama::Template;
use auth_layer::{Scope, oauth::PageError};
use axum::response::{Html, IntoResponse, Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
};

pub(crate) use self::files::{description, docs, file, page};
use crate::error::ApiError;

/// The page that asks for name and password.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignInPage<'a> {
    /// The client's name.
    pub(crate) client: &'a str,
    /// What the client asks for.
    pub(crate) scope: &'a Scope,
    /// Where the browser goes afterwards.
    pub(crate) redirect_uri: &'a str,
    /// The query of the authorization request, which the form sends again.
    pub(crate) query: &'a str,
    pub(crate) csrf_token: &'a str,
    /// The name that was typed before.
    pub(crate) username: &'a str,
    /// What went wrong before, without a full stop.
    pub(crate) problem: Option<&'a str>,
}

/// A page for a request that can be neither granted nor sent back to its client.
#[derive(Template, Debug)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage {
    title: &'static str,
    text: Cow<'static, str>,
    advice: &'static str,
    status: StatusCode,
    headers: Box<HeaderMap>,
}

impl SignInPage<'_> {
    /// Says in words what the scope allows.
    fn permissions(&self) -> impl Iterator<Item = &str> {
        self.scope.iter().map(|token| match token {
            "profile" => "see your username and the id of your account",
            "admin" => "administer this service in your name",
            other => other,
        })
    }

    /// Builds the response. The form may lead to `form_target`, a source of a content security
    /// policy.
    pub(crate) fn respond(&self, status: StatusCode, form_target: &str) -> Response {
        respond(status, self, &format!("'self' {form_target}"))
    }
}

impl ErrorPage {
    /// Creates the page for a failure that may be over soon.
    pub(crate) fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            title: "This did not work",
            text: text.into(),
            advice: "Go back to the application and start again.",
            status,
            headers: Box::default(),
        }
    }

    /// Creates the page for a request without a safe redirect (RFC 6749 §4.1.2.1).
    pub(crate) fn of_request(error: PageError) -> Self {
        Self {
            title: "This request cannot be granted",
            text: format!("The application that sent you here made a mistake: {error}.").into(),
            advice: "Nobody was signed in. Tell the people who run the application.",
            ..Self::new(StatusCode::BAD_REQUEST, "")
        }
    }

    /// Creates the page for a form that does not come from our own page.
    pub(crate) fn csrf() -> Self {
        Self {
            title: "This form is not ours",
            text: "The form did not come from our own page, or your browser blocks our cookie (csrf).".into(),
            ..Self::new(StatusCode::FORBIDDEN, "")
        }
    }
}

impl From<ApiError> for ErrorPage {
    fn from(error: ApiError) -> Self {
        let text = format!("{}.", error.text());
        let (status, headers) = error.into_status_and_headers();
        Self { headers: Box::new(headers), ..Self::new(status, text) }
    }
}

impl IntoResponse for ErrorPage {
    fn into_response(self) -> Response {
        let mut response = respond(self.status, &self, "'none'");
        response.headers_mut().extend(*self.headers);
        response
    }
}

/// Builds the response with a page. It loads its style and icon, and no script.
fn respond(status: StatusCode, page: &impl Template, form_action: &str) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action {form_action}; frame-ancestors 'none'; \
         base-uri 'none'"
    );
    // The form's target is ASCII: the host of a URI that a client has registered.
    let (Ok(html), Ok(policy)) = (page.render(), HeaderValue::try_from(policy)) else {
        tracing::error!("a page cannot be written (a bug); answered 500");
        return ApiError::Internal.into_response();
    };
    (status, security_headers(policy), [(CACHE_CONTROL, "no-store")], Html(html)).into_response()
}

/// Returns the headers of each page and file, with this content security policy.
fn security_headers(policy: HeaderValue) -> [(HeaderName, HeaderValue); 4] {
    [
        (CONTENT_SECURITY_POLICY, policy),
        //= RFC 6749 §10.13
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        //= RFC 9700 §4.2.4
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(scope: &str, problem: Option<&str>) -> String {
        let page = SignInPage {
            client: "<b>Shop</b> & \"co\"",
            scope: &scope.parse().unwrap(),
            redirect_uri: "https://shop.example/cb?a=1&b='<'",
            query: "client_id=shop&state=\"><script>alert(1)</script>",
            csrf_token: "token",
            username: "\" onfocus=\"alert(1)",
            problem,
        };
        page.render().unwrap()
    }

    #[test]
    fn pages_escape_what_they_show() {
        let html = page("profile", Some("<i>no</i>"));
        for raw in ["<b>", "<script", "<i>", "\" onfocus", "'<'", "& \"co\""] {
            assert!(!html.contains(raw), "{raw}: {html}");
        }
        assert!(html.contains("Shop"), "{html}");
    }

    /// So a screen reader says why the page is here again, and typing goes on in the right field.
    #[test]
    fn pages_tie_the_problem_to_the_fields() {
        let (first, again) = (page("profile", None), page("profile", Some("The password is wrong")));
        assert!(!first.contains("problem\""), "{first}");
        assert!(again.contains("id=\"problem\">The password is wrong.</p>"), "{again}");
        assert_eq!(again.matches("aria-describedby=\"problem\"").count(), 2, "{again}");
        let focused = |html: &str| {
            let fields: Vec<_> =
                html.split("<input id=\"").skip(1).filter(|field| field.contains(" autofocus>")).collect();
            fields.iter().map(|field| field.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!([focused(&first), focused(&again)], [["username"], ["password"]]);
    }

    #[test]
    fn pages_say_what_a_scope_allows() {
        let html = page("profile admin orders:read", None);
        for words in ["see your username", "administer this service", "orders:read"] {
            assert!(html.contains(words), "{words}: {html}");
        }
    }
}

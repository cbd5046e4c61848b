//! A browser's page, for the other tests.

use super::*;

/// The host of the page.
pub(super) const HOST: &str = "demo.example";

/// A page that is signed in by cookies. It is not a browser: a test adds and removes headers.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) csrf: String,
}

impl Page {
    /// Returns the page after a sign-in or refresh.
    pub(super) fn after(answer: &TestResponse) -> Self {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let [access, refresh] = ["__Host-access", "__Host-refresh"].map(|name| answer.cookie(name));
        Self { access, refresh, csrf: answer.text("csrf_token") }
    }

    /// Returns the value of the `Cookie` header.
    pub(super) fn cookies(&self) -> String {
        format!("theme=dark; __Host-access={}; __Host-refresh={}", self.access, self.refresh)
    }

    /// Begins a request of a script on the page.
    pub(super) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, HOST)
            .header(header::ORIGIN, format!("https://{HOST}"))
            .header("sec-fetch-site", "same-origin")
            .header(header::COOKIE, self.cookies())
            .header("x-csrf-token", &self.csrf)
    }
}

impl TestResponse {
    /// Returns the `Set-Cookie` headers.
    pub(super) fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// Returns the value that a cookie gets.
    pub(super) fn cookie(&self, name: &str) -> String {
        let set = self.set_cookies();
        let value = set.iter().find_map(|cookie| cookie.strip_prefix(name)?.strip_prefix('=')?.split(';').next());
        value.unwrap_or_else(|| panic!("no {name} in {set:?}")).to_owned()
    }
}

impl TestApp {
    /// Signs in by cookies.
    pub(super) async fn open_page(&self, username: &str) -> Page {
        let body = json!({ "username": username, "password": PASSWORD });
        Page::after(&self.post("/auth/login?transport=cookie", body).await)
    }

    /// Sends a page's request without a body.
    pub(super) async fn page(&self, page: &Page, method: &str, path: &str) -> TestResponse {
        self.send(page.request(method, path).body(Body::empty()).unwrap()).await
    }
}

//! The OAuth 2.0 endpoints, as clients and browsers see them.

mod authorize;
mod clients;
mod codes;
mod dpop;
mod events;
mod grants;
mod introspect;
mod metadata;
mod revoke;

use auth_layer::oauth::{Client, Secret};
use form_urlencoded::Serializer;
use http::{HeaderMap, HeaderName};

use super::*;
use crate::clients::{Registered, Registration};

/// RFC 7636 Appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The redirect URI of the public client `shop`.
const URI: &str = "https://shop.example/cb?shop=1";
/// A state that needs encoding.
const STATE: &str = "a+b/c=&d e";
/// The credentials of the confidential client `job`.
const JOB: &str = "Basic am9iOnMzY3JldC1vZi1qb2I=";
const JOB_SECRET: &str = "s3cret-of-job";

/// A response with any body.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

/// A browser, which keeps the cookie of the sign-in page.
struct Browser<'a> {
    demo: &'a TestApp,
    cookie: Option<String>,
    csrf_token: String,
}

/// Parameters by name. A later one of a name replaces an earlier one, and an empty value removes
/// it.
type Fields<'a> = &'a [(&'a str, &'a str)];

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON in {self:?}"))
    }

    fn member(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}")).to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn location(&self) -> &str {
        self.header("location")
    }

    /// Returns a parameter that a redirect adds.
    fn parameter(&self, name: &str) -> String {
        let query = self.location().split_once('?').map(|(_, query)| query).unwrap_or_default();
        let found = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    }

    /// Returns the status and the `error` of the body.
    fn error(&self) -> (u16, String) {
        (self.status.as_u16(), self.member("error"))
    }

    #[track_caller]
    fn assert_ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self
    }

    /// Fails unless it is an error of the token endpoint (RFC 6749 §5.2).
    #[track_caller]
    fn assert_refused(&self, error: &str) {
        let status = if error == "invalid_client" { 401 } else { 400 };
        assert_eq!(self.error(), (status, error.to_owned()), "{self:?}");
        assert!(self.json()["error_description"].is_string(), "{self:?}");
        assert_eq!((self.header("content-type"), self.header("cache-control")), ("application/json", "no-store"));
        let challenge = self.header("www-authenticate");
        assert_eq!(challenge.starts_with(r#"Basic realm="demo-app""#), status == 401, "{challenge}");
        assert_eq!(challenge.is_empty(), status == 400, "{challenge}");
    }
}

/// Returns the form with these fields replaced.
fn form(default: Fields<'_>, changes: Fields<'_>) -> String {
    let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
    let kept = default.iter().filter(|(name, _)| !is_changed(name)).chain(changes);
    Serializer::new(String::new()).extend_pairs(kept.filter(|(_, value)| !value.is_empty())).finish()
}

/// Returns the query of an authorization request by `shop`.
fn authorization(changes: Fields<'_>) -> String {
    let default = [
        ("response_type", "code"),
        ("client_id", "shop"),
        ("redirect_uri", URI),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("state", STATE),
        ("scope", "profile"),
    ];
    form(&default, changes)
}

/// Returns an application with a user and two clients.
async fn oauth_app(flags: &[&str]) -> TestApp {
    let demo = test_app_with(flags);
    demo.register("ada").await;
    let shop = Client::public("shop").unwrap().named("The <Shop>").scope("profile admin".parse().unwrap());
    demo.add_client(shop.redirect_uri(URI.parse().unwrap())).await;
    let job = Client::confidential("job", Secret::from(JOB_SECRET).hash()).unwrap();
    let job = job.scope("profile".parse().unwrap()).redirect_uri("https://job.example/cb".parse().unwrap());
    demo.add_client(job).await;
    demo
}

impl TestApp {
    async fn add_client(&self, client: Client) {
        let registration = Registration { client, created_at: chrono::Utc::now() };
        assert_eq!(self.state.clients.add(registration).await.unwrap(), Registered::Added);
    }

    /// Sends a request and takes any answer.
    async fn answer(&self, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4000))));
        let (parts, body) = app(self.state.clone()).oneshot(request).await.unwrap().into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn fetch(&self, path: &str) -> Answer {
        self.answer(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Posts a form with further headers.
    async fn post_form(&self, path: &str, body: String, headers: &[(HeaderName, &str)]) -> Answer {
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.answer(request.body(body.into()).unwrap()).await
    }

    /// Posts a form as a client that names itself in the form, or not at all.
    async fn as_public(&self, path: &str, fields: Fields<'_>) -> Answer {
        self.post_form(path, form(fields, &[]), &[]).await
    }

    /// Posts a form as the confidential client `job`.
    async fn as_job(&self, path: &str, fields: Fields<'_>) -> Answer {
        self.post_form(path, form(fields, &[]), &[(header::AUTHORIZATION, JOB)]).await
    }

    /// Opens the sign-in page in a new browser.
    async fn open(&self, query: &str) -> Browser<'_> {
        let mut browser = Browser { demo: self, cookie: None, csrf_token: String::new() };
        browser.open(query).await.assert_ok();
        browser
    }

    /// Signs `ada` in for this authorization request and returns the redirect.
    async fn grant(&self, query: &str) -> Answer {
        let redirect = self.open(query).await.submit(query, &[]).await;
        assert_eq!(redirect.status, StatusCode::SEE_OTHER, "{redirect:?}");
        redirect
    }

    /// Returns a code for `shop`.
    async fn code(&self, changes: Fields<'_>) -> String {
        let code = self.grant(&authorization(changes)).await.parameter("code");
        assert_eq!(code.len(), 43, "{code}");
        code
    }

    /// Exchanges a code as `shop`.
    async fn exchange(&self, code: &str, changes: Fields<'_>) -> Answer {
        self.as_public("/oauth/token", &exchange_form(code, changes)).await
    }

    /// Returns a new token response for `shop`.
    async fn shop_tokens(&self) -> Answer {
        let code = self.code(&[]).await;
        self.exchange(&code, &[]).await.assert_ok()
    }

    /// Refreshes as `shop`.
    async fn refresh_shop(&self, refresh_token: &str) -> Answer {
        let fields = [("grant_type", "refresh_token"), ("client_id", "shop"), ("refresh_token", refresh_token)];
        self.as_public("/oauth/token", &fields).await
    }

    async fn user_id(&self, username: &str) -> UserId {
        self.state.users.by_name(username).await.unwrap().unwrap().user_id
    }

    async fn me(&self, access_token: &str) -> u16 {
        self.with_token("GET", "/me", access_token, None).await.status.as_u16()
    }
}

/// Returns the fields of an exchange by `shop`, with some replaced.
fn exchange_form<'a>(code: &'a str, changes: Fields<'a>) -> Vec<(&'a str, &'a str)> {
    let default = [
        ("grant_type", "authorization_code"),
        ("client_id", "shop"),
        ("code", code),
        ("redirect_uri", URI),
        ("code_verifier", VERIFIER),
    ];
    let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
    default.into_iter().filter(|(name, _)| !is_changed(name)).chain(changes.iter().copied()).collect()
}

impl Browser<'_> {
    /// Opens the page of an authorization request.
    async fn open(&mut self, query: &str) -> Answer {
        let mut request = Request::get(format!("/oauth/authorize?{query}"));
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let answer = self.demo.answer(request.body(Body::empty()).unwrap()).await;
        self.read(&answer);
        answer
    }

    /// Sends the page's form, with `ada` and her password unless changed.
    async fn submit(&mut self, query: &str, changes: Fields<'_>) -> Answer {
        let token = self.csrf_token.clone();
        let body = form(&[("csrf_token", &token), ("username", "ada"), ("password", PASSWORD)], changes);
        let cookie = self.cookie.clone();
        let cookie = cookie.as_deref().map(|cookie| (header::COOKIE, cookie));
        let answer = self.demo.post_form(&format!("/oauth/authorize?{query}"), body, cookie.as_slice()).await;
        self.read(&answer);
        answer
    }

    /// Keeps the cookie and the hidden field of a page.
    fn read(&mut self, answer: &Answer) {
        if let Some((cookie, _)) = answer.header("set-cookie").split_once(';') {
            self.cookie = Some(cookie.to_owned());
        }
        let field = answer.text.split("name=\"csrf_token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        if let Some(field) = field {
            field.clone_into(&mut self.csrf_token);
        }
    }
}

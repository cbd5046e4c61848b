//! A client of the demo application.

use std::{io, net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A client of one node, over plain HTTP. It follows no redirects and uses no proxy.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    retries: usize,
}

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

/// The tokens of a successful sign-in or refresh.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
}

impl Client {
    /// Creates a client of the node at `url`.
    ///
    /// # Panics
    ///
    /// If the HTTP client cannot be set up.
    pub fn new(url: &str) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // To read the system's certificates takes a tenth of a second without optimisation.
            .tls_certs_only([])
            .timeout(Duration::from_secs(30))
            // Shorter than the demo's own limit for idle connections.
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .expect("the client's settings are valid");
        Self { base: url.trim_end_matches('/').to_owned(), http, retries: 0 }
    }

    /// Returns a client that retries "unavailable" answers, which happen on a slow machine. Not for
    /// calls that must not be repeated.
    #[must_use]
    pub fn retrying(&self) -> Self {
        Self { retries: 20, ..self.clone() }
    }

    /// Returns a client that takes the first answer.
    #[must_use]
    pub fn without_retries(&self) -> Self {
        Self { retries: 0, ..self.clone() }
    }

    /// Starts a request that the methods below do not cover.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends a `GET`, with the Bearer token if there is one.
    pub async fn get(&self, path: &str, token: Option<&str>) -> reqwest::Result<Response> {
        self.send(Method::GET, path, token, None).await
    }

    /// Sends a `POST`, with the Bearer token and the JSON body if there are any.
    pub async fn post(&self, path: &str, token: Option<&str>, body: Option<&Value>) -> reqwest::Result<Response> {
        self.send(Method::POST, path, token, body).await
    }

    /// Sends a `POST` of a form.
    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::Result<Response> {
        Response::read(self.request(Method::POST, path).form(fields).send().await?).await
    }

    /// Sends a `DELETE`, with the Bearer token.
    pub async fn delete(&self, path: &str, token: &str) -> reqwest::Result<Response> {
        self.send(Method::DELETE, path, Some(token), None).await
    }

    /// Calls `POST /auth/register`.
    pub async fn register(&self, username: &str, password: &str) -> reqwest::Result<Response> {
        self.post("/auth/register", None, Some(&json!({ "username": username, "password": password }))).await
    }

    /// Calls `POST /auth/login`.
    pub async fn login(&self, username: &str, password: &str) -> reqwest::Result<Response> {
        self.post("/auth/login", None, Some(&json!({ "username": username, "password": password }))).await
    }

    /// Registers a user and signs in.
    ///
    /// # Panics
    ///
    /// If either is refused.
    pub async fn sign_up(&self, username: &str, password: &str) -> reqwest::Result<Tokens> {
        let registered = self.register(username, password).await?;
        assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
        Ok(self.login(username, password).await?.tokens())
    }

    /// Calls `POST /auth/refresh`.
    pub async fn refresh(&self, refresh_token: &str) -> reqwest::Result<Response> {
        self.post("/auth/refresh", None, Some(&json!({ "refresh_token": refresh_token }))).await
    }

    /// Calls `POST /auth/logout`.
    pub async fn logout(&self, token: &str) -> reqwest::Result<Response> {
        self.post("/auth/logout", Some(token), None).await
    }

    /// Calls `POST /auth/logout-all`.
    pub async fn logout_all(&self, token: &str) -> reqwest::Result<Response> {
        self.post("/auth/logout-all", Some(token), None).await
    }

    /// Calls `GET /me`.
    pub async fn me(&self, token: &str) -> reqwest::Result<Response> {
        self.get("/me", Some(token)).await
    }

    /// Sends a request, and repeats it while the answer is "unavailable" and retries are left.
    async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> reqwest::Result<Response> {
        for _ in 0..self.retries {
            let answer = self.send_once(method.clone(), path, token, body).await?;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                return Ok(answer);
            }
        }
        self.send_once(method, path, token, body).await
    }

    /// Sends a request once.
    async fn send_once(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> reqwest::Result<Response> {
        let mut request = self.request(method, path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Response::read(request.send().await?).await
    }
}

impl Response {
    /// Reads a response to its end.
    pub async fn read(response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Self { status, headers, text: response.text().await? })
    }

    /// Returns the body as JSON; null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// Returns the `error` of a JSON body; empty if there is none.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns a header's text; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns the pair in a token response.
    ///
    /// # Panics
    ///
    /// If the answer is not a token response.
    pub fn tokens(&self) -> Tokens {
        let body = self.json();
        let member = |name: &str| {
            let text = body[name].as_str();
            text.unwrap_or_else(|| panic!("a token response with {name} was expected, not {}", self.status)).to_owned()
        };
        Tokens { access: member("access_token"), refresh: member("refresh_token") }
    }
}

/// Decodes a token's payload without verifying the token.
///
/// # Panics
///
/// If it is not a JWT.
pub fn payload(token: &str) -> Value {
    let part = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    part.and_then(|json| serde_json::from_slice(&json).ok()).expect("a JWT has a payload of JSON in base64url")
}

/// Sends `bytes` to `address` and returns the answer, until the server closes or is silent for
/// `idle_limit`.
///
/// # Errors
///
/// If the connection cannot be made. A server that closes while we write counts as an answer.
pub async fn send_raw(address: SocketAddr, bytes: &[u8], idle_limit: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let mut answer = Vec::new();
    let _ = stream.write_all(bytes).await;
    let mut chunk = [0; 4096];
    while let Ok(Ok(read @ 1..)) = timeout(idle_limit, stream.read(&mut chunk)).await {
        answer.extend_from_slice(&chunk[..read]);
    }
    Ok(answer)
}

/// Returns the status of a raw HTTP/1.1 response; `None` if it is not one.
pub fn raw_status(answer: &[u8]) -> Option<StatusCode> {
    let line = answer.split(|&byte| byte == b'\r').next()?;
    let code = line.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    StatusCode::from_bytes(code).ok()
}

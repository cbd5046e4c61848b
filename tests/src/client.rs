//! Talks to the demo application.

use std::{io, net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A client of one node. It follows no redirects and goes through no proxy.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    patience: usize,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

/// What a successful sign-in or refresh brings.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
}

impl Client {
    /// A client of the node at `url`.
    ///
    /// # Panics
    ///
    /// If the HTTP client cannot be set up.
    pub fn new(url: &str) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            // Before the demo closes them.
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .expect("the client's settings are valid");
        Self { base: url.trim_end_matches('/').to_owned(), http, patience: 0 }
    }

    /// The same, which asks again where the answer is "unavailable", as it may be on a machine that has too much to do. Not for
    /// what must not be asked twice.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self { patience: 20, ..self.clone() }
    }

    /// The same, which takes the first answer.
    #[must_use]
    pub fn hasty(&self) -> Self {
        Self { patience: 0, ..self.clone() }
    }

    /// A request that is yet to be sent, for what the methods below do not say.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// `GET`, with a Bearer token where there is one.
    pub async fn get(&self, path: &str, token: Option<&str>) -> reqwest::Result<Answer> {
        self.send(Method::GET, path, token, None).await
    }

    /// `POST`, with a Bearer token and a JSON body where there is one.
    pub async fn post(&self, path: &str, token: Option<&str>, body: Option<&Value>) -> reqwest::Result<Answer> {
        self.send(Method::POST, path, token, body).await
    }

    /// `POST` of a form.
    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::Result<Answer> {
        Answer::read(self.request(Method::POST, path).form(fields).send().await?).await
    }

    /// `DELETE`, with a Bearer token.
    pub async fn delete(&self, path: &str, token: &str) -> reqwest::Result<Answer> {
        self.send(Method::DELETE, path, Some(token), None).await
    }

    /// `POST /auth/register`.
    pub async fn register(&self, username: &str, password: &str) -> reqwest::Result<Answer> {
        self.post("/auth/register", None, Some(&json!({ "username": username, "password": password }))).await
    }

    /// `POST /auth/login`.
    pub async fn login(&self, username: &str, password: &str) -> reqwest::Result<Answer> {
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

    /// `POST /auth/refresh`.
    pub async fn refresh(&self, refresh_token: &str) -> reqwest::Result<Answer> {
        self.post("/auth/refresh", None, Some(&json!({ "refresh_token": refresh_token }))).await
    }

    /// `POST /auth/logout`.
    pub async fn logout(&self, token: &str) -> reqwest::Result<Answer> {
        self.post("/auth/logout", Some(token), None).await
    }

    /// `POST /auth/logout-all`.
    pub async fn logout_all(&self, token: &str) -> reqwest::Result<Answer> {
        self.post("/auth/logout-all", Some(token), None).await
    }

    /// `GET /me`.
    pub async fn me(&self, token: &str) -> reqwest::Result<Answer> {
        self.get("/me", Some(token)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> reqwest::Result<Answer> {
        for _ in 0..self.patience {
            let answer = self.send_once(method.clone(), path, token, body).await?;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                return Ok(answer);
            }
        }
        self.send_once(method, path, token, body).await
    }

    async fn send_once(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.request(method, path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::read(request.send().await?).await
    }
}

impl Answer {
    /// Reads a response to its end.
    pub async fn read(response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Self { status, headers, text: response.text().await? })
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The `error` of a JSON body; empty where there is none.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    /// A header's text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The pair in a token response.
    ///
    /// # Panics
    ///
    /// If this is none.
    pub fn tokens(&self) -> Tokens {
        let body = self.json();
        let member = |name: &str| {
            let text = body[name].as_str();
            text.unwrap_or_else(|| panic!("a token response with {name} was expected, not {}", self.status)).to_owned()
        };
        Tokens { access: member("access_token"), refresh: member("refresh_token") }
    }
}

/// What a token says, whether or not that is true.
///
/// # Panics
///
/// If it is no JWT.
pub fn payload(token: &str) -> Value {
    let part = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    part.and_then(|json| serde_json::from_slice(&json).ok()).expect("a JWT has a payload of JSON in base64url")
}

/// Sends these bytes to `address` and returns whatever comes back until the server closes or has been silent for `patience`.
///
/// # Errors
///
/// If the connection cannot be made. A server that hangs up while we are writing has answered.
pub async fn send_raw(address: SocketAddr, bytes: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let mut answer = Vec::new();
    let _ = stream.write_all(bytes).await;
    let mut chunk = [0; 4096];
    while let Ok(Ok(read @ 1..)) = timeout(patience, stream.read(&mut chunk)).await {
        answer.extend_from_slice(&chunk[..read]);
    }
    Ok(answer)
}

/// The status of a raw HTTP/1.1 answer; `None` where it is not one.
pub fn raw_status(answer: &[u8]) -> Option<StatusCode> {
    let line = answer.split(|&byte| byte == b'\r').next()?;
    let code = line.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    StatusCode::from_bytes(code).ok()
}

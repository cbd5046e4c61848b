//! The requests that are measured. They are the same for all servers.

use std::{collections::VecDeque, io::Write, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{
    load::{Answer, HOUR, Requests},
    server::{IN_FLIGHT, Server},
};

/// Where the servers have their endpoints.
const TOKEN: &str = "/oauth/token";
const INTROSPECTION: &str = "/oauth/introspect";

pub(crate) const SCOPE: &str = "profile";
pub(crate) const REDIRECT_URI: &str = "https://app.example/callback";

/// RFC 7636 Appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A confidential OAuth client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    /// The value of its `Authorization` header.
    authorization: String,
}

impl Client {
    pub(crate) fn new(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), authorization: format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))) }
    }

    /// Writes a request with this form.
    fn post(&self, request: &mut Vec<u8>, path: &str, form: &str) {
        post(request, path, &format!("authorization: {}\r\n", self.authorization), form);
    }
}

/// Writes a request with a form and further headers.
pub(crate) fn post(request: &mut Vec<u8>, path: &str, headers: &str, form: &str) {
    write!(
        request,
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}content-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{form}",
        form.len(),
    )
    .expect("memory can be written to");
}

impl Answer<'_> {
    /// Returns the body of a successful answer.
    fn ok(&self) -> &[u8] {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(self.body));
        self.body
    }

    fn tokens(&self) -> TokenResponse {
        serde_json::from_slice(self.ok()).expect("a token response")
    }
}

/// What is used of a token response.
#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    refresh_token: Option<String>,
}

/// Something that a client was given: a code or a token.
pub(crate) struct Given {
    /// The number of the client.
    pub(crate) client: usize,
    pub(crate) text: String,
}

/// Asks for tokens with `grant_type=client_credentials`, for each client in turn.
pub(crate) struct ClientTokens<'a> {
    clients: &'a [Client],
    sent: usize,
    /// The newest tokens.
    pub(crate) tokens: VecDeque<String>,
    /// The number of tokens to keep.
    kept: usize,
}

impl<'a> ClientTokens<'a> {
    pub(crate) fn new(clients: &'a [Client], tokens: VecDeque<String>, kept: usize) -> Self {
        Self { clients, sent: 0, tokens, kept }
    }

    /// Asks until there are as many tokens as are kept.
    pub(crate) fn fill(&mut self, server: &Server) {
        while self.tokens.len() < self.kept {
            server.load(IN_FLIGHT, Duration::from_millis(100)).run(self);
        }
    }
}

impl Requests for ClientTokens<'_> {
    fn next(&mut self, request: &mut Vec<u8>) -> Option<usize> {
        let client = self.sent % self.clients.len();
        self.clients[client].post(request, TOKEN, &format!("grant_type=client_credentials&scope={SCOPE}"));
        self.sent += 1;
        Some(client)
    }

    fn answered(&mut self, _client: usize, answer: &Answer<'_>) {
        if self.tokens.len() == self.kept {
            self.tokens.pop_front();
        }
        self.tokens.push_back(answer.tokens().access_token);
    }
}

/// Introspects each of these tokens in turn, by each client in turn.
pub(crate) struct Introspections<'a> {
    clients: &'a [Client],
    forms: Vec<String>,
    sent: usize,
    /// The number of requests after which there are no more.
    end: usize,
}

impl<'a> Introspections<'a> {
    pub(crate) fn new<'t>(clients: &'a [Client], tokens: impl IntoIterator<Item = &'t String>) -> Self {
        let forms = tokens.into_iter().map(|token| format!("token={token}")).collect();
        Self { clients, forms, sent: 0, end: usize::MAX }
    }

    /// Introspects each token once, so that caches are filled when it is measured.
    pub(crate) fn warm_up(&mut self, server: &Server) {
        self.end = self.forms.len();
        server.load(IN_FLIGHT, HOUR).run(self);
        self.end = usize::MAX;
    }
}

impl Requests for Introspections<'_> {
    fn next(&mut self, request: &mut Vec<u8>) -> Option<usize> {
        if self.sent == self.end {
            return None;
        }
        let client = self.sent % self.clients.len();
        self.clients[client].post(request, INTROSPECTION, &self.forms[self.sent % self.forms.len()]);
        self.sent += 1;
        Some(client)
    }

    fn answered(&mut self, _client: usize, answer: &Answer<'_>) {
        const ACTIVE: &[u8] = br#""active":true"#;
        let body = answer.ok();
        let is_active = body.windows(ACTIVE.len()).any(|part| part == ACTIVE);
        assert!(is_active, "a token is not active: {}", String::from_utf8_lossy(body));
    }
}

/// Refreshes each session in turn: presents its refresh token and keeps the new one.
pub(crate) struct Refreshes<'a> {
    pub(crate) clients: &'a [Client],
    /// The refresh tokens that nobody has presented.
    pub(crate) tokens: VecDeque<Given>,
}

impl Requests for Refreshes<'_> {
    fn next(&mut self, request: &mut Vec<u8>) -> Option<usize> {
        let Given { client, text } = self.tokens.pop_front()?;
        self.clients[client].post(request, TOKEN, &format!("grant_type=refresh_token&refresh_token={text}"));
        Some(client)
    }

    fn answered(&mut self, client: usize, answer: &Answer<'_>) {
        let text = answer.tokens().refresh_token.expect("the refresh token is replaced");
        self.tokens.push_back(Given { client, text });
    }
}

/// Exchanges codes.
pub(crate) struct Exchanges<'a> {
    pub(crate) clients: &'a [Client],
    pub(crate) codes: Vec<Given>,
    /// The refresh tokens of the new sessions.
    pub(crate) sessions: Vec<Given>,
}

impl Requests for Exchanges<'_> {
    fn next(&mut self, request: &mut Vec<u8>) -> Option<usize> {
        let Given { client, text } = self.codes.pop()?;
        let form = format!(
            "grant_type=authorization_code&code={text}&redirect_uri={}&code_verifier={VERIFIER}",
            percent_encoded(REDIRECT_URI),
        );
        self.clients[client].post(request, TOKEN, &form);
        Some(client)
    }

    fn answered(&mut self, client: usize, answer: &Answer<'_>) {
        let text = answer.tokens().refresh_token.expect("a code is exchanged for a pair");
        self.sessions.push(Given { client, text });
    }
}

/// Encodes a URI for use in a query or a form.
pub(crate) fn percent_encoded(uri: &str) -> String {
    uri.replace(':', "%3A").replace('/', "%2F")
}

//! The corpus against a real node over TCP. Forgeries refused in process are refused through hyper
//! and the demo's routes, and the node goes on serving.

use std::{net::SocketAddr, time::Duration};

use auth_layer::store::TokenKind;
use chrono::{TimeDelta, Utc};
use http::{Method, StatusCode, header};
use tests::{
    client::{Client, Response, raw_status, send_raw},
    node::Node,
};
use uuid::Uuid;

use crate::{
    corpus::{Case, Corpus},
    fixture::{AUDIENCE, GoodTokens, ISSUER, LEEWAY},
    forge::{KEYS, TokenDraft},
    protected_route::{HttpResponse, bearer},
};

/// The demo's challenge, without an error.
pub(crate) const BEARER: &str = concat!(
    r#"Bearer realm="demo-app", "#,
    r#"resource_metadata="https://issuer.example/.well-known/oauth-protected-resource""#
);

/// The size up to which hyper reads headers. Above it hyper answers 431 and closes the connection.
pub(crate) const HEADERS_LIMIT: usize = 256 * 1024;

/// The size up to which the demo reads a body.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;

/// The time that a connection may be silent before it must be answered and closed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A node on the embedded store that signs with the keys of the ring.
pub(crate) struct TargetNode {
    pub(crate) node: Node,
    pub(crate) client: Client,
    _keys: tempfile::TempDir,
}

impl TargetNode {
    /// Starts the node.
    pub(crate) async fn start() -> Self {
        let keys = tempfile::tempdir().unwrap();
        for key in [&KEYS.eddsa, &KEYS.es256, &KEYS.rs256] {
            let pem = key.library.to_pkcs8_pem().unwrap();
            std::fs::write(keys.path().join(format!("{}.pem", key.alg())), pem.as_bytes()).unwrap();
        }
        let directory = keys.path().to_str().unwrap();
        let args = ["--keys-dir", directory, "--issuer", ISSUER, "--audience", AUDIENCE];
        let log = [("RUST_LOG", "info,auth_layer=debug,demo_app=debug")];
        let node = Node::start(env!("CARGO_BIN_EXE_demo-node"), &args, &log).await;
        Self { client: Client::new(node.url()), node, _keys: keys }
    }

    /// Returns its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.node.url().strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Returns an access, a refresh and a single-use token of a new user.
    pub(crate) async fn tokens(&self) -> [TokenDraft; 3] {
        let name = format!("u{}", Uuid::new_v4().simple());
        let tokens = self.client.sign_up(&name, "correct horse").await.unwrap();
        let once = self.client.post("/auth/single-use", Some(&tokens.access), None).await.unwrap();
        assert_eq!(once.status, StatusCode::CREATED, "{once:?}");
        let once = once.json()["access_token"].as_str().unwrap().to_owned();
        [tokens.access, tokens.refresh, once].map(|token| TokenDraft::of(&token, &KEYS.eddsa))
    }

    /// Issues good tokens of this kind.
    pub(crate) async fn good(&self, kind: TokenKind) -> GoodTokens {
        let sorted = |[access, refresh, once]: [TokenDraft; 3]| match kind {
            TokenKind::Access => (access, vec![refresh, once]),
            TokenKind::Refresh => (refresh, vec![access, once]),
            TokenKind::SingleUse => (once, vec![access, refresh]),
            other => panic!("{other} is new"),
        };
        let (draft, siblings) = sorted(self.tokens().await);
        let (other, _) = sorted(self.tokens().await);
        let now = Utc::now();
        let just_expired = (now - LEEWAY).timestamp();
        GoodTokens {
            kind,
            // The node's clock goes on meanwhile.
            now: now + TimeDelta::minutes(2),
            es256: draft.clone().signed_by(&KEYS.es256),
            rs256: draft.clone().signed_by(&KEYS.rs256),
            ps256: draft.clone().signed_by(&KEYS.ps256),
            hs256: draft.clone().signed_by(&KEYS.hs256),
            expired: draft.clone().claim("exp", just_expired),
            expiring: draft.clone(),
            eddsa: draft,
            other,
            siblings,
        }
    }

    /// Sends one request over a connection of its own, with these fields as they stand.
    pub(crate) async fn raw(&self, head: &str, fields: &[Vec<u8>]) -> Vec<u8> {
        let mut request = format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n").into_bytes();
        for field in fields {
            request.extend([b"authorization: ", &field[..], b"\r\n"].concat());
        }
        request.extend(b"\r\n");
        send_raw(self.address(), &request, PATIENCE).await.unwrap()
    }

    /// Fails unless a body of this size is refused unread. A client that is still sending when the
    /// server closes the connection may not see the 413.
    pub(crate) async fn assert_too_large(&self, body: &str) {
        let head = "POST /auth/refresh HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let status = raw_status(&send_raw(self.address(), request.as_bytes(), PATIENCE).await.unwrap());
        assert!(matches!(status, None | Some(StatusCode::PAYLOAD_TOO_LARGE)), "{} bytes: {status:?}", body.len());
    }

    /// Sends the corpus to a protected route. Fails unless each case is refused as it must be.
    async fn assert_refuses(&self, method: &Method, path: &str, cases: &[Case]) {
        for case in cases.iter().filter(|case| case.token.len() < HEADERS_LIMIT) {
            if let Some((value, refusal)) = bearer(&case.token).zip(case.expected.refusal()) {
                let request = self.client.request(method.clone(), path).header(header::AUTHORIZATION, value);
                let answer = Response::read(request.send().await.unwrap()).await.unwrap();
                HttpResponse::from(answer).assert_refusal(&case.name, refusal, BEARER, &case.token);
            } else if case.token.ends_with('\n') {
                // A line feed at the end is the end of the line on the wire (RFC 9112 §2.2), and no
                // part of the token.
            } else {
                let field = format!("Bearer {}", case.token).into_bytes();
                let answer = self.raw(&format!("{method} {path}"), &[field]).await;
                assert_eq!(raw_status(&answer), Some(StatusCode::BAD_REQUEST), "{}", case.name);
            }
        }
    }

    /// Fails unless the node still serves and its log holds no token.
    pub(crate) async fn assert_healthy(&self, cases: &[Case]) {
        let health = self.client.get("/healthz", None).await.unwrap();
        assert_eq!(health.status, StatusCode::OK);
        // By this answer the earlier log lines have been written.
        assert_eq!(self.client.get("/readyz", None).await.unwrap().status, StatusCode::OK);
        self.node.log().until("/readyz", 1).await;
        let log = self.node.log().lines().join("\n");
        assert!(!log.contains("panicked"), "{log}");
        for case in cases {
            let signature = case.token.rsplit('.').next().unwrap();
            let secret = signature.len() >= 32 && log.contains(signature);
            assert!(!secret, "{}: the log repeats the token", case.name);
        }
    }
}

impl From<Response> for HttpResponse {
    fn from(answer: Response) -> Self {
        Self { status: answer.status, headers: answer.headers, body: answer.text }
    }
}

#[tokio::test]
async fn check_by_a_node_refuses_forged_access_tokens_and_goes_on_serving() {
    let target = TargetNode::start().await;
    let good = target.good(TokenKind::Access).await;
    let cases = Corpus::of(&good).cases;
    target.assert_refuses(&Method::GET, "/me", &cases).await;
    for draft in [&good.eddsa, &good.es256, &good.rs256, &good.other] {
        assert_eq!(target.client.me(&draft.token()).await.unwrap().status, StatusCode::OK, "{}", draft.key.alg());
    }
    let sessions = target.client.get("/auth/sessions", Some(&good.eddsa.token())).await.unwrap();
    assert_eq!(sessions.json().as_array().map(Vec::len), Some(1));
    target.assert_healthy(&cases).await;
}

#[tokio::test]
async fn refresh_with_forged_tokens_is_refused_by_a_node_and_rotates_nothing() {
    let target = TargetNode::start().await;
    let good = target.good(TokenKind::Refresh).await;
    let cases = Corpus::of(&good).cases;
    for case in &cases {
        if case.token.len() > BODY_LIMIT {
            target.assert_too_large(&format!(r#"{{"refresh_token":"{}"}}"#, case.token)).await;
            continue;
        }
        let answer = target.client.refresh(&case.token).await.unwrap();
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}: {answer:?}", case.name);
        assert_eq!(answer.header("www-authenticate"), BEARER, "{}", case.name);
        HttpResponse::from(answer).assert_error(&case.name, "invalid_grant", &case.token);
    }
    for draft in [&good.eddsa, &good.other] {
        assert_eq!(target.client.refresh(&draft.token()).await.unwrap().status, StatusCode::OK);
    }
    target.assert_healthy(&cases).await;
}

#[tokio::test]
async fn single_use_token_that_is_forged_is_refused_by_a_node_and_uses_nothing_up() {
    let target = TargetNode::start().await;
    let good = target.good(TokenKind::SingleUse).await;
    let cases = Corpus::of(&good).cases;
    target.assert_refuses(&Method::POST, "/demo/single-use", &cases).await;
    for draft in [&good.eddsa, &good.other] {
        let token = draft.token();
        for expected in [StatusCode::OK, StatusCode::UNAUTHORIZED] {
            let answer = target.client.post("/demo/single-use", Some(&token), None).await.unwrap();
            assert_eq!(answer.status, expected, "{answer:?}");
        }
    }
    target.assert_healthy(&cases).await;
}

//! The corpus against a real node over TCP: what is refused in process is refused through hyper and the demo's routes, and the
//! node goes on serving.

use std::{net::SocketAddr, time::Duration};

use auth_layer::store::TokenKind;
use chrono::{TimeDelta, Utc};
use http::{HeaderValue, Method, StatusCode, header};
use tests::{
    client::{Answer, Client, raw_status, send_raw},
    node::Node,
};
use uuid::Uuid;

use crate::{
    authorization,
    bench::{AUDIENCE, Good, ISSUER, LEEWAY},
    corpus::{Case, Corpus},
    door::{Refusal, Response, bearer},
    forge::{Draft, KEYS},
};

const REALM: &str = "demo-app";

/// What hyper still reads as headers; above it answers 431 and hangs up.
const HEADERS_LIMIT: usize = 256 * 1024;

/// What the demo still reads as a body.
const BODY_LIMIT: usize = 64 * 1024;

/// How long a connection may be silent that should have been answered and closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A node on the embedded store that signs with our keys.
struct Target {
    node: Node,
    client: Client,
    _keys: tempfile::TempDir,
}

impl Target {
    async fn start() -> Self {
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

    fn address(&self) -> SocketAddr {
        self.node.url().strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// An access, a refresh and a single-use token of a new user.
    async fn tokens(&self) -> [Draft; 3] {
        let name = format!("u{}", Uuid::new_v4().simple());
        let tokens = self.client.sign_up(&name, "correct horse").await.unwrap();
        let once = self.client.post("/auth/single-use", Some(&tokens.access), None).await.unwrap();
        assert_eq!(once.status, StatusCode::CREATED, "{once:?}");
        let once = once.json()["access_token"].as_str().unwrap().to_owned();
        [tokens.access, tokens.refresh, once].map(|token| Draft::of(&token, &KEYS.eddsa))
    }

    async fn good(&self, kind: TokenKind) -> Good {
        let sorted = |[access, refresh, once]: [Draft; 3]| match kind {
            TokenKind::Access => (access, vec![refresh, once]),
            TokenKind::Refresh => (refresh, vec![access, once]),
            TokenKind::SingleUse => (once, vec![access, refresh]),
        };
        let (draft, siblings) = sorted(self.tokens().await);
        let (other, _) = sorted(self.tokens().await);
        let now = Utc::now();
        let just_expired = (now - LEEWAY).timestamp();
        Good {
            kind,
            // The node's clock goes on while we ask.
            now: now + TimeDelta::minutes(2),
            es256: draft.clone().by(&KEYS.es256),
            rs256: draft.clone().by(&KEYS.rs256),
            ps256: draft.clone().by(&KEYS.ps256),
            hs256: draft.clone().by(&KEYS.hs256),
            expired: draft.clone().claim("exp", just_expired),
            expiring: draft.clone(),
            eddsa: draft,
            other,
            siblings,
        }
    }

    /// One request over a connection of its own, with these fields as they stand.
    async fn raw(&self, head: &str, fields: &[Vec<u8>]) -> Vec<u8> {
        let mut request = format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n").into_bytes();
        for field in fields {
            request.extend([b"authorization: ", &field[..], b"\r\n"].concat());
        }
        request.extend(b"\r\n");
        send_raw(self.address(), &request, PATIENCE).await.unwrap()
    }

    /// The corpus through a protected route.
    async fn refuses(&self, method: &Method, path: &str, cases: &[Case]) {
        for case in cases.iter().filter(|case| case.token.len() < HEADERS_LIMIT) {
            if let Some((value, refusal)) = bearer(&case.token).zip(case.answer.refusal()) {
                let request = self.client.request(method.clone(), path).header(header::AUTHORIZATION, value);
                let answer = Answer::read(request.send().await.unwrap()).await.unwrap();
                Response::from(answer).is_refusal(&case.name, refusal, REALM, &case.token);
            } else if case.token.ends_with('\n') {
                // On the wire a line feed at the end is the end of the line (RFC 9112 §2.2), and no part of the token.
            } else {
                let field = format!("Bearer {}", case.token).into_bytes();
                let answer = self.raw(&format!("{method} {path}"), &[field]).await;
                assert_eq!(raw_status(&answer), Some(StatusCode::BAD_REQUEST), "{}", case.name);
            }
        }
    }

    /// That the node serves as if nothing had been, and that its log repeats no token.
    async fn is_well(&self, cases: &[Case]) {
        let health = self.client.get("/healthz", None).await.unwrap();
        assert_eq!(health.status, StatusCode::OK);
        let log = self.node.log().lines().join("\n");
        assert!(log.contains("request"), "there is a log");
        assert!(!log.contains("panicked"), "{log}");
        for case in cases {
            let signature = case.token.rsplit('.').next().unwrap();
            let secret = signature.len() >= 32 && log.contains(signature);
            assert!(!secret, "{}: the log repeats the token", case.name);
        }
    }
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        Self { status: answer.status, headers: answer.headers, body: answer.text }
    }
}

#[tokio::test]
async fn a_node_refuses_forged_access_tokens_and_goes_on_serving() {
    let target = Target::start().await;
    let good = target.good(TokenKind::Access).await;
    let cases = Corpus::of(&good).cases;
    target.refuses(&Method::GET, "/me", &cases).await;
    for draft in [&good.eddsa, &good.es256, &good.rs256, &good.other] {
        assert_eq!(target.client.me(&draft.token()).await.unwrap().status, StatusCode::OK, "{}", draft.key.alg());
    }
    let sessions = target.client.get("/auth/sessions", Some(&good.eddsa.token())).await.unwrap();
    assert_eq!(sessions.json().as_array().map(Vec::len), Some(1));
    target.is_well(&cases).await;
}

#[tokio::test]
async fn a_node_refuses_forged_refresh_tokens_and_rotates_nothing() {
    let target = Target::start().await;
    let good = target.good(TokenKind::Refresh).await;
    let cases = Corpus::of(&good).cases;
    for case in &cases {
        let answer = target.client.refresh(&case.token).await.unwrap();
        if case.token.len() > BODY_LIMIT {
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", case.name);
            continue;
        }
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}: {answer:?}", case.name);
        assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{REALM}\""), "{}", case.name);
        Response::from(answer).is_error(&case.name, "invalid_grant", &case.token);
    }
    for draft in [&good.eddsa, &good.other] {
        assert_eq!(target.client.refresh(&draft.token()).await.unwrap().status, StatusCode::OK);
    }
    target.is_well(&cases).await;
}

#[tokio::test]
async fn a_node_refuses_forged_single_use_tokens_and_uses_nothing_up() {
    let target = Target::start().await;
    let good = target.good(TokenKind::SingleUse).await;
    let cases = Corpus::of(&good).cases;
    target.refuses(&Method::POST, "/demo/single-use", &cases).await;
    for draft in [&good.eddsa, &good.other] {
        let token = draft.token();
        for expected in [StatusCode::OK, StatusCode::UNAUTHORIZED] {
            let answer = target.client.post("/demo/single-use", Some(&token), None).await.unwrap();
            assert_eq!(answer.status, expected, "{answer:?}");
        }
    }
    target.is_well(&cases).await;
}

/// A raw request whose answer is ours: by status and by the `error` of its body.
fn assert_raw(name: &str, answer: &[u8], status: StatusCode, error: &str) {
    assert_eq!(raw_status(answer), Some(status), "{name}");
    let text = String::from_utf8_lossy(answer);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"], error, "{name}");
}

#[tokio::test]
async fn a_node_refuses_headers_that_cannot_be_read_and_takes_none_from_the_query() {
    let target = Target::start().await;
    let [access, ..] = target.tokens().await;
    let token = access.token();
    for case in authorization::cases(&token) {
        let (status, error) = match case.refusal {
            Refusal::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Refusal::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request"),
            Refusal::InvalidToken => (StatusCode::UNAUTHORIZED, "invalid_token"),
        };
        assert_raw(case.name, &target.raw("GET /me", &case.fields).await, status, error);
    }
    let query = format!("GET /me?access_token={token}");
    assert_raw("query", &target.raw(&query, &[]).await, StatusCode::UNAUTHORIZED, "unauthorized");

    // What no parser of HTTP takes, hyper refuses before us.
    let (start, end) = token.split_at(token.len() - 2);
    for byte in (0..0x20).chain([0x7f]).filter(|byte| *byte != b'\t') {
        let field = [b"Bearer ", start.as_bytes(), &[byte], end.as_bytes()].concat();
        let answer = target.raw("GET /me", &[field]).await;
        assert_eq!(raw_status(&answer), Some(StatusCode::BAD_REQUEST), "byte {byte:#x} within");
    }
    for field in [format!("Bearer\r\n {token}"), format!("Bearer\r\n\t{token}"), format!("Bearer {start}\r\n {end}")] {
        let answer = target.raw("GET /me", &[field.clone().into_bytes()]).await;
        assert_eq!(raw_status(&answer), Some(StatusCode::BAD_REQUEST), "folded: {:?}", &field[..10]);
    }
    // Blanks around a field's value are no part of it (RFC 9110 §5.5).
    for field in [format!("Bearer {token} \t "), format!(" \tBearer {token}")] {
        assert_eq!(raw_status(&target.raw("GET /me", &[field.into_bytes()]).await), Some(StatusCode::OK));
    }
    target.is_well(&[]).await;
}

#[tokio::test]
async fn a_node_survives_tokens_of_any_size() {
    let target = Target::start().await;
    let [access, ..] = target.tokens().await;
    let good = HeaderValue::try_from(format!("Bearer {}", access.token())).unwrap();
    let request =
        |token: &str, more: &str| format!("GET /me HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n{more}\r\n");
    let next = request(good.to_str().unwrap(), "connection: close\r\n");

    let within = access.of_length(8 * 1024);
    assert_eq!(target.client.me(&within).await.unwrap().status, StatusCode::OK, "8 KiB exactly");
    for bytes in [8 * 1024 + 1, 16 * 1024, 64 * 1024, HEADERS_LIMIT] {
        // The connection goes on: the next request on it is served.
        let oversized = request(&format!("Bearer {}", access.of_length(bytes)), "");
        let answer = send_raw(target.address(), (oversized + &next).as_bytes(), PATIENCE).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["401", "200"], "{bytes} bytes");
    }
    for bytes in [1 << 20, 8 << 20] {
        let oversized = request(&format!("Bearer {}", "A".repeat(bytes)), "");
        let answer = send_raw(target.address(), oversized.as_bytes(), PATIENCE).await.unwrap();
        // A client that is still sending when the other side has hung up may not get to see the answer.
        let status = raw_status(&answer);
        let refused = matches!(status, None | Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        assert!(refused, "{bytes} bytes: {status:?}");
        let answer = send_raw(target.address(), next.as_bytes(), PATIENCE).await.unwrap();
        assert_eq!(raw_status(&answer), Some(StatusCode::OK), "after {bytes} bytes");
    }
    // A header that never ends, from a client that goes away.
    for _ in 0..8 {
        let half = format!("GET /me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}", "A".repeat(10_000));
        let answer = send_raw(target.address(), half.as_bytes(), Duration::from_millis(20)).await.unwrap();
        assert!(answer.is_empty(), "nothing was asked yet");
    }
    target.is_well(&[]).await;
}

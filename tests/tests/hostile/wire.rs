//! Raw bytes to a real node: headers that no client library would send, sizes, HTTP/2, bodies, and
//! bytes that are no HTTP.

use std::time::Duration;

use auth_layer::store::TokenKind;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;
use tests::client::{Response, raw_status, send_raw};
use tonic::{
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::{Service, ServiceExt};

use crate::{
    authorization,
    corpus::Corpus,
    node::{BEARER, BODY_LIMIT, HEADERS_LIMIT, PATIENCE, TargetNode},
    protected_route::{HttpResponse, Refusal, bearer},
};

/// Fails unless the answer to a raw request comes from the demo, with this status and this `error`
/// in its body.
fn assert_raw(name: &str, answer: &[u8], status: StatusCode, error: &str) {
    assert_eq!(raw_status(answer), Some(status), "{name}");
    let text = String::from_utf8_lossy(answer);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"], error, "{name}");
}

#[tokio::test]
async fn wire_headers_that_cannot_be_read_are_refused_and_queries_are_ignored() {
    let target = TargetNode::start().await;
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

    // hyper refuses what no HTTP parser accepts, before the request reaches us.
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
    target.assert_healthy(&[]).await;
}

#[tokio::test]
async fn wire_tokens_of_any_size_are_survived() {
    let target = TargetNode::start().await;
    let [access, ..] = target.tokens().await;
    let good = HeaderValue::try_from(format!("Bearer {}", access.token())).unwrap();
    let request =
        |token: &str, more: &str| format!("GET /me HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n{more}\r\n");
    let next = request(good.to_str().unwrap(), "connection: close\r\n");

    let within = access.of_length(8 * 1024);
    assert_eq!(target.client.me(&within).await.unwrap().status, StatusCode::OK, "8 KiB exactly");
    for bytes in [8 * 1024 + 1, 16 * 1024, 64 * 1024, HEADERS_LIMIT] {
        // The connection stays open: the next request on it is served.
        let oversized = request(&format!("Bearer {}", access.of_length(bytes)), "");
        let answer = send_raw(target.address(), (oversized + &next).as_bytes(), PATIENCE).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["401", "200"], "{bytes} bytes");
    }
    for bytes in [1 << 20, 8 << 20] {
        let oversized = request(&format!("Bearer {}", "A".repeat(bytes)), "");
        let answer = send_raw(target.address(), oversized.as_bytes(), PATIENCE).await.unwrap();
        // A client that is still sending when the server closes the connection may not see the
        // answer.
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
    target.assert_healthy(&[]).await;
}

/// Sends one request on an HTTP/2 connection.
async fn send_over_http2(channel: &mut Channel, request: Request<Body>) -> HttpResponse {
    let response = channel.ready().await.unwrap().call(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    HttpResponse { status: parts.status, headers: parts.headers, body: String::from_utf8(body).unwrap() }
}

#[tokio::test]
async fn wire_refuses_forged_tokens_over_http2_and_grpc_on_one_connection() {
    // The header size that hyper accepts over HTTP/2. Over HTTP/1.1 such tokens are not yet
    // oversized.
    const HTTP2_LIMIT: usize = 15 * 1024;

    let target = TargetNode::start().await;
    let good = target.good(TokenKind::Access).await;
    let cases = Corpus::of(&good).cases;
    let endpoint = Endpoint::from_shared(target.node.url().to_owned()).unwrap();
    let mut channel = endpoint.connect().await.unwrap();
    let request = |grpc: bool, credentials: HeaderValue| {
        let mut request = Request::builder().method(Method::GET).uri("/me").body(Body::empty()).unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, credentials);
        if grpc {
            // gRPC uses POST.
            *request.method_mut() = Method::POST;
            *request.uri_mut() = Uri::from_static("/demo.v1.Identity/WhoAmI");
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
        }
        request
    };
    for case in cases.iter().filter(|case| case.token.len() < HEADERS_LIMIT) {
        let Some((value, refusal)) = bearer(&case.token).zip(case.expected.refusal()) else { continue };
        let response = send_over_http2(&mut channel, request(false, value.clone())).await;
        if case.token.len() > HTTP2_LIMIT {
            let status = response.status;
            assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{}: {response:?}", case.name);
            continue;
        }
        response.assert_refusal(&case.name, refusal, BEARER, &case.token);
        send_over_http2(&mut channel, request(true, value)).await.assert_grpc_refusal(&case.name);
    }
    let response = send_over_http2(&mut channel, request(false, bearer(&good.eddsa.token()).unwrap())).await;
    assert_eq!(response.status, StatusCode::OK, "the connection has survived all that");

    let flood = request(false, bearer(&"A".repeat(1 << 20)).unwrap());
    let mut flooded = endpoint.connect().await.unwrap();
    if let Ok(response) = flooded.ready().await.unwrap().call(flood).await {
        assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let response = send_over_http2(&mut channel, request(false, bearer(&good.eddsa.token()).unwrap())).await;
    assert_eq!(response.status, StatusCode::OK, "only the connection that floods is closed");
    target.assert_healthy(&cases).await;
}

#[tokio::test]
async fn refresh_refuses_bodies_without_a_refresh_token() {
    let target = TargetNode::start().await;
    let [_, refresh, _] = target.tokens().await;
    let token = refresh.token();
    let json = "application/json";
    let text = |text: &str| text.as_bytes().to_vec();
    let cases = [
        ("nothing", json, Vec::new(), 400),
        ("no JSON", json, text("refresh_token"), 400),
        ("no UTF-8", json, b"{\"refresh_token\":\"\xff\"}".to_vec(), 400),
        ("a lone surrogate", json, text(r#"{"refresh_token":"\ud800"}"#), 400),
        ("an array", json, text(&format!(r#"["{token}"]"#)), 400),
        ("a text", json, text(&format!(r#""{token}""#)), 400),
        ("null", json, text("null"), 400),
        ("depth", json, text(&"[".repeat(BODY_LIMIT - 1)), 400),
        ("depth within", json, text(&format!(r#"{{"refresh_token":{}"#, r#"{"a":"#.repeat(10_000))), 400),
        ("cut short", json, text(&format!(r#"{{"refresh_token":"{token}""#)), 400),
        ("something behind", json, text(&format!(r#"{{"refresh_token":"{token}"}}x"#)), 400),
        ("an empty object", json, text("{}"), 422),
        ("another name", json, text(&format!(r#"{{"refreshToken":"{token}"}}"#)), 422),
        ("null within", json, text(r#"{"refresh_token":null}"#), 422),
        ("a number", json, text(r#"{"refresh_token":1e308}"#), 422),
        ("an array within", json, text(&format!(r#"{{"refresh_token":["{token}"]}}"#)), 422),
        ("an object within", json, text(r#"{"refresh_token":{"$ne":null}}"#), 422),
        ("a form", "application/x-www-form-urlencoded", text(&format!("refresh_token={token}")), 415),
        ("text", "text/plain", text(&format!(r#"{{"refresh_token":"{token}"}}"#)), 415),
        ("no media type", "\u{e9}", text(&format!(r#"{{"refresh_token":"{token}"}}"#)), 415),
    ];
    for (name, media, body, status) in cases {
        let request = target.client.request(Method::POST, "/auth/refresh");
        let media = HeaderValue::from_bytes(media.as_bytes()).unwrap();
        let answer = Response::read(request.header(header::CONTENT_TYPE, media).body(body).send().await.unwrap());
        let answer = answer.await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (status, "invalid_request"),
            "{name}: {answer:?}"
        );
        assert!(!answer.text.contains(&token), "{name}: the answer repeats the token");
    }
    for bytes in [BODY_LIMIT, 1 << 20, 8 << 20] {
        target.assert_too_large(&format!(r#"{{"refresh_token":"{}"}}"#, "A".repeat(bytes))).await;
    }
    assert_eq!(target.client.refresh(&token).await.unwrap().status, StatusCode::OK, "nothing of that has rotated it");
    target.assert_healthy(&[]).await;
}

/// For any bytes: no 5xx, and the next request is served. 501 and 505 would describe the request
/// and be right; hyper sends neither.
#[tokio::test]
async fn wire_bytes_that_are_no_http_are_survived() {
    let target = TargetNode::start().await;
    let [access, ..] = target.tokens().await;
    let bearer = format!("authorization: Bearer {}\r\n", access.token());
    let many = |line: &str, count: usize| line.repeat(count);
    let requests = [
        ("zeros", vec![0; 4_096]),
        ("ones", vec![0xff; 4_096]),
        ("a hello of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20)),
        ("line ends alone", many("\r\n", 2_000).into_bytes()),
        ("no version", b"GET /me\r\n\r\n".to_vec()),
        ("a version to come", format!("GET /me HTTP/9.9\r\nhost: x\r\n{bearer}\r\n").into_bytes()),
        (
            "a blank before the colon",
            format!("GET /me HTTP/1.1\r\nhost: x\r\n{}\r\n", bearer.replacen(':', " :", 1)).into_bytes(),
        ),
        ("a header without a name", b"GET /me HTTP/1.1\r\nhost: x\r\n: Bearer a.b.c\r\n\r\n".to_vec()),
        ("a thousand headers", format!("GET /me HTTP/1.1\r\n{}\r\n", many(&bearer, 1_000)).into_bytes()),
        (
            "an address without end",
            format!("GET /me?access_token={} HTTP/1.1\r\n\r\n", "A".repeat(100_000)).into_bytes(),
        ),
        ("an address of bytes", b"GET /\xff\xfe?\x01 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        (
            "a method nobody knows",
            format!("STEAL /me HTTP/1.1\r\nhost: x\r\n{bearer}connection: close\r\n\r\n").into_bytes(),
        ),
        (
            "two lengths",
            b"POST /auth/refresh HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}".to_vec(),
        ),
        ("a length below zero", b"POST /auth/refresh HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n{}".to_vec()),
        (
            "a length beyond all",
            b"POST /auth/refresh HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n{}".to_vec(),
        ),
        (
            "a chunk beyond all",
            b"POST /auth/refresh HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
              transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n"
                .to_vec(),
        ),
        ("half a preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".to_vec()),
        ("HTTP/2, then zeros", [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0; 512]].concat()),
        ("HTTP/2, then ones", [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xff; 512]].concat()),
    ];
    for (name, bytes) in requests {
        // Some of these look like the beginning of more, and hyper waits. Only the immediate answer
        // is checked.
        let answer = send_raw(target.address(), &bytes, Duration::from_millis(200)).await.unwrap();
        let status = raw_status(&answer);
        assert!(status.is_none_or(|status| status.is_client_error()), "{name}: {status:?}");
        assert_eq!(target.client.me(&access.token()).await.unwrap().status, StatusCode::OK, "after {name}");
    }
    target.assert_healthy(&[]).await;
}

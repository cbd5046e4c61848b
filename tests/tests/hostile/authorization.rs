//! The `Authorization` header around the token (RFC 9110 §11.6.2, RFC 6750 §2.1), and the places
//! where no token is read.

use auth_layer::store::TokenKind;
use axum::body::Body;
use http::{HeaderValue, Request, header};

use crate::{
    corpus::Corpus,
    fixture::Fixture,
    protected_route::{ProtectedRoute, Refusal, bearer},
};

/// Header fields that must be refused, even with a good token in them.
pub(crate) struct HeaderCase {
    pub(crate) name: &'static str,
    pub(crate) fields: Vec<Vec<u8>>,
    pub(crate) refusal: Refusal,
}

/// Returns the cases around this token.
pub(crate) fn cases(token: &str) -> Vec<HeaderCase> {
    use Refusal::{InvalidRequest, Unauthorized};

    let one = |name, field: &[u8], refusal| HeaderCase { name, fields: vec![field.to_vec()], refusal };
    let text = |name, field: String, refusal| one(name, field.as_bytes(), refusal);
    let several = |name, fields: &[String]| {
        let fields = fields.iter().map(|field| field.as_bytes().to_vec()).collect();
        HeaderCase { name, fields, refusal: InvalidRequest }
    };
    let bearer = format!("Bearer {token}");
    let behind = |bytes: &[u8]| [bearer.as_bytes(), bytes].concat();
    let (start, end) = bearer.split_at(bearer.len() - 2);
    let within = |bytes: &[u8]| [start.as_bytes(), bytes, end.as_bytes()].concat();
    vec![
        one("the scheme alone", b"Bearer", InvalidRequest),
        one("the scheme alone, in lower case", b"bearer", InvalidRequest),
        one("a blank behind the scheme", b"Bearer ", InvalidRequest),
        one("blanks behind the scheme", b"Bearer        ", InvalidRequest),
        one("a tab behind the scheme", b"Bearer\t", InvalidRequest),
        text("a tab for the blank", format!("Bearer\t{token}"), InvalidRequest),
        text("a tab after the blank", format!("Bearer \t{token}"), InvalidRequest),
        text("a comma after the scheme", format!("Bearer, {token}"), InvalidRequest),
        text("a colon after the scheme", format!("Bearer: {token}"), InvalidRequest),
        text("an equals sign after the scheme", format!("Bearer={token}"), InvalidRequest),
        text("a slash after the scheme", format!("Bearer/{token}"), InvalidRequest),
        text("a parameter", format!("Bearer token={token}"), InvalidRequest),
        text("a quoted parameter", format!("Bearer token=\"{token}\""), InvalidRequest),
        text("in quotes", format!("Bearer \"{token}\""), InvalidRequest),
        text("in angle brackets", format!("Bearer <{token}>"), InvalidRequest),
        text("the scheme twice", format!("Bearer {bearer}"), InvalidRequest),
        text("two tokens", format!("Bearer {token} {token}"), InvalidRequest),
        text("two tokens with a tab", format!("Bearer {token}\t{token}"), InvalidRequest),
        text("two tokens with a comma", format!("Bearer {token},{token}"), InvalidRequest),
        text("two credentials in one field", format!("{bearer}, {bearer}"), InvalidRequest),
        text("other credentials behind", format!("{bearer}, Basic dTpw"), InvalidRequest),
        text("a semicolon behind", format!("{bearer};"), InvalidRequest),
        text("padding in the middle", format!("Bearer ={token}=x"), InvalidRequest),
        one("padding alone", b"Bearer ==", InvalidRequest),
        one("a byte of Latin-1 behind", &behind(b"\xe9"), InvalidRequest),
        one("a byte of Latin-1 within", &within(b"\xe9"), InvalidRequest),
        one("UTF-8 within", &within("\u{e9}".as_bytes()), InvalidRequest),
        one("a zero-width space within", &within("\u{200b}".as_bytes()), InvalidRequest),
        one("a no-break space for the blank", b"Bearer\xc2\xa0x", InvalidRequest),
        one("no UTF-8", b"Bearer \xff\xfe", InvalidRequest),
        one("a percent sign within", &within(b"%"), InvalidRequest),
        one("a backslash within", &within(b"\\"), InvalidRequest),
        one("a brace within", &within(b"{"), InvalidRequest),
        several("twice the same field", &[bearer.clone(), bearer.clone()]),
        several("two tokens in two fields", &[bearer.clone(), "Bearer x.y.z".to_owned()]),
        several("another scheme first", &["Basic dTpw".to_owned(), bearer.clone()]),
        several("another scheme behind", &[bearer.clone(), "Basic dTpw".to_owned()]),
        several("an empty field first", &[String::new(), bearer.clone()]),
        several("an empty field behind", &[bearer.clone(), String::new()]),
        several("ten fields", &vec![bearer.clone(); 10]),
        HeaderCase { name: "no field", fields: Vec::new(), refusal: Unauthorized },
        one("an empty field", b"", Unauthorized),
        text("no scheme", token.to_owned(), Unauthorized),
        one("Basic", b"Basic dTpw", Unauthorized),
        text("Basic with the token", format!("Basic {token}"), Unauthorized),
        text("DPoP", format!("DPoP {token}"), Unauthorized),
        text("JWT", format!("JWT {token}"), Unauthorized),
        text("Token", format!("Token {token}"), Unauthorized),
        text("Negotiate", format!("Negotiate {token}"), Unauthorized),
        text("no blank", format!("Bearer{token}"), Unauthorized),
        text("a letter more in the scheme", format!("Bearers {token}"), Unauthorized),
        text("a letter less in the scheme", format!("Beare {token}"), Unauthorized),
        text("a Cyrillic letter in the scheme", format!("B\u{435}arer {token}"), Unauthorized),
        text("a quoted scheme", format!("\"Bearer\" {token}"), Unauthorized),
    ]
}

#[tokio::test]
async fn credentials_that_cannot_be_read_are_refused_even_with_a_good_token() {
    let fixture = Fixture::new();
    for kind in [TokenKind::Access, TokenKind::SingleUse] {
        let token = fixture.good(kind).await.eddsa.token();
        let single_use = kind == TokenKind::SingleUse;
        for (order, authority) in fixture.authorities() {
            let route = ProtectedRoute::new(authority, single_use);
            let before = fixture.store.calls();
            for case in cases(&token) {
                let fields: Vec<_> = case.fields.iter().map(|field| HeaderValue::from_bytes(field).unwrap()).collect();
                route.assert_refuses(&format!("{order}, {kind}, {}", case.name), &fields, case.refusal, &token).await;
            }
            assert_eq!(fixture.store.calls(), before, "{order}, {kind}: no store was asked");
        }
        let good = if single_use {
            fixture.record_first.spend(&token).await.is_ok()
        } else {
            fixture.record_first.verify(&token).await.is_ok()
        };
        assert!(good, "{kind}: the token itself is good, after all that");
    }
}

/// With optional authentication, a request without credentials passes without a user. Bad
/// credentials are refused.
#[tokio::test]
async fn credentials_that_are_optional_are_refused_when_bad_and_may_be_missing() {
    let fixture = Fixture::new();
    let good = fixture.good(TokenKind::Access).await;
    let token = good.eddsa.token();
    for (order, authority) in fixture.authorities() {
        let route = ProtectedRoute::optional(authority);
        for case in cases(&token) {
            let name = format!("{order}, {}", case.name);
            let fields: Vec<_> = case.fields.iter().map(|field| HeaderValue::from_bytes(field).unwrap()).collect();
            if case.refusal != Refusal::Unauthorized {
                route.assert_refuses(&name, &fields, case.refusal, &token).await;
                continue;
            }
            let mut request = Request::get("/").body(Body::empty()).unwrap();
            request.headers_mut().extend(fields.into_iter().map(|field| (header::AUTHORIZATION, field)));
            let response = route.send(request).await;
            assert_eq!((response.status.as_u16(), response.body.as_str()), (200, "nobody"), "{name}");
        }
        let request = Request::get("/").header(header::AUTHORIZATION, bearer(&token).unwrap());
        let response = route.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.body, good.eddsa.text("jti"), "{order}: a good token is somebody's");
    }
    let route = ProtectedRoute::optional(&fixture.record_first);
    for case in Corpus::of(&good).cases {
        if let Some((value, refusal)) = bearer(&case.token).zip(case.expected.refusal()) {
            route.assert_refuses(&case.name, &[value], refusal, &case.token).await;
        }
    }
    assert_eq!(route.handler_calls(), 0);
}

/// Tokens are read from the header alone, and never from a query string or any other place.
#[tokio::test]
async fn credentials_in_another_place_are_ignored() {
    let fixture = Fixture::new();
    let token = fixture.good(TokenKind::Access).await.eddsa.token();
    let bearer = format!("Bearer {token}");
    let form = "application/x-www-form-urlencoded";
    for (order, authority) in fixture.authorities() {
        let route = ProtectedRoute::new(authority, false);
        let with = |name: &str, value: &str| Request::get("/").header(name, value);
        let requests = [
            ("query", Request::get(format!("/?access_token={token}")), String::new()),
            (
                "query, other names",
                Request::get(format!("/?token={token}&jwt={token}&authorization={token}")),
                String::new(),
            ),
            ("form", Request::post("/").header(header::CONTENT_TYPE, form), format!("access_token={token}")),
            ("Proxy-Authorization", with("proxy-authorization", &bearer), String::new()),
            ("X-Authorization", with("x-authorization", &bearer), String::new()),
            ("X-Access-Token", with("x-access-token", &token), String::new()),
            ("X-Forwarded-Authorization", with("x-forwarded-authorization", &bearer), String::new()),
            ("Sec-WebSocket-Protocol", with("sec-websocket-protocol", &token), String::new()),
            ("Cookie", with("cookie", &format!("__Host-access={token}")), String::new()),
        ];
        for (name, request, body) in requests {
            let response = route.send(request.body(Body::from(body)).unwrap()).await;
            let name = format!("{order}, {name}");
            response.assert_refusal(&name, Refusal::Unauthorized, r#"Bearer realm="api""#, &token);
        }
        assert_eq!(route.handler_calls(), 0, "{order}");
    }
}

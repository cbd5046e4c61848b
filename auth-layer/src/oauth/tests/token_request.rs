use base64::{Engine, engine::general_purpose::STANDARD};
use form_urlencoded::Serializer;
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE},
};

use super::super::*;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

const CODE: &[(&str, &str)] = &[
    ("grant_type", "authorization_code"),
    ("client_id", "spa"),
    ("code", "c0de"),
    ("redirect_uri", "https://app.example/cb"),
    ("code_verifier", VERIFIER),
];
const REFRESH: &[(&str, &str)] = &[("grant_type", "refresh_token"), ("client_id", "spa"), ("refresh_token", "r3fresh")];
const CLIENT: &[(&str, &str)] = &[("grant_type", "client_credentials"), ("client_id", "spa")];
const PASSWORD: &[(&str, &str)] =
    &[("grant_type", "password"), ("client_id", "spa"), ("username", "alice"), ("password", "p4ss word+é")];

fn form_headers() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))])
}

fn with_authorization(value: &[u8]) -> HeaderMap {
    let mut headers = form_headers();
    headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
    headers
}

fn with_basic(credentials: &[u8]) -> HeaderMap {
    with_authorization(format!("Basic {}", STANDARD.encode(credentials)).as_bytes())
}

fn body(parameters: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// The parameters, with some in place of their like.
fn with(parameters: &[(&str, &str)], changed: &[(&str, &str)]) -> String {
    let kept = parameters.iter().filter(|(name, _)| changed.iter().all(|(other, _)| name != other));
    body(&kept.chain(changed).copied().collect::<Vec<_>>())
}

fn without(parameters: &[(&str, &str)], name: &str) -> String {
    body(&parameters.iter().filter(|(other, _)| *other != name).copied().collect::<Vec<_>>())
}

fn parse(body: &str) -> TokenRequest {
    TokenRequest::parse(&form_headers(), body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn error(headers: &HeaderMap, body: &str) -> String {
    match TokenRequest::parse(headers, body.as_bytes()) {
        Err(error) => error.to_string(),
        Ok(request) => panic!("{body}: {request:?}"),
    }
}

fn authentication(headers: &HeaderMap, body: &str) -> Result<ClientAuthentication, TokenError> {
    TokenRequest::parse(headers, body.as_bytes()).map(|request| request.authentication)
}

/// Method, identifier and secret.
fn told(authentication: &ClientAuthentication) -> (&'static str, Option<&str>, Option<&str>) {
    let method = match authentication {
        ClientAuthentication::None => "none",
        ClientAuthentication::Public { .. } => "public",
        ClientAuthentication::Basic { .. } => "basic",
        ClientAuthentication::Post { .. } => "post",
    };
    (method, authentication.client_id(), authentication.secret().map(Secret::expose))
}

#[test]
fn oauth_token_request_has_a_grant() {
    match parse(&body(CODE)).grant {
        GrantRequest::AuthorizationCode { code, redirect_uri, code_verifier } => {
            assert_eq!((code.expose(), code_verifier.expose()), ("c0de", VERIFIER));
            assert_eq!(redirect_uri.as_deref(), Some("https://app.example/cb"));
        }
        other => panic!("{other:?}"),
    }
    match parse(&with(REFRESH, &[("scope", "a b")])).grant {
        GrantRequest::RefreshToken { refresh_token, scope } => {
            assert_eq!((refresh_token.expose(), scope), ("r3fresh", Some("a b".parse().unwrap())));
        }
        other => panic!("{other:?}"),
    }
    match parse(&with(CLIENT, &[("scope", "a")])).grant {
        GrantRequest::ClientCredentials { scope } => assert_eq!(scope, Some("a".parse().unwrap())),
        other => panic!("{other:?}"),
    }
    match parse(&with(PASSWORD, &[("scope", "")])).grant {
        GrantRequest::Password { username, password, scope } => {
            assert_eq!((username.as_str(), password.expose(), scope), ("alice", "p4ss word+é", None));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn oauth_token_request_redirect_uri_and_scope_are_optional() {
    for body in [without(CODE, "redirect_uri"), with(CODE, &[("redirect_uri", "")])] {
        assert!(matches!(parse(&body).grant, GrantRequest::AuthorizationCode { redirect_uri: None, .. }));
    }
    for body in [body(REFRESH), with(REFRESH, &[("scope", "")])] {
        assert!(matches!(parse(&body).grant, GrantRequest::RefreshToken { scope: None, .. }));
    }
}

#[test]
fn oauth_token_request_without_a_parameter_is_refused() {
    for (parameters, name) in [
        (CODE, "grant_type"),
        (CODE, "code"),
        (CODE, "code_verifier"),
        (REFRESH, "refresh_token"),
        (PASSWORD, "username"),
        (PASSWORD, "password"),
    ] {
        for body in [without(parameters, name), with(parameters, &[(name, "")])] {
            assert_eq!(error(&form_headers(), &body), format!("invalid_request: {name} is missing"));
        }
    }
    assert_eq!(error(&form_headers(), ""), "invalid_request: grant_type is missing");
}

#[test]
fn oauth_token_request_with_a_parameter_twice_is_refused() {
    let refused = "invalid_request: A parameter comes more than once";
    for parameters in [CODE, REFRESH, CLIENT, PASSWORD] {
        for &(name, value) in parameters {
            for second in [value, ""] {
                let body = with(parameters, &[(name, value), (name, second)]);
                assert_eq!(error(&form_headers(), &body), refused, "{body}");
            }
        }
        for name in ["scope", "client_secret", "code", "password"] {
            let body = with(parameters, &[(name, "a"), (name, "b")]);
            assert_eq!(error(&form_headers(), &body), refused, "{body}");
        }
        let body = with(parameters, &[("unknown", "a"), ("unknown", "b"), ("audience", "")]);
        assert!(TokenRequest::parse(&form_headers(), body.as_bytes()).is_ok());
    }
}

#[test]
fn oauth_token_request_of_another_form_is_refused() {
    for (body, expected) in [
        (with(CODE, &[("grant_type", "implicit")]), "unsupported_grant_type"),
        (with(CODE, &[("grant_type", "Authorization_Code")]), "unsupported_grant_type"),
        (with(REFRESH, &[("scope", "a  b")]), "invalid_scope"),
        (with(CLIENT, &[("scope", " ")]), "invalid_scope"),
        (with(CODE, &[("code_verifier", &VERIFIER[..42])]), "invalid_request"),
        (with(CODE, &[("code_verifier", &"a".repeat(129))]), "invalid_request"),
        (with(CODE, &[("code_verifier", &format!("{VERIFIER}="))]), "invalid_request"),
        (with(CLIENT, &[("resource", "a"); 17]), "invalid_target"),
        (format!("{}&scope=%FF", body(CLIENT)), "invalid_request"),
    ] {
        let error = TokenRequest::parse(&form_headers(), body.as_bytes()).unwrap_err();
        assert_eq!((error.error(), error.status().as_u16()), (expected, 400), "{body}");
    }
}

#[test]
fn oauth_token_request_is_a_form() {
    let read = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
        }
        TokenRequest::parse(&headers, body(CLIENT).as_bytes()).map(|_| ()).map_err(|error| error.to_string())
    };
    for good in [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded;charset=UTF-8",
        "Application/X-WWW-Form-Urlencoded ; charset=utf-8",
    ] {
        assert_eq!(read(&[good]), Ok(()), "{good}");
    }
    let refused = Err("invalid_request: The body must be application/x-www-form-urlencoded".to_owned());
    for bad in ["", "application/json", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded2"] {
        assert_eq!(read(&[bad]), refused, "{bad}");
    }
    assert_eq!(read(&[]), refused);
    assert_eq!(read(&["application/x-www-form-urlencoded"; 2]), refused);
}

#[test]
fn oauth_token_request_names_resources() {
    let body = with(CLIENT, &[("resource", "https://a.example"), ("resource", ""), ("resource", "b")]);
    assert_eq!(parse(&body).resources, ["https://a.example", "b"]);
}

#[test]
fn oauth_client_authentication_is_read_from_header_or_body() {
    let grant = "grant_type=client_credentials";
    for (headers, extra, expected) in [
        (form_headers(), "", ("none", None, None)),
        (form_headers(), "&client_id=", ("none", None, None)),
        (form_headers(), "&client_id=a", ("public", Some("a"), None)),
        (form_headers(), "&client_id=a&client_secret=", ("public", Some("a"), None)),
        (form_headers(), "&client_id=a&client_secret=s%2B+", ("post", Some("a"), Some("s+ "))),
        (with_basic(b"a:s"), "", ("basic", Some("a"), Some("s"))),
        (with_basic(b"a:s"), "&client_id=a", ("basic", Some("a"), Some("s"))),
        (with_basic(b"a:s"), "&client_id=a&client_secret=", ("basic", Some("a"), Some("s"))),
        (with_basic(b"a:"), "", ("public", Some("a"), None)),
    ] {
        let read = authentication(&headers, &format!("{grant}{extra}")).unwrap();
        assert_eq!(told(&read), expected, "{extra}");
    }
}

#[test]
fn oauth_client_authentication_by_basic_is_form_decoded() {
    for (credentials, id, secret) in [
        (&b"a%3Ab:c%3Ad"[..], "a:b", "c:d"),
        (b"a:b:c", "a", "b:c"),
        (b"a+b:c+d", "a b", "c d"),
        (b"a%2Bb:c%2Bd", "a+b", "c+d"),
        (b"%C3%A9:%25", "é", "%"),
        ("é:ü".as_bytes(), "é", "ü"),
        (b"a:%zz%", "a", "%zz%"),
        (b"a:&=", "a", "&="),
        (b" a: b ", " a", " b "),
    ] {
        let read = authentication(&with_basic(credentials), &without(CLIENT, "client_id")).unwrap();
        assert_eq!(told(&read), ("basic", Some(id), Some(secret)));
    }
}

#[test]
fn oauth_client_authentication_scheme_has_any_case() {
    for value in ["Basic YTpz", "basic YTpz", "BASIC  YTpz ", "bAsIc YTpz"] {
        let read = authentication(&with_authorization(value.as_bytes()), "grant_type=client_credentials").unwrap();
        assert_eq!(told(&read), ("basic", Some("a"), Some("s")), "{value:?}");
    }
}

#[test]
fn oauth_client_authentication_that_cannot_be_read_is_invalid_client() {
    let refused = |headers: &HeaderMap, what: &str| {
        for body in [body(CLIENT), without(CLIENT, "client_id")] {
            let error = authentication(headers, &body).unwrap_err();
            assert_eq!((error.kind(), error.status().as_u16()), (TokenErrorKind::InvalidClient, 401), "{what}");
        }
    };
    for value in [
        "",
        "Basic",
        "Basic ",
        "BasicYTpz",
        "Basic\tYTpz",
        "Basic !!!!",
        "Basic YTpz=",
        "Basic YTpzZA",
        "Basic YTpzZB==",
        "Basic YT pz",
        "Basic YTpz, Basic YTpz",
        "Bearer YTpz",
        "DPoP YTpz",
        "Digest username=\"a\"",
    ] {
        refused(&with_authorization(value.as_bytes()), value);
    }
    refused(&with_authorization(b"Basic \xff\xff"), "not ASCII");
    for credentials in [&b"a"[..], b"", b":", b":s", b"a\xff:s", b"a:\xff", b"a:%FF", b"%C3:%A9"] {
        refused(&with_basic(credentials), &String::from_utf8_lossy(credentials));
    }
}

#[test]
fn oauth_client_authentication_in_two_ways_is_refused() {
    let both = "invalid_request: The client authenticates in header and body";
    for secret in ["s", "other"] {
        assert_eq!(error(&with_basic(b"spa:s"), &with(CLIENT, &[("client_secret", secret)])), both);
    }
    let body = format!("{}&client_secret=s", without(CLIENT, "client_id"));
    assert_eq!(error(&with_basic(b"spa:s"), &body), both);
    assert_eq!(error(&with_basic(b"spa:"), &body), both);
    assert_eq!(error(&form_headers(), &body), "invalid_request: client_secret comes without client_id");
    let different = "invalid_request: Header and body name different clients";
    assert_eq!(error(&with_basic(b"other:s"), &with(CLIENT, &[])), different);
    let mut headers = with_basic(b"spa:s");
    headers.append(AUTHORIZATION, headers[AUTHORIZATION].clone());
    let several = "invalid_request: There is more than one Authorization header";
    assert_eq!(error(&headers, &with(CLIENT, &[])), several);
}

#[test]
fn oauth_revocation_and_introspection_requests_have_a_token_and_a_client() {
    let headers = with_basic(b"job:s");
    for body in ["token=a.b.c", "token=a.b.c&token_type_hint=refresh_token", "token=a.b.c&token_type_hint=odd"] {
        let revocation = RevocationRequest::parse(&headers, body.as_bytes()).unwrap();
        let introspection = IntrospectionRequest::parse(&headers, body.as_bytes()).unwrap();
        assert_eq!((revocation.token.expose(), introspection.token.expose()), ("a.b.c", "a.b.c"));
        assert_eq!(told(&revocation.authentication), ("basic", Some("job"), Some("s")));
        assert_eq!(told(&introspection.authentication), ("basic", Some("job"), Some("s")));
        assert!(!format!("{revocation:?}{introspection:?}").contains("a.b.c"));
    }
    for body in ["", "token=", "token=a&token=b", "token=a&token_type_hint=a&token_type_hint=a"] {
        let errors = [
            RevocationRequest::parse(&headers, body.as_bytes()).unwrap_err(),
            IntrospectionRequest::parse(&headers, body.as_bytes()).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.kind() == TokenErrorKind::InvalidRequest), "{body}");
    }
    assert!(RevocationRequest::parse(&HeaderMap::new(), b"token=a").is_err());
}

#[test]
fn oauth_token_request_secrets_are_hidden_in_debug() {
    for parameters in [CODE, REFRESH, PASSWORD] {
        let request = parse(&with(parameters, &[("client_secret", "s3cret")]));
        let shown = format!("{request:?}");
        for hidden in ["c0de", VERIFIER, "r3fresh", "p4ss", "s3cret"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}

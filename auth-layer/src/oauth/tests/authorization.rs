use bytes::Bytes;
use form_urlencoded::{Serializer, parse};
use url::Url;

use super::super::*;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const ISSUER: &str = "https://auth.example/tenant";
const URI: &str = "https://app.example/cb?tenant=1";

/// A good request.
const GOOD: [(&str, &str); 7] = [
    ("response_type", "code"),
    ("client_id", "spa"),
    ("redirect_uri", URI),
    ("state", "af0 ifj+sldkj&=%é"),
    ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
    ("code_challenge_method", "S256"),
    ("scope", "profile"),
];

fn server() -> AuthorizationServer {
    AuthorizationServer::new(ISSUER).unwrap().audience("api").audience("orders")
}

fn client() -> Client {
    let client = Client::public("spa").unwrap().scope("profile orders".parse().unwrap());
    client.redirect_uri(URI.parse().unwrap()).redirect_uri("http://127.0.0.1/cb".parse().unwrap())
}

fn query(parameters: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// The good request, with some parameters in place of their like.
fn with(changed: &[(&str, &str)]) -> String {
    let kept = GOOD.into_iter().filter(|(name, _)| changed.iter().all(|(other, _)| name != other));
    query(&kept.chain(changed.iter().copied()).collect::<Vec<_>>())
}

fn without(name: &str) -> String {
    query(&GOOD.into_iter().filter(|(other, _)| *other != name).collect::<Vec<_>>())
}

fn check(query: &str) -> Result<AuthorizationRequest, AuthorizationError> {
    AuthorizationQuery::parse(query)?.check(&server(), Some(&client()))
}

fn page(query: &str) -> PageError {
    match check(query) {
        Err(AuthorizationError::Page(error)) => error,
        other => panic!("{query}: {other:?}"),
    }
}

fn redirect(query: &str) -> AuthorizationResponse {
    match check(query) {
        Err(AuthorizationError::Redirect(response)) => *response,
        other => panic!("{query}: {other:?}"),
    }
}

/// The parameters that a client receives.
fn received(response: &AuthorizationResponse) -> Vec<(String, String)> {
    let url = Url::parse(response.location()).unwrap();
    assert_eq!((url.origin().ascii_serialization(), url.path()), ("https://app.example".to_owned(), "/cb"));
    parse(url.query().unwrap().as_bytes()).into_owned().collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn oauth_authorization_returns_code_state_and_issuer_byte_for_byte() {
    let request = check(&query(&GOOD)).unwrap();
    assert_eq!((request.client_id(), request.redirect_uri()), ("spa", URI));
    assert_eq!((request.scope().to_string().as_str(), request.audiences()), ("profile", &[][..]));
    let response = request.grant(&Secret::from("a+b/c=&d"));
    assert_eq!(response.error(), None);
    let expected = [("tenant", "1"), ("code", "a+b/c=&d"), ("state", "af0 ifj+sldkj&=%é"), ("iss", ISSUER)];
    assert_eq!(received(&response), pairs(&expected));
    assert_eq!(
        response.location(),
        "https://app.example/cb?tenant=1&code=a%2Bb%2Fc%3D%26d&state=af0+ifj%2Bsldkj%26%3D%25%C3%A9\
         &iss=https%3A%2F%2Fauth.example%2Ftenant",
    );
}

#[test]
fn oauth_authorization_response_is_a_303_that_is_not_cached() {
    let response = check(&query(&GOOD)).unwrap().grant(&Secret::from("c"));
    let location = response.location().to_owned();
    let response = response.into_http::<Bytes>();
    assert_eq!(response.status(), 303);
    let headers = response.headers();
    assert_eq!(headers["location"], location);
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["pragma"], "no-cache");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    assert_eq!((headers.len(), response.body().len()), (4, 0));
}

#[test]
fn oauth_authorization_refusal_by_the_server_goes_to_the_client() {
    let request = check(&query(&GOOD)).unwrap();
    for (kind, error) in [
        (AuthorizationErrorKind::InvalidRequest, "invalid_request"),
        (AuthorizationErrorKind::UnauthorizedClient, "unauthorized_client"),
        (AuthorizationErrorKind::AccessDenied, "access_denied"),
        (AuthorizationErrorKind::UnsupportedResponseType, "unsupported_response_type"),
        (AuthorizationErrorKind::InvalidScope, "invalid_scope"),
        (AuthorizationErrorKind::InvalidTarget, "invalid_target"),
        (AuthorizationErrorKind::ServerError, "server_error"),
        (AuthorizationErrorKind::TemporarilyUnavailable, "temporarily_unavailable"),
    ] {
        let response = request.refuse(kind);
        let mut parameters = received(&response);
        let (name, description) = parameters.remove(2);
        assert_eq!((name.as_str(), description.is_empty()), ("error_description", false));
        let expected = [("tenant", "1"), ("error", error), ("state", "af0 ifj+sldkj&=%é"), ("iss", ISSUER)];
        assert_eq!(parameters, pairs(&expected));
        assert_eq!((response.error(), kind.error()), (Some(kind), error));
    }
}

#[test]
fn oauth_authorization_without_state_returns_none() {
    for query in [without("state"), with(&[("state", "")])] {
        let response = check(&query).unwrap().grant(&Secret::from("c"));
        assert_eq!(received(&response), pairs(&[("tenant", "1"), ("code", "c"), ("iss", ISSUER)]));
    }
}

#[test]
fn oauth_authorization_of_an_unknown_client_is_a_page() {
    assert_eq!(page(&without("client_id")), PageError::ClientMissing);
    assert_eq!(page(&with(&[("client_id", "")])), PageError::ClientMissing);
    assert_eq!(page(&with(&[("client_id", "spa"), ("client_id", "spa")])), PageError::ClientRepeated);
    assert_eq!(page(&with(&[("client_id", "spa"), ("client_id", "")])), PageError::ClientRepeated);
    for id in ["other", "SPA", "spa ", "spa\0"] {
        assert_eq!(page(&with(&[("client_id", id)])), PageError::ClientUnknown, "{id:?}");
    }
    let good = query(&GOOD);
    let refused = AuthorizationQuery::parse(&good).unwrap().check(&server(), None);
    assert!(matches!(refused, Err(AuthorizationError::Page(PageError::ClientUnknown))));
}

#[test]
fn oauth_authorization_with_an_unknown_redirect_uri_is_a_page() {
    assert_eq!(page(&without("redirect_uri")), PageError::RedirectUriMissing);
    assert_eq!(page(&with(&[("redirect_uri", "")])), PageError::RedirectUriMissing);
    assert_eq!(page(&with(&[("redirect_uri", URI), ("redirect_uri", URI)])), PageError::RedirectUriRepeated);
    for uri in [
        "https://app.example/cb",
        "https://app.example/cb?tenant=1&a=b",
        "https://app.example/cb?tenant=1#",
        "https://app.example/cb?tenant=%31",
        "https://app.example@evil.example/cb?tenant=1",
        "https://evil.example/cb?tenant=1",
        "https%3A%2F%2Fapp.example%2Fcb%3Ftenant%3D1",
        "//app.example/cb?tenant=1",
        "/cb",
        "\\\\evil.example",
        "javascript:alert(1)",
        "data:text/html,a",
        "http://localhost/cb",
        "http://127.0.0.1:80@evil.example/cb",
    ] {
        assert_eq!(page(&with(&[("redirect_uri", uri)])), PageError::RedirectUriUnknown, "{uri}");
    }
    let bare = Client::public("spa").unwrap();
    let query = without("redirect_uri");
    let refused = AuthorizationQuery::parse(&query).unwrap().check(&server(), Some(&bare));
    assert!(matches!(refused, Err(AuthorizationError::Page(PageError::RedirectUriMissing))));
}

#[test]
fn oauth_authorization_that_cannot_be_read_is_a_page() {
    for query in ["state=%FF&", "%C3=1&"].map(|start| format!("{start}{}", query(&GOOD))) {
        assert_eq!(page(&query), PageError::Encoding);
    }
    for query in ["", "&", "=", "?"] {
        assert_eq!(page(query), PageError::ClientMissing);
    }
}

#[test]
fn oauth_authorization_faults_go_to_the_client() {
    let invalid_request = [
        (without("response_type"), "response_type is missing"),
        (with(&[("response_type", "")]), "response_type is missing"),
        (with(&[("response_type", "code"), ("response_type", "code")]), "A parameter comes more than once"),
        (with(&[("scope", "profile"), ("scope", "profile")]), "A parameter comes more than once"),
        (with(&[("scope", "profile"), ("scope", "")]), "A parameter comes more than once"),
        (with(&[("response_mode", "query"), ("response_mode", "query")]), "A parameter comes more than once"),
        (with(&[("response_mode", "fragment")]), "response_mode must be query"),
        (with(&[("response_mode", "form_post")]), "response_mode must be query"),
        (without("code_challenge"), "code_challenge is missing"),
        (with(&[("code_challenge", "")]), "code_challenge is missing"),
        (with(&[("code_challenge", "a"), ("code_challenge", "a")]), "A parameter comes more than once"),
        (with(&[("code_challenge", "abc")]), "code_challenge is not 43 characters of base64url"),
        (without("code_challenge_method"), "code_challenge_method must be S256"),
        (with(&[("code_challenge_method", "")]), "code_challenge_method must be S256"),
        (with(&[("code_challenge_method", "plain")]), "code_challenge_method must be S256"),
    ];
    let others = [
        (with(&[("response_type", "token")]), "unsupported_response_type"),
        (with(&[("response_type", "code token")]), "unsupported_response_type"),
        (with(&[("response_type", "CODE")]), "unsupported_response_type"),
        (with(&[("scope", "admin")]), "invalid_scope"),
        (with(&[("scope", "profile admin")]), "invalid_scope"),
        (with(&[("scope", "profile  orders")]), "invalid_scope"),
        (with(&[("scope", "é")]), "invalid_scope"),
        (with(&[("resource", "payroll")]), "invalid_target"),
        (with(&[("resource", "api"), ("resource", "payroll")]), "invalid_target"),
        (with(&[("resource", "api"); 17]), "invalid_target"),
    ];
    let described = invalid_request.into_iter().map(|(query, description)| (query, "invalid_request", description));
    let others = others.into_iter().map(|(query, error)| {
        let description = match error {
            "unsupported_response_type" => "The response type is not supported",
            "invalid_scope" => "The scope is unknown or more than the client may have",
            _ => "The resource is unknown",
        };
        (query, error, description)
    });
    for (query, error, description) in described.chain(others) {
        let expected = [
            ("tenant", "1"),
            ("error", error),
            ("error_description", description),
            ("state", "af0 ifj+sldkj&=%é"),
            ("iss", ISSUER),
        ];
        assert_eq!(received(&redirect(&query)), pairs(&expected), "{query}");
    }
}

#[test]
fn oauth_authorization_with_state_twice_returns_no_state() {
    let response = redirect(&with(&[("state", "a"), ("state", "a")]));
    let expected = [
        ("tenant", "1"),
        ("error", "invalid_request"),
        ("error_description", "A parameter comes more than once"),
        ("iss", ISSUER),
    ];
    assert_eq!(received(&response), pairs(&expected));
}

#[test]
fn oauth_authorization_ignores_unknown_parameters() {
    let others = [("prompt", "none"), ("prompt", "login"), ("nonce", "1"), ("response_mode", "query"), ("code", "c")];
    assert!(check(&with(&others)).is_ok());
}

#[test]
fn oauth_authorization_scope_and_resources_have_defaults() {
    for query in [without("scope"), with(&[("scope", "")])] {
        let request = check(&query).unwrap();
        assert_eq!((request.scope().to_string().as_str(), request.is_scope_sent()), ("profile orders", false));
    }
    assert!(check(&with(&[("scope", "profile orders")])).unwrap().is_scope_sent());
    let resources = [("resource", "orders"), ("resource", ISSUER), ("resource", "orders"), ("resource", "")];
    assert_eq!(check(&with(&resources)).unwrap().audiences(), ["orders", "api"]);
}

#[test]
fn oauth_authorization_goes_to_the_port_that_was_sent() {
    let uri = "http://127.0.0.1:51004/cb";
    let request = check(&with(&[("redirect_uri", uri)])).unwrap();
    assert_eq!((request.redirect_uri(), request.form_action()), (uri, "http://127.0.0.1:51004".to_owned()));
    let location = request.grant(&Secret::from("c")).location().to_owned();
    assert!(location.starts_with("http://127.0.0.1:51004/cb?code=c&"), "{location}");
    assert_eq!(request.binding().check("spa", Some(uri), VERIFIER), Ok(()));
    assert!(request.binding().check("spa", Some("http://127.0.0.1/cb"), VERIFIER).is_err());
    assert!(request.binding().check("spa", None, VERIFIER).is_err());
}

#[test]
fn oauth_authorization_without_redirect_uri_uses_the_only_one() {
    let client = Client::public("spa").unwrap().redirect_uri("com.example.app:/cb".parse().unwrap());
    for query in [without("redirect_uri"), with(&[("redirect_uri", "")])] {
        let query = query.replace("scope=profile", "");
        let request = AuthorizationQuery::parse(&query).unwrap().check(&server(), Some(&client)).unwrap();
        assert_eq!(request.form_action(), "com.example.app:");
        let location = request.grant(&Secret::from("c")).location().to_owned();
        assert!(location.starts_with("com.example.app:/cb?code=c&"), "{location}");
        assert_eq!(request.binding().check("spa", None, VERIFIER), Ok(()));
        assert_eq!(request.binding().check("spa", Some("com.example.app:/cb"), VERIFIER), Ok(()));
        assert!(request.binding().check("spa", Some("com.example.app:/other"), VERIFIER).is_err());
    }
}

#[test]
fn oauth_authorization_secrets_are_hidden_in_debug() {
    let good = query(&GOOD);
    let query = AuthorizationQuery::parse(&good).unwrap();
    let mut shown = vec![format!("{query:?}")];
    let request = query.check(&server(), Some(&client())).unwrap();
    shown.extend([format!("{request:?}"), format!("{:?}", request.binding())]);
    shown.push(format!("{:?}", request.grant(&Secret::from("SplxlOBe"))));
    shown.push(format!("{:?}", check(&with(&[("scope", "admin")])).unwrap_err()));
    let shown = shown.join(" ");
    for hidden in ["SplxlOBe", "sldkj", "E9Melhoa"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

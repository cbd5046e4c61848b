//! Properties of every input: no panic, no redirect to an unregistered URI, no secret in `Debug`,
//! and a cost that is linear in the length.

use std::time::{Duration, Instant};

use form_urlencoded::Serializer;
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use proptest::{collection::vec, prelude::*};
use url::Url;

use super::super::*;

static REGISTERED: [&str; 4] =
    ["https://app.example/cb", "http://127.0.0.1/cb", "http://[::1]:8080/cb?a=b", "com.example.app:/cb"];

static NAMES: [&str; 18] = [
    "response_type",
    "client_id",
    "client_secret",
    "redirect_uri",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
    "response_mode",
    "resource",
    "grant_type",
    "code",
    "code_verifier",
    "refresh_token",
    "username",
    "password",
    "token",
    "other",
];

static VALUES: [&str; 14] = [
    "",
    "code",
    "spa",
    "S256",
    "plain",
    "query",
    "profile",
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "password",
    "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "https://app.example/cb",
    "http://127.0.0.1:51004/cb",
];

fn server() -> AuthorizationServer {
    AuthorizationServer::new("https://auth.example").unwrap().audience("api")
}

fn client() -> Client {
    let client = Client::public("spa").unwrap().scope("profile".parse().unwrap());
    REGISTERED.into_iter().fold(client, |client, uri| client.redirect_uri(uri.parse().unwrap()))
}

/// A form of known names with good and odd values, some of them broken.
fn form() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        8 => prop::sample::select(&VALUES[..]).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => uri(),
    ];
    let pairs = vec((prop::sample::select(&NAMES[..]), value), 0..14);
    let form = pairs.prop_map(|pairs| Serializer::new(String::new()).extend_pairs(pairs).finish());
    prop_oneof![4 => form, 1 => "[a-z_%&=+0-9A-F]{0,200}"]
}

/// A registered URI with one change, or none.
fn uri() -> impl Strategy<Value = String> {
    let change = prop_oneof![
        Just(String::new()),
        "[a-z:/@?#.%\\\\ 0-9\\[\\]]{1,6}",
        Just("evil.example".to_owned()),
        Just("@evil.example/".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    (prop::sample::select(&REGISTERED[..]), any::<prop::sample::Index>(), 0..3_usize, change).prop_map(
        |(uri, at, removed, inserted)| {
            let at = at.index(uri.len() + 1);
            let end = (at + removed).min(uri.len());
            [&uri[..at], &inserted, &uri[end..]].concat()
        },
    )
}

fn headers(authorization: Option<&[u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    if let Some(value) = authorization.and_then(|value| HeaderValue::from_bytes(value).ok()) {
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

/// Whether a URL parser of browsers finds a registered scheme, host and path. The port of loopback
/// addresses is free.
fn is_registered_place(location: &str) -> bool {
    let place = |url: &Url| {
        let is_loopback = url.scheme() == "http";
        let port = if is_loopback { None } else { url.port() };
        let user = (url.username().to_owned(), url.password().map(str::to_owned));
        (url.scheme().to_owned(), url.host_str().map(str::to_owned), port, url.path().to_owned(), user)
    };
    let location = Url::parse(location).unwrap();
    REGISTERED.iter().any(|uri| place(&Url::parse(uri).unwrap()) == place(&location))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn oauth_authorization_redirects_to_registered_uris_alone(form in form(), uri in uri(), state in any::<String>()) {
        let known = Serializer::new(String::new())
            .extend_pairs([("client_id", "spa"), ("redirect_uri", &uri), ("state", &state)])
            .extend_pairs([("response_type", "code"), ("code_challenge_method", "S256")])
            .extend_pairs([("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")])
            .finish();
        for query in [&form, &known, &format!("{known}&{form}")] {
            let Ok(parsed) = AuthorizationQuery::parse(query) else { continue };
            let response = match parsed.check(&server(), Some(&client())) {
                Ok(request) => request.grant(&Secret::from("c0de")),
                Err(AuthorizationError::Redirect(response)) => *response,
                Err(AuthorizationError::Page(_)) => continue,
            };
            prop_assert!(is_registered_place(response.location()), "{}", response.location());
            let location = Url::parse(response.location()).unwrap();
            prop_assert_eq!(location.fragment(), None);
            let count = |name: &str| location.query_pairs().filter(|(other, _)| other == name).count();
            prop_assert_eq!((count("iss"), count("code") + count("error")), (1, 1));
            if query == &known {
                let returned = location.query_pairs().find(|(name, _)| name == "state");
                prop_assert_eq!(returned.map(|(_, value)| value.into_owned()).unwrap_or_default(), state.clone());
            }
            let http = response.into_http::<bytes::Bytes>();
            prop_assert_eq!(http.status(), 303);
        }
    }

    #[test]
    fn oauth_token_requests_never_panic(form in form(), authorization in vec(any::<u8>(), 0..60), basic in any::<bool>()) {
        let authorization = if basic { [b"Basic ", &authorization[..]].concat() } else { authorization };
        for headers in [headers(None), headers(Some(&authorization))] {
            if let Ok(request) = TokenRequest::parse(&headers, form.as_bytes()) {
                let _ = (client().authenticate(&request.authentication), client().check_grant(&request.grant));
                let _ = server().audiences_for(&request.resources);
            }
            let _ = RevocationRequest::parse(&headers, form.as_bytes());
            let _ = IntrospectionRequest::parse(&headers, form.as_bytes());
        }
    }

    #[test]
    fn oauth_token_request_bytes_never_panic(body in vec(any::<u8>(), 0..300)) {
        if let Err(error) = TokenRequest::parse(&headers(None), &body) {
            let body = error.into_http::<bytes::Bytes>().into_body();
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        }
    }

    #[test]
    fn oauth_basic_credentials_come_through(id in "[ -~]{1,40}", secret in any::<String>()) {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let basic = STANDARD.encode(format!("{}:{}", encoded(&id), encoded(&secret)));
        let headers = headers(Some(format!("Basic {basic}").as_bytes()));
        let request = TokenRequest::parse(&headers, b"grant_type=client_credentials").unwrap();
        prop_assert_eq!(request.authentication.client_id(), Some(id.as_str()));
        let read = request.authentication.secret().map(|secret| secret.expose().to_owned()).unwrap_or_default();
        prop_assert_eq!(read, secret);
    }

    #[test]
    fn oauth_redirect_uri_matches_itself_and_reads_as_itself(uri in uri(), other in uri()) {
        let Ok(parsed) = uri.parse::<RedirectUri>() else { return Ok(()) };
        prop_assert_eq!(parsed.as_str(), &uri);
        prop_assert!(parsed.matches(&uri));
        if parsed.matches(&other) && uri != other {
            prop_assert!(uri.starts_with("http://127.0.0.1") || uri.starts_with("http://[::1]"), "{} {}", uri, other);
            prop_assert!(other.parse::<RedirectUri>().is_ok() || other.contains(":80"), "{}", other);
        }
    }

    #[test]
    fn oauth_pkce_of_any_text_never_panics(method in any::<Option<String>>(), challenge in any::<String>()) {
        if let Ok(parsed) = CodeChallenge::parse(method.as_deref(), Some(&challenge)) {
            prop_assert_eq!(parsed.to_string(), challenge.clone());
        }
        prop_assert!(!CodeChallenge::of(&challenge).verify("short"));
    }
}

/// With quadratic work, 1 MiB of parameters would take minutes.
#[test]
fn oauth_requests_cost_what_their_length_warrants() {
    const SIZE: usize = 1 << 20;
    let headers = headers(Some(&[b"Basic ", &b"YTpz".repeat(2_000)[..]].concat()));
    let named = (0..SIZE / 10).fold(String::new(), |form, n| form + "n" + &n.to_string() + "=&");
    for part in ["&", "=", "a=&", "%", "+", "%26", "resource=api&", "scope=a&", "code=&", "other=a&", "state=%C3%A9&"] {
        let text = part.repeat(SIZE / part.len());
        let query = format!("client_id=spa&redirect_uri=https://app.example/cb&{text}");
        let scope = format!("grant_type=client_credentials&scope={}", "a+".repeat(SIZE / 2));
        let started = Instant::now();
        if let Ok(query) = AuthorizationQuery::parse(&query) {
            let _ = query.check(&server(), Some(&client()));
        }
        for body in [&text, &query, &named, &scope] {
            let _ = TokenRequest::parse(&headers, body.as_bytes());
        }
        let _ = (text.parse::<RedirectUri>(), client().redirect_uris()[1].matches(&text), Client::public(&*text));
        let elapsed = started.elapsed();
        assert!(elapsed < Duration::from_secs(20), "{part}: {elapsed:?}");
    }
}

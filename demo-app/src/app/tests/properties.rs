//! Checks properties of every request: no 5xx, no panic, errors with a description, and a cost that
//! is linear in the size.

use allocation_counter::AllocationInfo;
use http::HeaderValue;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};
use tokio::runtime::{Builder, Runtime};

use super::*;

/// Each route that takes a body, and one that takes only a token.
const ROUTES: [&str; 7] = [
    "/auth/register",
    "/auth/login",
    "/auth/refresh",
    "/auth/password",
    "/auth/logout",
    "/auth/single-use",
    "/demo/single-use",
];

/// The members that these bodies can have.
const NAMES: [&str; 7] =
    ["username", "password", "scope", "refresh_token", "current_password", "new_password", "password_hash"];

/// A JSON text before parsing, so that an object can repeat a member.
#[derive(Clone, Debug)]
enum JsonText {
    /// Written unchanged.
    Raw(String),
    Text(String),
    Array(Vec<JsonText>),
    Object(Vec<(String, JsonText)>),
}

impl std::fmt::Display for JsonText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let separated = |f: &mut std::fmt::Formatter<'_>, at| if at > 0 { f.write_str(",") } else { Ok(()) };
        match self {
            Self::Raw(text) => f.write_str(text),
            Self::Text(text) => write!(f, "{}", Value::from(text.as_str())),
            Self::Array(elements) => {
                f.write_str("[")?;
                for (at, element) in elements.iter().enumerate() {
                    separated(f, at)?;
                    write!(f, "{element}")?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (at, (name, value)) in members.iter().enumerate() {
                    separated(f, at)?;
                    write!(f, "{}:{value}", Value::from(name.as_str()))?;
                }
                f.write_str("}")
            }
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        2 => "[a-z]{3,12}",
        2 => prop::sample::select(vec![PASSWORD, "battery staple", "profile", "admin profile", "ada", "password", ""])
            .prop_map(str::to_owned),
        1 => "[a-z\u{300}-\u{345}\u{3b1}\u{ac00}\u{1100}-\u{1112}\u{958}\u{0}]{0,300}",
        1 => (any::<char>(), 0_usize..3_000).prop_map(|(letter, times)| String::from(letter).repeat(times)),
    ]
}

fn json() -> impl Strategy<Value = JsonText> {
    let raw = prop::sample::select(vec![
        "null",
        "true",
        "0",
        "-0",
        "1e400",
        "1e-400",
        "123456789012345678901234567890",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "NaN",
        "",
    ]);
    let leaf =
        prop_oneof![4 => text().prop_map(JsonText::Text), 1 => raw.prop_map(|raw| JsonText::Raw(raw.to_owned()))];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let name = prop_oneof![3 => prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned), 1 => text()];
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(JsonText::Array),
            vec((name, inner), 0..6).prop_map(JsonText::Object),
        ]
    })
}

/// Generates an object with the members of a route, and sometimes others.
fn object(path: &str) -> impl Strategy<Value = JsonText> + use<> {
    let names = match path {
        "/auth/register" => &NAMES[..2],
        "/auth/login" => &NAMES[..3],
        "/auth/refresh" => &NAMES[3..4],
        "/auth/password" => &NAMES[4..6],
        _ => &NAMES[..],
    };
    let right: Vec<_> = names.iter().map(|name| (Just((*name).to_owned()), text().prop_map(JsonText::Text))).collect();
    let more = vec((text(), json()), 0..2);
    (right, prop_oneof![2 => Just(Vec::new()), 1 => more]).prop_map(|(mut members, more)| {
        members.extend(more);
        JsonText::Object(members)
    })
}

fn body(path: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let json = prop_oneof![4 => object(path), 1 => json()].prop_map(|json| json.to_string().into_bytes());
    let broken = (json.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
        let at = at.index(bytes.len() + 1);
        bytes.insert(at, byte);
        bytes
    });
    let cut = (json.clone(), any::<prop::sample::Index>()).prop_map(|(mut bytes, at)| {
        bytes.truncate(at.index(bytes.len() + 1));
        bytes
    });
    let depth = (0_usize..400).prop_map(|depth| ("[".repeat(depth) + &"]".repeat(depth)).into_bytes());
    prop_oneof![6 => json, 2 => broken, 1 => cut, 1 => depth, 1 => vec(any::<u8>(), 0..200)]
}

#[derive(Clone, Debug)]
enum Credential {
    None,
    Good,
    /// A valid token with one byte changed.
    Changed(prop::sample::Index, u8),
    Other(Vec<u8>),
    Two,
}

fn credential() -> impl Strategy<Value = Credential> {
    prop_oneof![
        1 => Just(Credential::None),
        4 => Just(Credential::Good),
        2 => (any::<prop::sample::Index>(), 32_u8..=255).prop_map(|(at, byte)| Credential::Changed(at, byte)),
        1 => vec(any::<u8>(), 0..200).prop_map(Credential::Other),
        1 => r"(Bearer|bearer|BEARER|Basic|DPoP)[ \t]{0,3}[-A-Za-z0-9._~+/= ]{0,200}".prop_map(|text| Credential::Other(text.into())),
        1 => Just(Credential::Two),
    ]
}

fn content_type() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let right = prop::sample::select(vec!["application/json", "Application/JSON ; charset=utf-8", "application/json;"]);
    let one = prop_oneof![15 => right.prop_map(|text| text.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..60)];
    prop_oneof![9 => vec(one.clone(), 1..=1), 1 => vec(one, 0..3)]
}

fn content_length() -> impl Strategy<Value = Option<String>> {
    let odd = prop::sample::select(vec!["0", "-1", "1", "00", "18446744073709551616", "1, 1", "", "x"])
        .prop_map(str::to_owned);
    prop_oneof![4 => Just(None), 1 => odd.prop_map(Some)]
}

/// A service without rate limits, on a runtime whose paused clock only timers advance.
struct TestService {
    runtime: Runtime,
    demo: TestApp,
    hash: String,
}

impl TestService {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (demo, hash) = runtime.block_on(async {
            let mut demo = test_app();
            demo.state_mut().rate_limit = None;
            let hash = demo.state.passwords.hash(&PASSWORD.to_owned().into()).await.unwrap();
            (demo, hash)
        });
        Self { runtime, demo, hash }
    }

    /// Returns the access token of a new user.
    fn token(&self) -> String {
        self.runtime.block_on(async {
            let name = uuid::Uuid::new_v4().to_string();
            self.demo.add_user(&name, self.hash.clone(), Role::User).await;
            self.demo.token_of(&name, &name).await
        })
    }

    /// Returns the allocations of a request in this thread. Hashing is left out: it costs the same
    /// for every short password.
    fn cost(&self, request: Request<Body>) -> (StatusCode, AllocationInfo) {
        let mut status = None;
        let cost = allocation_counter::measure(|| {
            status = Some(self.runtime.block_on(self.demo.send(request)).status);
        });
        (status.unwrap(), cost)
    }
}

/// `TestApp::send` asserts that an error has both members and a 401 has a challenge.
#[test]
fn request_of_any_form_is_never_answered_5xx() {
    let service = TestService::new();
    let strategy = prop::sample::select(ROUTES.to_vec())
        .prop_flat_map(|path| (Just(path), body(path), credential(), content_type(), content_length()));
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() });
    let ran = runner.run(&strategy, |(path, body, credential, content_types, content_length)| {
        let mut request = Request::post(path).body(Body::from(body)).unwrap();
        let headers = request.headers_mut();
        for value in content_types.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
            headers.append(header::CONTENT_TYPE, value);
        }
        if let Some(value) = content_length {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::try_from(value).unwrap());
        }
        let good = || format!("Bearer {}", service.token()).into_bytes();
        let credentials = match credential {
            Credential::None => vec![],
            Credential::Good => vec![good()],
            Credential::Changed(at, byte) => {
                let mut changed = good();
                let at = at.index(changed.len());
                changed[at] = byte;
                vec![changed]
            }
            Credential::Other(other) => vec![other],
            Credential::Two => vec![good(), good()],
        };
        for value in credentials.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
            headers.append(header::AUTHORIZATION, value);
        }
        let answer = service.runtime.block_on(service.demo.send(request));
        if answer.status.is_server_error() {
            return Err(TestCaseError::fail(format!("{path}: {} {}", answer.status, answer.body)));
        }
        Ok(())
    });
    ran.unwrap();
}

/// Generates a header value from these pieces and some others.
fn pieces(pieces: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(pieces).prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..20),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

#[test]
fn request_with_cookies_of_any_form_is_never_answered_5xx() {
    let service = TestService::new();
    let page = service.runtime.block_on(async {
        service.demo.add_user("ada", service.hash.clone(), Role::User).await;
        service.demo.open_page("ada").await
    });
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let names = ["__Host-access=", "__Host-refresh=", "; ", ";", "=", "\"", " "];
    let strategy = (
        prop::sample::select(vec!["GET", "POST", "DELETE"]),
        prop::sample::select(vec![
            "/me",
            "/auth/refresh",
            "/auth/single-use",
            "/auth/login?transport=cookie",
            "/nowhere",
        ]),
        vec(pieces([texts(&names), texts(&[&page.access, &page.refresh])].concat()), 0..3),
        pieces(texts(&[&page.csrf, "", "x"])),
        pieces(texts(&["https://", "http://", "null", "demo.example", ":", "@", "[::1]", "/"])),
        pieces(texts(&["same-origin", "none", "same-site", "cross-site"])),
    );
    let config = ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() };
    let ran = TestRunner::new(config).run(&strategy, |(method, uri, cookies, csrf, origin, site)| {
        let mut request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        let others = [("x-csrf-token", csrf), ("origin", origin), ("sec-fetch-site", site)];
        for (name, value) in cookies.into_iter().map(|cookie| ("cookie", cookie)).chain(others) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                request.headers_mut().append(name, value);
            }
        }
        let answer = service.runtime.block_on(service.demo.send(request));
        if answer.status.is_server_error() {
            return Err(TestCaseError::fail(format!("{method} {uri}: {} {}", answer.status, answer.body)));
        }
        Ok(())
    });
    ran.unwrap();
}

/// Returns bodies of about `size` bytes that are costly for a careless parser.
fn shapes(size: usize) -> Vec<(&'static str, String)> {
    let many = |piece: &dyn Fn(usize) -> String| {
        let mut text = String::with_capacity(size + 32);
        let mut number = 0;
        while text.len() < size {
            text.push_str(&piece(number));
            number += 1;
        }
        text
    };
    let password = |text: &str| format!(r#"{{"username":"nobody","password":"{text}"}}"#);
    vec![
        ("members", format!("{{{}\"last\":0}}", many(&|number| format!("\"m{number}\":0,")))),
        ("one member often", format!("{{{}\"last\":0}}", many(&|_| r#""m":{"x":0},"#.to_owned()))),
        ("a member twice, late", format!("{{{}\"m0\":0}}", many(&|number| format!("\"m{number}\":0,")))),
        ("objects in a list", format!(r#"{{"list":[{}0]}}"#, many(&|_| r#"{"a":0,"b":1},"#.to_owned()))),
        ("numbers", format!(r#"{{"list":[{}0]}}"#, many(&|_| "0,".to_owned()))),
        ("one number", format!(r#"{{"username":{}}}"#, many(&|_| "1".to_owned()))),
        ("spaces", format!("{{{}}}", many(&|_| " \n".to_owned()))),
        ("open brackets", many(&|_| "[".to_owned())),
        ("escapes in a name", format!(r#"{{"{}":0}}"#, many(&|_| r"\u0061".to_owned()))),
        ("a username", format!(r#"{{"username":"{}","password":"x"}}"#, many(&|_| "İ".to_owned()))),
        ("a password", password(&many(&|_| "a".to_owned()))),
        ("a password of escapes", password(&many(&|_| r"\u00e9".to_owned()))),
        (
            "a password of accents in the wrong order",
            password(&format!("a{}", many(&|_| "\u{345}\u{300}\u{323}".to_owned()))),
        ),
        ("a password that NFC takes apart", password(&many(&|_| "\u{1d160}".to_owned()))),
        ("a refresh token", format!(r#"{{"refresh_token":"{}"}}"#, many(&|_| "e30.".to_owned()))),
    ]
}

/// Compares the growth from 2 to 4 times the size with that from 1 to 2 times. A linear cost gives
/// 2, a quadratic one 4; tables that double shift it a little.
#[test]
fn request_cost_is_linear_in_size() {
    const SMALL: usize = 15_000;

    let service = TestService::new();
    let token = service.token();
    let cost = |path: &str, body: &str| {
        let request = || {
            Request::post(path)
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::AUTHORIZATION, format!("Bearer {token}"))
                .body(Body::from(body.to_owned()))
                .unwrap()
        };
        // The first request of its kind fills caches.
        service.cost(request());
        let (status, cost) = service.cost(request());
        assert!(status.is_client_error(), "{path}: {status}");
        (cost.count_total, cost.bytes_total)
    };
    for path in ["/auth/register", "/auth/login", "/auth/refresh", "/auth/password"] {
        let [one, two, four] = [1, 2, 4].map(|times| shapes(SMALL * times));
        for (((name, one), (_, two)), (_, four)) in one.iter().zip(&two).zip(&four) {
            let [one, two, four] = [one, two, four].map(|body| cost(path, body));
            let linear = |one: u64, two: u64, four: u64, noise: u64| {
                four.saturating_sub(two) <= 3 * two.saturating_sub(one) + noise
            };
            assert!(linear(one.0, two.0, four.0, 200), "allocations at {path}, {name}: {one:?} {two:?} {four:?}");
            assert!(linear(one.1, two.1, four.1, 200_000), "bytes at {path}, {name}: {one:?} {two:?} {four:?}");
            let most = 100 * u64::try_from(4 * SMALL).unwrap();
            assert!(four.1 <= most, "bytes at {path}, {name}: {}", four.1);
        }
    }
}

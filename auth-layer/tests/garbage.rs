//! Garbage in a request is refused as the client's fault, at a cost in proportion to its size.
//!
//! Cost is counted in allocations of the test's own thread, which do not depend on how busy the
//! machine is. Comparisons of scope tokens are counted beside the parser.

#[path = "support/fuzz_targets.rs"]
mod fuzz_targets;

use std::{fs, path::Path};

use auth_layer::{
    AuthLayer, Authority, Claims,
    clock::Timestamp,
    dpop::{Origin, ProofCheck, ProofFault},
    keys::{Keyring, SigningKey},
    store::MemoryStore,
    trust::CheckOrder,
};
use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use axum::{Router, body::Body, http::Request, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Method, StatusCode, header::AUTHORIZATION};
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;

const SECRET: &[u8] = b"a secret of more than 32 bytes, as HS256 demands";

#[derive(Debug, Serialize, Deserialize)]
struct Tenant {
    tenant: u32,
    ratio: f64,
}

/// An authority that verifies signatures first, so that it reads the custom claims of tokens that
/// have no record.
fn authority() -> Authority {
    let keys = Keyring::new(SigningKey::from_secret("shared", SECRET).unwrap());
    Authority::builder("https://issuer", MemoryStore::new())
        .audience("api")
        .keys(keys)
        .check_order(CheckOrder::SignatureFirst)
        .build()
        .unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Returns a token with this header and payload and a valid signature.
fn signed(header: &str, payload: &str) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn header() -> Value {
    json!({ "typ": "at+jwt", "alg": "HS256", "kid": "shared" })
}

fn payload() -> Value {
    let id = "018f2a3e-7b1c-7def-8abc-0123456789ab";
    json!({
        "iss": "https://issuer", "aud": "api", "sub": id, "jti": id, "sid": id, "client_id": "web",
        "iat": 1, "exp": 253_402_300_799_i64, "scope": "profile", "tenant": 7, "ratio": 0.5,
    })
}

/// Returns the answer of the layer to these credentials.
fn answer(credentials: HeaderValue) -> (StatusCode, Value) {
    let layer = AuthLayer::builder(authority()).custom_claims::<Tenant>().build();
    let app = Router::new().route("/", get(async |_: Claims| ())).layer(layer);
    let request = Request::get("/").header(AUTHORIZATION, credentials).body(Body::empty()).unwrap();
    runtime().block_on(async {
        let response = app.oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    })
}

fn expect_client_error(credentials: HeaderValue) -> Result<(), TestCaseError> {
    let (status, body) = answer(credentials);
    let expected = match body["error"].as_str() {
        Some("unauthorized" | "invalid_token") => StatusCode::UNAUTHORIZED,
        Some("invalid_request") => StatusCode::BAD_REQUEST,
        other => return Err(TestCaseError::fail(format!("{status}, {other:?}"))),
    };
    prop_assert_eq!(status, expected);
    prop_assert!(body["error_description"].is_string());
    Ok(())
}

/// Any JSON, deep and wide.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[!-~ ]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An object with some members replaced, removed or added.
fn mutated(right: Value) -> impl Strategy<Value = Value> {
    let names: Vec<String> = right.as_object().unwrap().keys().cloned().collect();
    let name = prop_oneof![prop::sample::select(names), any::<String>(), "(crit|jwk|jku|x5c|nbf|cnf)"];
    prop::collection::vec((name, prop::option::of(any_json())), 0..4).prop_map(move |changes| {
        let mut object = right.clone();
        for (name, value) in changes {
            let members = object.as_object_mut().unwrap();
            match value {
                Some(value) => members.insert(name, value),
                None => members.remove(&name),
            };
        }
        object
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_in_the_authorization_header_is_the_clients_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            expect_client_error(value)?;
        }
    }

    #[test]
    fn garbage_behind_bearer_is_the_clients_fault(text in "(?i:bearer) {0,2}[A-Za-z0-9_.~+/=-]{0,300}") {
        expect_client_error(HeaderValue::try_from(text).unwrap())?;
    }

    #[test]
    fn garbage_with_a_valid_signature_is_the_clients_fault(
        header in prop_oneof![mutated(header()).prop_map(|json| json.to_string()), any::<String>()],
        payload in prop_oneof![mutated(payload()).prop_map(|json| json.to_string()), any::<String>()],
    ) {
        expect_client_error(HeaderValue::try_from(format!("Bearer {}", signed(&header, &payload))).unwrap())?;
    }

    #[test]
    fn garbage_with_a_byte_changed_is_the_clients_fault(at in any::<prop::sample::Index>(), byte in 0x21..=0x7E_u8) {
        let mut token = signed(&header().to_string(), &payload().to_string()).into_bytes();
        let at = at.index(token.len());
        token[at] = byte;
        expect_client_error(HeaderValue::from_bytes(&[b"Bearer ", &token[..]].concat()).unwrap())?;
    }
}

/// The cost of refusing a token.
#[derive(Debug)]
struct Cost {
    blocks: u64,
    bytes: u64,
    peak: u64,
}

fn cost(authority: &Authority, token: &str) -> Cost {
    let runtime = runtime();
    cost_of(|| {
        runtime.block_on(async { authority.verify(token).await.unwrap_err() });
    })
}

fn cost_of(run: impl FnOnce()) -> Cost {
    let allocated = allocation_counter::measure(run);
    Cost { blocks: allocated.count_total, bytes: allocated.bytes_total, peak: allocated.bytes_max }
}

/// Makes a member of the given size in bytes.
type MemberShape = fn(usize) -> (&'static str, String);

/// Members that could make a forged token of 8 KB cost more than its size warrants.
const MEMBER_SHAPES: [(&str, MemberShape); 12] = [
    ("scope words", |size| ("scope", scope_of(size))),
    ("scope of one word again and again", |size| ("scope", format!("\"{}\"", vec!["a"; size / 2].join(" ")))),
    ("audiences", |size| ("aud", list(size, |n| format!("\"{n}\"")))),
    ("zeros", |size| ("custom", list(size, |_| "0".into()))),
    ("empty arrays", |size| ("custom", list(size, |_| "[]".into()))),
    ("empty objects", |size| ("custom", list(size, |_| "{}".into()))),
    ("nested arrays", |size| ("custom", list(size, |_| format!("{}{}", "[".repeat(100), "]".repeat(100))))),
    ("members", |size| ("custom", format!("{{{}}}", join(size, |n| format!("\"{n}\":0"))))),
    ("members with one beginning", |size| {
        ("custom", format!("{{{}}}", join(size, |n| format!("\"{}{n}\":0", "a".repeat(60)))))
    }),
    ("escapes", |size| ("custom", format!("\"{}\"", "\\u0061".repeat(size / 6)))),
    ("digits", |size| ("custom", "1".repeat(size))),
    ("fraction", |size| ("custom", format!("0.{}", "1".repeat(size)))),
];

fn join(size: usize, item: impl Fn(usize) -> String) -> String {
    let mut text = item(0);
    for n in 1.. {
        let next = item(n);
        if text.len() + next.len() >= size {
            break;
        }
        text.push(',');
        text.push_str(&next);
    }
    text
}

fn list(size: usize, item: impl Fn(usize) -> String) -> String {
    format!("[{}]", join(size, item))
}

fn scope_of(size: usize) -> String {
    format!("\"{}\"", join(size, |n| n.to_string()).replace(',', " "))
}

/// Returns a token with a wrong signature and this member, unescaped.
fn forged(name: &str, value: &str) -> String {
    let mut members = payload();
    members.as_object_mut().unwrap().remove(name);
    let payload = members.to_string();
    let payload = format!("{},\"{name}\":{value}}}", payload.strip_suffix('}').unwrap());
    let token = signed(&header().to_string(), &payload);
    let (input, _) = token.rsplit_once('.').unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode([0; 32]))
}

#[test]
fn garbage_allocates_in_proportion_to_its_size() {
    let authority = authority();
    let ordinary = cost(&authority, &forged("custom", "0"));
    // With its feature `arbitrary_precision`, serde_json keeps each number as text.
    let written = serde_json::from_str::<Value>("1.10").unwrap().to_string();
    let is_precise = written == "1.10";
    let (blocks, bytes) = if is_precise { (2, 40) } else { (60, 20) };
    for (name, shape) in MEMBER_SHAPES {
        for size in [500, 1_000, 2_000, 5_000] {
            let (member, value) = shape(size);
            let token = forged(member, &value);
            assert!(token.len() < 8 * 1024, "{name}: {} bytes", token.len());
            let (cost, length) = (cost(&authority, &token), token.len() as u64);
            // One bound for all shapes and sizes. A block for each word or item would cost ten
            // times as much.
            assert!(cost.blocks <= ordinary.blocks + length / blocks, "{name}, {length}: {cost:?}");
            assert!(cost.bytes <= ordinary.bytes + bytes * length, "{name}, {length}: {cost:?}");
            assert!(cost.peak <= ordinary.bytes + 12 * length, "{name}, {length}: {cost:?}");
        }
    }
}

/// Returns a DPoP proof for `GET https://api.example/` at the second 0. Each text replaces or adds
/// a member, unescaped, of the header, of its `jwk` and of the payload.
fn proof(key: &Ed25519KeyPair, [header, jwk, payload]: [Option<(&str, &str)>; 3]) -> String {
    fn object(members: &[(&str, &str)], other: Option<(&str, &str)>) -> String {
        let kept = members.iter().copied().filter(|(name, _)| other.is_none_or(|(other, _)| other != *name));
        let members: Vec<String> = kept.chain(other).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    }
    let x = format!("\"{}\"", URL_SAFE_NO_PAD.encode(key.public_key()));
    let jwk = object(&[("kty", "\"OKP\""), ("crv", "\"Ed25519\""), ("x", &x)], jwk);
    let header = object(&[("typ", "\"dpop+jwt\""), ("alg", "\"EdDSA\""), ("jwk", &jwk)], header);
    let claims =
        [("jti", "\"a\""), ("htm", "\"GET\""), ("htu", "\"https://api.example/\""), ("iat", "0"), ("ath", "\"a\"")];
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(object(&claims, payload)));
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes())))
}

/// Returns the cost of a check, and the fault that it finds.
fn proof_cost(text: &str) -> (Cost, Option<ProofFault>) {
    let origin: Origin = "https://api.example".parse().unwrap();
    let check = ProofCheck::new(&Method::GET, &origin, "/", Timestamp::UNIX_EPOCH);
    let mut fault = None;
    let cost = cost_of(|| fault = check.verify(text).err());
    (cost, fault)
}

/// One bound for all proofs of a length. A block for each item or member would cost ten times as
/// much.
fn is_proportional(cost: &Cost, ordinary: &Cost, length: usize) -> bool {
    let length = length as u64;
    let written = serde_json::from_str::<Value>("1.10").unwrap().to_string();
    // With its feature `arbitrary_precision`, serde_json keeps each number as text. A header is read
    // twice.
    let (blocks, bytes) = if written == "1.10" { (1, 40) } else { (60, 20) };
    cost.blocks <= ordinary.blocks + 20 + length / blocks
        && cost.bytes <= ordinary.bytes + 4_000 + bytes * length
        && cost.peak <= ordinary.bytes + 4_000 + 12 * length
}

#[test]
fn dpop_garbage_allocates_in_proportion_to_its_size() {
    let key = Ed25519KeyPair::generate().unwrap();
    let (ordinary, fault) = proof_cost(&proof(&key, [None; 3]));
    assert_eq!(fault, None);
    let dots: MemberShape = |size| ("htu", format!("\"https://api.example{}\"", "/a/..".repeat(size / 5)));
    let escapes: MemberShape = |size| ("htu", format!("\"https://api.example/{}\"", "%2e/".repeat(size / 4)));
    let host: MemberShape = |size| ("htu", format!("\"https://{}/\"", "%41".repeat(size / 3)));
    let coordinate: MemberShape = |size| ("x", format!("\"{}\"", "A".repeat(size)));
    let id: MemberShape = |size| ("jti", format!("\"{}\"", "a".repeat(size)));
    let own = [("dots", dots), ("escapes in htu", escapes), ("host", host), ("coordinate", coordinate), ("id", id)];
    for (name, shape) in MEMBER_SHAPES.into_iter().chain(own) {
        for size in [500, 1_000, 2_000, 4_000] {
            let (member, value) = shape(size);
            let member = Some((member, value.as_str()));
            for members in [[member, None, None], [None, member, None], [None, None, member]] {
                let text = proof(&key, members);
                let (cost, _) = proof_cost(&text);
                assert!(
                    is_proportional(&cost, &ordinary, text.len()),
                    "{name}, {}: {cost:?}, {ordinary:?}",
                    text.len()
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dpop_nested_garbage_is_read_at_a_cost_in_proportion_to_its_size(
        names in prop::array::uniform3("(typ|alg|jwk|kty|crv|x|y|d|crit|jti|htm|htu|iat|exp|nbf|ath|nonce|other)"),
        values in prop::array::uniform3(prop::option::of(any_json())),
    ) {
            let key = Ed25519KeyPair::generate().unwrap();
        let texts = values.map(|value| value.map(|value| value.to_string()));
        let [header, jwk, payload] = std::array::from_fn(|at| Some((names[at].as_str(), texts[at].as_deref()?)));
        let text = proof(&key, [header, jwk, payload]);
        let (ordinary, _) = proof_cost(&proof(&key, [None; 3]));
        let (cost, _) = proof_cost(&text);
        // Random names are full of escapes, and each such name is copied.
        let length = text.len() as u64;
        prop_assert!(cost.blocks <= ordinary.blocks + 20 + length / 4, "{length}: {cost:?}, {ordinary:?}");
        prop_assert!(cost.bytes <= ordinary.bytes + 4_000 + 40 * length, "{length}: {cost:?}, {ordinary:?}");
    }
}

/// Replays what the fuzzer started from, and what it found interesting.
#[test]
fn fuzz_corpus_causes_no_finding() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (name, target) in fuzz_targets::TARGETS {
        let files = fs::read_dir(corpus.join(name)).unwrap();
        let inputs: Vec<Vec<u8>> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            target(&input);
        }
    }
}

//! What the fuzzer runs on any bytes, and `cargo test` on the kept ones.
//!
//! Each function panics if the library answers in a way that no input may cause.

use std::sync::OnceLock;

use auth_layer::{
    AuthError, AuthLayer, Authority, Trust,
    clock::{ManualClock, Timestamp},
    dpop::{Origin, ProofCheck, ProofPolicy},
    keys::{Algorithm, Keyring, SigningKey, VerifyingKey},
    middleware::AuthBody,
    oauth::{
        AuthorizationError, AuthorizationQuery, AuthorizationServer, Client, IntrospectionRequest, RedirectUri,
        RevocationRequest, TokenRequest,
    },
    store::MemoryStore,
    trust::{CheckOrder, CookieName, Issuer, Typ},
};
use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE},
};
use http_body_util::{Empty, Full};
use tower::{Layer, Service, service_fn};

/// A target of the fuzzer.
pub(crate) type Target = fn(&[u8]);

/// All targets, by name.
pub(crate) const TARGETS: [(&str, Target); 9] = [
    ("credentials", credentials),
    ("token", token),
    ("foreign_token", foreign_token),
    ("proof", proof),
    ("jwk", jwk),
    ("jwk_set", jwk_set),
    ("form", form),
    ("redirect_uri", redirect_uri),
    ("pem", pem),
];

const SECRET: &[u8] = b"a secret of more than 32 bytes, as HS256 demands";

/// Splits the input into as many parts as wanted, at the bytes 0xff.
fn parts<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut parts = input.splitn(N, |byte| *byte == 0xff);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Returns a token with this header and payload, and the signature that `sign` makes.
fn signed_text<S: AsRef<[u8]>>(header: &[u8], payload: &[u8], sign: impl FnOnce(&[u8]) -> S) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// An authority that verifies signatures first, so that it reads a token as a whole.
fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        Authority::builder("https://issuer", MemoryStore::new())
            .audience("api")
            .keys(Keyring::new(SigningKey::from_secret("shared", SECRET).unwrap()))
            .check_order(CheckOrder::SignatureFirst)
            .build()
            .unwrap()
    })
}

/// Headers with credentials: nobody is let in, and no answer is the service's fault.
pub(crate) fn credentials(input: &[u8]) {
    let [authorization, second, cookie, proof] = parts(input);
    let mut request = Request::new(Empty::<Bytes>::new());
    let headers = request.headers_mut();
    for (name, value) in [(AUTHORIZATION, authorization), (AUTHORIZATION, second), (COOKIE, cookie)] {
        if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers.extend(HeaderValue::from_bytes(proof).map(|value| (auth_layer::dpop::PROOF_HEADER, value)));
    let inner = service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, std::convert::Infallible>(Response::new(AuthBody::new(Full::<Bytes>::default())))
    });
    let layer = AuthLayer::builder(authority())
        .dpop(ProofPolicy::new("https://api.example".parse().unwrap()))
        .cookie(CookieName::new("__Host-access").unwrap())
        .build();
    let response = block_on(layer.layer(inner).call(request)).unwrap();
    assert!(matches!(response.status().as_u16(), 400 | 401), "{}", response.status());
}

/// A correctly signed token with any header and payload: it has no record, so it is not accepted.
pub(crate) fn token(input: &[u8]) {
    let [header, payload] = parts(input);
    let text = signed_text(header, payload, |text| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), text));
    let refused = block_on(authority().verify(&text));
    assert!(matches!(refused, Err(AuthError::InvalidToken(_))), "{refused:?}");
    assert!(!block_on(authority().introspect(&text)).unwrap().is_active());
    let refreshed = block_on(authority().refresh(&*text));
    assert!(matches!(refreshed, Err(auth_layer::RefreshError::InvalidGrant(_))), "{refreshed:?}");
    block_on(authority().revoke(&text)).unwrap();
}

/// A correctly signed token of another issuer: what is accepted can be denied, and no access token
/// logs anybody out.
pub(crate) fn foreign_token(input: &[u8]) {
    const ISSUER: &str = "https://idp.example";
    let [header, payload] = parts(input);
    let text = signed_text(header, payload, |text| ed25519().sign(text));
    let x = URL_SAFE_NO_PAD.encode(ed25519().public_key());
    let keys = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"{x}"}}]}}"#);
    let issuer = Issuer::with_jwk_set(ISSUER, keys).audience("orders").logout_audience("web").typ(Typ::AnyJwt);
    // A store of its own: what was denied before must not decide.
    let trust =
        Trust::builder(MemoryStore::new()).issuer(issuer).clock(ManualClock::starting_at(Timestamp::UNIX_EPOCH));
    let trust = trust.build().unwrap();
    match block_on(trust.verify(&text)) {
        Ok(claims) => {
            assert_eq!(claims.iss, ISSUER);
            assert!(!claims.sub.to_string().is_empty());
            assert!(matches!(block_on(trust.log_out(&text)), Err(AuthError::InvalidToken(_))));
            block_on(trust.deny(&claims)).unwrap();
            let refused = block_on(trust.verify(&text));
            assert!(matches!(refused, Err(AuthError::InvalidToken(_))), "{refused:?}");
        }
        Err(AuthError::InvalidToken(_)) => match block_on(trust.log_out(&text)) {
            Ok(()) => assert!(block_on(trust.log_out(&text)).is_err(), "a logout token is good once"),
            Err(error) => assert!(matches!(error, AuthError::InvalidToken(_)), "{error:?}"),
        },
        Err(error) => panic!("{error:?}"),
    }
}

fn ed25519() -> &'static Ed25519KeyPair {
    static KEY: OnceLock<Ed25519KeyPair> = OnceLock::new();
    KEY.get_or_init(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
}

/// A correctly signed proof with any payload and any header around its key.
pub(crate) fn proof(input: &[u8]) {
    let key = ed25519();
    let origin: Origin = "https://api.example".parse().unwrap();
    let check = ProofCheck::new(&Method::GET, &origin, "/orders", Timestamp::UNIX_EPOCH);
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = check.verify(text);
    }
    let [header, payload] = parts(input);
    // `$x` stands for the key, which the fuzzer could not guess.
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    let header = String::from_utf8_lossy(header).replace("$x", &x);
    let text = signed_text(header.as_bytes(), payload, |text| key.sign(text));
    if let Ok(proof) = check.verify(&text) {
        let again = check.verify(&text).unwrap();
        assert_eq!((proof.replay_key(), proof.thumbprint()), (again.replay_key(), again.thumbprint()));
        assert!(proof.replay_until() > Timestamp::UNIX_EPOCH, "a proof that is accepted is remembered");
    }
}

/// A JWK: what is read is written and read again as the same key.
pub(crate) fn jwk(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = SigningKey::from_jwk(text);
    if let Ok(key) = VerifyingKey::from_jwk(text)
        && let Some(jwk) = key.to_jwk()
    {
        let again = VerifyingKey::from_jwk(&jwk.to_string()).unwrap();
        assert_eq!((again.kid(), again.algorithm()), (key.kid(), key.algorithm()));
    }
}

/// A JWK set: a trust is built on it, or it is refused.
pub(crate) fn jwk_set(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let issuer = Issuer::with_jwk_set("https://idp.example", text).audience("orders");
    let _ = Trust::builder(MemoryStore::new()).issuer(issuer).build();
}

/// Forms and queries: a redirect only goes to a registered URI.
pub(crate) fn form(input: &[u8]) {
    const URI: &str = "https://app.example/cb?a=b";
    let [authorization, body] = parts(input);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.extend(HeaderValue::from_bytes(authorization).map(|value| (AUTHORIZATION, value)));
    let _ = TokenRequest::parse(&headers, body);
    let _ = RevocationRequest::parse(&headers, body);
    let _ = IntrospectionRequest::parse(&headers, body);

    let Ok(query) = std::str::from_utf8(body) else { return };
    let Ok(query) = AuthorizationQuery::parse(query) else { return };
    let server = AuthorizationServer::new("https://issuer").unwrap().audience("api");
    let client = Client::public("spa").unwrap().redirect_uri(URI.parse().unwrap()).scope("profile".parse().unwrap());
    match query.check(&server, Some(&client)) {
        Ok(request) => {
            assert_eq!(request.redirect_uri(), URI);
            assert!(client.scope_for(Some(request.scope())).is_ok(), "no more scope than the client may have");
            assert!(request.grant(&"code".into()).location().starts_with(URI));
        }
        Err(AuthorizationError::Redirect(response)) => {
            assert!(response.location().starts_with(URI), "{}", response.location());
            HeaderValue::try_from(response.location()).unwrap();
        }
        Err(_) => {}
    }
}

/// A redirect URI: one that can be registered matches itself and runs no script.
pub(crate) fn redirect_uri(input: &[u8]) {
    let [registered, sent] = parts(input);
    let (Ok(registered), Ok(sent)) = (std::str::from_utf8(registered), std::str::from_utf8(sent)) else { return };
    let Ok(uri) = registered.parse::<RedirectUri>() else { return };
    assert_eq!(uri.to_string(), registered);
    assert!(uri.matches(registered));
    let scheme = registered.split(':').next().unwrap_or_default();
    assert!(!["javascript", "data", "file", "blob", "vbscript"].contains(&scheme), "{registered}");
    assert!(!registered.contains('#'), "{registered}");
    HeaderValue::try_from(registered).unwrap();
    if uri.matches(sent) && sent != registered {
        let is_loopback = ["http://127.0.0.1", "http://[::1]"].iter().any(|host| registered.starts_with(host));
        assert!(is_loopback, "{registered} matches {sent}");
    }
}

/// A PEM: a key that is read is written and read again as the same one.
pub(crate) fn pem(input: &[u8]) {
    read_pem(input);
    // DER inside of a PEM, which the fuzzer would have to encode.
    for label in ["PRIVATE KEY", "PUBLIC KEY"] {
        let der = STANDARD.encode(input);
        read_pem(format!("-----BEGIN {label}-----\n{der}\n-----END {label}-----\n").as_bytes());
    }
}

fn read_pem(input: &[u8]) {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256, Algorithm::Hs256] {
        let _ = VerifyingKey::from_pem(algorithm, input);
        let _ = SigningKey::from_pem(algorithm, input);
    }
    if let Ok(key) = SigningKey::from_pkcs8_pem(input) {
        let pem = key.to_pkcs8_pem().unwrap();
        assert_eq!(SigningKey::from_pkcs8_pem(pem.as_bytes()).unwrap().kid(), key.kid());
    }
}

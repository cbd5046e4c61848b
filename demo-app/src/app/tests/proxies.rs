//! What trusted proxies, and what strangers, may say of a client.

use http::HeaderValue;
use proptest::prelude::*;

use super::{operations::log_of_request, *};

/// A trusted proxy, another one, and a client.
const PROXY: [u8; 4] = [10, 0, 0, 1];
const CLIENT: &str = "203.0.113.7";

/// Returns the address that counts for a request from this peer, with these headers.
fn address(flags: &[&str], peer: &str, headers: &[(&str, &[u8])]) -> String {
    let config = Config::parse_from(["demo-app", "--trusted-proxy", "10.0.0.0/8,2001:db8:1::/48"].iter().chain(flags));
    let mut request = Request::get("/").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 4000)));
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().append(http::HeaderName::try_from(*name).unwrap(), value);
    }
    let request = TrustedProxies::new(&config).identify(request);
    request.extensions().get::<ConnectInfo<SocketAddr>>().unwrap().ip().to_string()
}

#[test]
fn proxies_say_the_clients_address_in_x_forwarded_for() {
    for (listed, expected) in [
        (&["203.0.113.7"][..], CLIENT),
        (&["198.51.100.1, 203.0.113.7"], CLIENT),
        (&["198.51.100.1", "203.0.113.7"], CLIENT),
        (&["198.51.100.1", "203.0.113.7, 10.2.3.4", " 2001:db8:1::7 ,10.9.9.9"], CLIENT),
        (&["198.51.100.1,203.0.113.7:47011"], CLIENT),
        (&["[2001:db8:2::7]:80"], "2001:db8:2::7"),
        (&["[2001:db8:2::7]"], "2001:db8:2::7"),
        (&["2001:db8:2::7"], "2001:db8:2::7"),
        (&["::ffff:203.0.113.7"], CLIENT),
        (&["203.0.113.7, ::ffff:10.0.0.9"], CLIENT),
        (&["203.0.113.7,"], CLIENT),
        (&["unknown, 203.0.113.7"], CLIENT),
        // All are proxies: the first is the farthest that is known.
        (&["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
        // What cannot be read leaves the connection's address.
        (&[], "10.0.0.1"),
        (&[""], "10.0.0.1"),
        (&["203.0.113.7, unknown"], "10.0.0.1"),
        (&["203.0.113.7, 10.0.0.2, 1.2.3"], "10.0.0.1"),
        (&["203.0.113.7 198.51.100.1"], "10.0.0.1"),
        (&["203.0.113.7", "_hidden"], "10.0.0.1"),
    ] {
        let headers: Vec<(&str, &[u8])> = listed.iter().map(|line| ("x-forwarded-for", line.as_bytes())).collect();
        for peer in ["10.0.0.1", "::ffff:10.0.0.1"] {
            let expected = if expected == "10.0.0.1" { peer } else { expected };
            assert_eq!(address(&[], peer, &headers), expected, "{listed:?}");
        }
        for stranger in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8:2::1"] {
            assert_eq!(address(&[], stranger, &headers), stranger, "{listed:?}");
        }
    }
}

#[test]
fn proxies_say_the_clients_address_in_forwarded() {
    let flags = ["--proxy-header", "forwarded"];
    for (listed, expected) in [
        (&["for=203.0.113.7"][..], CLIENT),
        (&["For=\"203.0.113.7:47011\"; proto=https;by=10.0.0.1"], CLIENT),
        (&["for=198.51.100.1, for=203.0.113.7;host=\"a,for=9.9.9.9;b\""], CLIENT),
        (&["for=198.51.100.1", "for=203.0.113.7, for=10.0.0.2"], CLIENT),
        (&["for=\"broken", "for=203.0.113.7"], CLIENT),
        (&["for=\"[2001:db8:2::7]:80\""], "2001:db8:2::7"),
        (&["for=10.0.0.7"], "10.0.0.7"),
        (&["proto=https"], "10.0.0.1"),
        (&["for=unknown"], "10.0.0.1"),
        (&["for=_mystery"], "10.0.0.1"),
        (&["for=203.0.113.7;for=198.51.100.1"], "10.0.0.1"),
        // A client's open quotation swallows nothing and is closed by nothing.
        (&["for=1.2.3.4;host=\", for=203.0.113.7"], "10.0.0.1"),
        (&["for=1.2.3.4;host=\", for=\"203.0.113.7\""], "10.0.0.1"),
        (&["for=1.2.3.4;host=\", for=203.0.113.7;host=\"a\""], "10.0.0.1"),
        (&["for=1.2.3.4;host=\", for=203.0.113.7;host=\"\""], "10.0.0.1"),
    ] {
        let headers: Vec<(&str, &[u8])> = listed.iter().map(|line| ("forwarded", line.as_bytes())).collect();
        assert_eq!(address(&flags, "10.0.0.1", &headers), expected, "{listed:?}");
        assert_eq!(address(&flags, "192.0.2.1", &headers), "192.0.2.1", "{listed:?}");
    }
}

#[test]
fn proxies_set_one_header_and_a_clients_other_one_is_not_read() {
    let headers: [(&str, &[u8]); 2] = [("x-forwarded-for", b"203.0.113.7"), ("forwarded", b"for=198.51.100.1")];
    assert_eq!(address(&[], "10.0.0.1", &headers), CLIENT);
    assert_eq!(address(&["--proxy-header", "forwarded"], "10.0.0.1", &headers), "198.51.100.1");
    assert_eq!(address(&["--proxy-header", "forwarded"], "10.0.0.1", &headers[..1]), "10.0.0.1");
}

proptest! {
    /// What a client sends, whatever it is, is never taken for what the proxy adds to it.
    #[test]
    fn proxies_word_counts_whatever_a_client_sends_before_it(
        sent in "[ -~\t]{0,60}|([a-z]{0,4}=?\"?(1\\.2\\.3\\.4)?\"?[,;]? ?){0,6}",
        is_same_line: bool,
    ) {
        for (flag, name, own) in [
            ("x-forwarded-for", "x-forwarded-for", "203.0.113.7"),
            ("forwarded", "forwarded", "for=203.0.113.7;host=\"a\""),
            ("forwarded", "forwarded", "for=\"203.0.113.7\""),
        ] {
            let sent = sent.trim();
            let joined = format!("{sent}, {own}");
            let lines = if is_same_line { vec![&*joined] } else { vec![sent, own] };
            let headers: Vec<(&str, &[u8])> = lines.iter().map(|line| (name, line.as_bytes())).collect();
            let found = address(&["--proxy-header", flag], "10.0.0.1", &headers);
            let hides = found == "10.0.0.1" && flag == "forwarded" && is_same_line;
            prop_assert!(found == CLIENT || hides, "{lines:?}: {found}");
            prop_assert_eq!(address(&["--proxy-header", flag], "192.0.2.1", &headers), "192.0.2.1");
        }
    }
}

#[tokio::test]
async fn proxies_decide_whose_wrong_passwords_count() {
    let demo = test_app_with(&["--trusted-proxy", "10.0.0.0/8"]);
    let sign_in = async |peer: [u8; 4], client: &str| {
        let body = json!({ "username": "nobody", "password": PASSWORD }).to_string();
        let request = Request::post("/auth/login").header(header::CONTENT_TYPE, "application/json");
        demo.send_from(peer, request.header("x-forwarded-for", client).body(body.into()).unwrap()).await.status
    };
    for attempt in 0..10 {
        assert_eq!(sign_in(PROXY, CLIENT).await, StatusCode::UNAUTHORIZED, "{attempt}");
    }
    assert_eq!(sign_in(PROXY, CLIENT).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(sign_in([10, 0, 0, 2], CLIENT).await, StatusCode::TOO_MANY_REQUESTS, "through another proxy");
    assert_eq!(sign_in(PROXY, "203.0.113.8").await, StatusCode::UNAUTHORIZED, "another client");
    // A stranger stays one stranger, and is not the client either.
    for attempt in 0..10 {
        assert_eq!(
            sign_in([192, 0, 2, 1], &format!("203.0.113.{attempt}")).await,
            StatusCode::UNAUTHORIZED,
            "{attempt}"
        );
    }
    assert_eq!(sign_in([192, 0, 2, 1], "203.0.113.99").await, StatusCode::TOO_MANY_REQUESTS);
}

#[test]
fn proxies_word_is_the_address_in_the_audit_log() {
    let lines = log_of_request(
        async |_| {
            let body = json!({ "username": "nobody", "password": PASSWORD }).to_string();
            let request = Request::post("/auth/login").header(header::CONTENT_TYPE, "application/json");
            request.header("x-forwarded-for", CLIENT).body(body.into()).unwrap()
        },
        true,
    );
    let event = lines.iter().find(|line| line.contains("audit: sign_in refused")).expect("it is an event");
    assert!(event.contains(&format!("address={CLIENT}")), "{event}");
}

//! Target URIs and their normal forms.

use super::*;

fn is_target(origin: &str, path: &str, htu: &str) -> bool {
    let key = key();
    let payload = with(payload(), "htu", Some(htu.into()));
    let text = signed(&key, &header(&key).to_string(), &payload.to_string());
    let origin: Origin = origin.parse().unwrap();
    match ProofCheck::new(&Method::GET, &origin, path, at(NOW)).verify(&text) {
        Ok(_) => true,
        Err(ProofFault::Target) => false,
        Err(other) => panic!("{htu}: {other}"),
    }
}

#[test]
fn dpop_target_is_compared_in_normal_form() {
    for (path, htu) in [
        ("/orders", "https://api.example/orders"),
        // Scheme and host without regard to case, the default port.
        ("/orders", "HTTPS://API.Example/orders"),
        ("/orders", "https://api.example:443/orders"),
        ("/orders", "https://api.example:/orders"),
        ("/orders", "https://api.example:00443/orders"),
        ("/orders", "https://%61pi.e%58ample/orders"),
        // Query and fragment do not count.
        ("/orders", "https://api.example/orders?page=2"),
        ("/orders", "https://api.example/orders?"),
        ("/orders", "https://api.example/orders#top"),
        ("/orders", "https://api.example/orders?a=/../b#c?d"),
        ("/", "https://api.example?page=2"),
        ("/", "https://api.example#top"),
        // An empty path.
        ("/", "https://api.example"),
        ("", "https://api.example/"),
        // Dot segments.
        ("/orders", "https://api.example/./orders"),
        ("/orders", "https://api.example/a/../orders"),
        ("/orders", "https://api.example/../../orders"),
        ("/orders/", "https://api.example/orders/."),
        ("/orders/", "https://api.example/orders/a/.."),
        ("/a/./b/../orders", "https://api.example/a/orders"),
        ("/orders", "https://api.example/a/%2e%2E/orders"),
        ("/", "https://api.example/a/.."),
        ("/", "https://api.example/."),
        ("/...", "https://api.example/..."),
        ("/a//", "https://api.example/a//b/.."),
        // Percent-encoding.
        ("/orders", "https://api.example/%6Frders"),
        ("/%7Euser", "https://api.example/~user"),
        ("/a%2fb", "https://api.example/a%2Fb"),
        ("/%C3%A9", "https://api.example/%c3%a9"),
        ("/a|b", "https://api.example/a|b"),
        ("/a@b:c", "https://api.example/a@b:c"),
    ] {
        assert!(is_target("https://api.example", path, htu), "{path} {htu}");
    }
}

#[test]
fn dpop_target_of_another_request_is_refused() {
    for (path, htu) in [
        ("/orders", "https://api.example/orders/"),
        ("/orders/", "https://api.example/orders"),
        ("/orders", "https://api.example/Orders"),
        ("/orders", "https://api.example//orders"),
        ("/orders", "https://api.example/orders%2F"),
        ("/a/b", "https://api.example/a%2Fb"),
        ("/a%2Fb", "https://api.example/a/b"),
        ("/a%252Fb", "https://api.example/a%2Fb"),
        ("/a%3Fb", "https://api.example/a?b"),
        ("/orders", "https://api.example/orders;v=1"),
        ("/orders", "https://api.example\\orders"),
        ("/", "https://api.example/a"),
        ("*", "https://api.example/*"),
        ("*", "https://api.example*"),
        ("orders", "https://api.example/orders"),
        // Another origin.
        ("/orders", "http://api.example/orders"),
        ("/orders", "https://api.example:8443/orders"),
        ("/orders", "https://api.example:80/orders"),
        ("/orders", "https://api.example./orders"),
        ("/orders", "https://api.example.evil.example/orders"),
        ("/orders", "https://evil.example/orders"),
        ("/orders", "https://evil.example/https://api.example/orders"),
        // User information.
        ("/orders", "https://user@api.example/orders"),
        ("/orders", "https://user:password@api.example/orders"),
        ("/orders", "https://@api.example/orders"),
        ("/orders", "https://api.example@evil.example/orders"),
        ("/orders", "https://evil.example\\@api.example/orders"),
        // No URI at all.
        ("/orders", ""),
        ("/orders", "/orders"),
        ("/orders", "//api.example/orders"),
        ("/orders", "api.example/orders"),
        ("/orders", "https:/api.example/orders"),
        ("/orders", "https:///orders"),
        ("/orders", "https://:443/orders"),
        ("/orders", "wss://api.example/orders"),
        ("/orders", " https://api.example/orders"),
        ("/orders", "https://api.example/orders "),
        ("/orders", "https://api.example/orders\u{0}"),
        ("/orders", "https://api.example/\torders"),
        ("/orders", "https://api.example:65979/orders"),
        ("/orders", "https://api.example:+443/orders"),
        ("/orders", "https://api.example:443:443/orders"),
        ("/orders", "https://api.example:https/orders"),
        ("/é", "https://api.example/é"),
        ("/orders", "https://äpi.example/orders"),
        ("/%", "https://api.example/%"),
        ("/%4", "https://api.example/%4"),
        ("/%zz", "https://api.example/%zz"),
        ("/%+1", "https://api.example/%+1"),
        ("/orders", "https://api.example%/orders"),
        ("/orders", "https://api.example%2Forders/orders"),
    ] {
        assert!(!is_target("https://api.example", path, htu), "{path} {htu}");
    }
}

#[test]
fn dpop_target_may_have_an_address_for_a_host() {
    for (origin, htu) in [
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000/orders"),
        ("http://127.0.0.1", "http://127.0.0.1:80/orders"),
        ("https://[::1]", "https://[::1]:443/orders"),
        ("https://[2001:db8::1]:8443", "https://[2001:DB8:0:0:0:0:0:1]:8443/orders"),
        ("https://[2001:db8::1]", "https://[2001:0db8::0001]/orders"),
    ] {
        assert!(is_target(origin, "/orders", htu), "{origin} {htu}");
    }
    for (origin, htu) in [
        ("http://127.0.0.1:3000", "http://127.0.0.1/orders"),
        ("http://127.0.0.1:3000", "http://127.1:3000/orders"),
        ("http://127.0.0.1:3000", "http://localhost:3000/orders"),
        ("https://[::1]", "https://::1/orders"),
        ("https://[::1]", "https://[::1/orders"),
        ("https://[::1]", "https://[::1]443/orders"),
        ("https://[::1]", "https://[::1%25eth0]/orders"),
        ("https://[::1]", "https://[v1.a]/orders"),
        ("https://[::1]", "https://[]/orders"),
        ("https://[::1]", "https://[::1]@evil.example/orders"),
    ] {
        assert!(!is_target(origin, "/orders", htu), "{origin} {htu}");
    }
}

#[test]
fn dpop_origin_drops_all_but_scheme_host_and_port() {
    for (uri, origin) in [
        ("https://Auth.Example/tenant/?a#b", "https://auth.example"),
        ("http://auth.example:80", "http://auth.example"),
        ("http://auth.example:443", "http://auth.example:443"),
        ("https://[2001:DB8::0]:443/", "https://[2001:db8::]"),
        ("https://a%2d%e4.example", "https://a-%E4.example"),
    ] {
        assert_eq!(uri.parse::<Origin>().unwrap().to_string(), origin);
    }
    for uri in ["", "auth.example", "https://", "https://user@auth.example", "urn:a", "file:///a", "https://a b"] {
        assert_eq!(uri.parse::<Origin>(), Err(InvalidOrigin), "{uri}");
    }
}

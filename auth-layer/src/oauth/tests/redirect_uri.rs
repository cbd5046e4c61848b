use super::super::redirect_uri::{RedirectUri, RedirectUriError as Error, csp_source};

fn uri(text: &str) -> RedirectUri {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Other texts that a careless comparison takes for `https://app.example/cb`.
const IMITATIONS: &[&str] = &[
    "",
    "/cb",
    "//app.example/cb",
    "https:app.example/cb",
    "https:/app.example/cb",
    "https:///app.example/cb",
    "http://app.example/cb",
    "HTTPS://app.example/cb",
    "https://APP.example/cb",
    "https://app.example/CB",
    "https://app.example",
    "https://app.example/",
    "https://app.example/c",
    "https://app.example/cb/",
    "https://app.example/cb2",
    "https://app.example/cb?",
    "https://app.example/cb?a=b",
    "https://app.example/cb#",
    "https://app.example/cb#code",
    "https://app.example/cb/../evil",
    "https://app.example/./cb",
    "https://app.example//cb",
    "https://app.example/%63b",
    "https://app.example/cb%00",
    "https://app.example:443/cb",
    "https://app.example:8443/cb",
    "https://app.example./cb",
    "https://app.example.evil.example/cb",
    "https://evil.example/app.example/cb",
    "https://app.example@evil.example/cb",
    "https://evil@app.example/cb",
    "https://evil.example\\@app.example/cb",
    "https://app.example\\cb",
    "https://app.example%2Fcb",
    " https://app.example/cb",
    "https://app.example/cb\n",
    "https://\u{ff41}pp.example/cb",
];

#[test]
fn oauth_redirect_uri_matches_the_exact_text_alone() {
    let registered = uri("https://app.example/cb");
    assert!(registered.matches("https://app.example/cb"));
    for sent in IMITATIONS {
        assert!(!registered.matches(sent), "{sent:?}");
    }
}

#[test]
fn oauth_redirect_uri_port_is_free_on_loopback_addresses() {
    for origin in ["http://127.0.0.1", "http://[::1]"] {
        for registered in [format!("{origin}/cb"), format!("{origin}:8080/cb")] {
            let registered = uri(&registered);
            for port in ["", ":1", ":8080", ":65535"] {
                assert!(registered.matches(&format!("{origin}{port}/cb")), "{registered} {port}");
            }
            for other in [
                ":/cb",
                ":0/cb",
                ":080/cb",
                ":65536/cb",
                ":+80/cb",
                ":80:80/cb",
                ":80cb",
                ":80",
                ":80/cb/",
                ":80/cb?a=b",
                ":80@evil.example/cb",
                "@evil.example/cb",
                ":80\\@evil.example/cb",
                ".evil.example/cb",
                ":80.evil.example/cb",
                "0/cb",
                "/",
                "",
            ] {
                assert!(!registered.matches(&format!("{origin}{other}")), "{registered} {other}");
            }
            let https = format!("https{}:8080/cb", &origin[4..]);
            assert!(!registered.matches(&https), "{https}");
        }
    }
    assert!(uri("http://127.0.0.1").matches("http://127.0.0.1:80"));
    assert!(uri("http://127.0.0.1?a=b").matches("http://127.0.0.1:80?a=b"));
}

#[test]
fn oauth_redirect_uri_hosts_of_the_same_machine_are_different() {
    let hosts = ["http://127.0.0.1/cb", "http://[::1]/cb", "http://localhost/cb"];
    for registered in hosts {
        for sent in hosts.into_iter().chain(["http://127.0.0.2/cb", "http://0.0.0.0/cb", "http://127.1/cb"]) {
            assert_eq!(uri(registered).matches(sent), registered == sent, "{registered} {sent}");
        }
    }
    assert!(!uri("http://localhost/cb").matches("http://localhost:8080/cb"));
    assert!(!uri("https://127.0.0.1/cb").matches("https://127.0.0.1:8080/cb"));
}

#[test]
fn oauth_redirect_uri_in_normal_form_is_taken() {
    for text in [
        "https://app.example",
        "https://app.example/",
        "https://app.example?tenant=1",
        "https://app.example:8443/cb?tenant=1",
        "https://xn--bcher-kva.example/cb",
        "https://192.0.2.1/cb",
        "https://[2001:db8::1]/cb",
        "https://app.example/a%20b;c=1,2",
        "http://127.0.0.1/cb",
        "http://127.0.0.1:8080/cb",
        "http://[::1]:8080/cb",
        "http://localhost:3000/cb",
        "com.example.app:/cb",
        "com.example.app:cb",
        "com.example.app://cb",
    ] {
        assert_eq!(text.parse::<RedirectUri>().map(|uri| uri.to_string()), Ok(text.to_owned()));
    }
}

#[test]
fn oauth_redirect_uri_of_another_form_is_refused() {
    for (text, error) in [
        ("", Error::NotAbsolute),
        ("/cb", Error::NotAbsolute),
        ("//app.example/cb", Error::NotAbsolute),
        ("app.example/cb", Error::NotAbsolute),
        ("https://", Error::NotAbsolute),
        ("https://app.example:99999/cb", Error::NotAbsolute),
        ("https://app.example/cb#", Error::Fragment),
        ("https://app.example/cb#a", Error::Fragment),
        ("com.example.app:/cb#a", Error::Fragment),
        ("https://user@app.example/cb", Error::UserInformation),
        ("https://user:secret@app.example/cb", Error::UserInformation),
        ("https://:secret@app.example/cb", Error::UserInformation),
        ("com.example.app://user@cb", Error::UserInformation),
        ("http://app.example/cb", Error::Scheme),
        ("http://127.0.0.2/cb", Error::Scheme),
        ("http://0.0.0.0/cb", Error::Scheme),
        ("http://[::2]/cb", Error::Scheme),
        ("http://[::ffff:127.0.0.1]/cb", Error::Scheme),
        ("http://localhost.evil.example/cb", Error::Scheme),
        ("http://127.0.0.1.evil.example/cb", Error::Scheme),
        ("http://localhost./cb", Error::Scheme),
        ("javascript:alert(1)", Error::Scheme),
        ("javascript://app.example/%0Aalert(1)", Error::Scheme),
        ("data:text/html,hello", Error::Scheme),
        ("vbscript:a", Error::Scheme),
        ("file:///etc/passwd", Error::Scheme),
        ("blob:https://app.example/1", Error::Scheme),
        ("ftp://app.example/cb", Error::Scheme),
        ("urn:ietf:wg:oauth:2.0:oob", Error::Scheme),
        ("myapp:/cb", Error::Scheme),
        ("a..b:/cb", Error::Scheme),
        ("javascript.:alert(1)", Error::Scheme),
        ("https://*.app.example/cb", Error::Host),
        ("https://app.example;form-action/cb", Error::Host),
        ("https://app.example,a/cb", Error::Host),
        ("https://app.example\\cb", Error::Character),
        ("https://app.example/c b", Error::Character),
        ("https://app.example/cb\r\nSet-Cookie:a=b", Error::Character),
        ("https://app.example/\"onload=\"", Error::Character),
        ("https://app.example/<script>", Error::Character),
        ("https://b\u{fc}cher.example/cb", Error::Character),
        ("https://app.example/cb\0", Error::Character),
        ("https://app.example/cb?code=1", Error::Parameter("code")),
        ("https://app.example/cb?a=b&st%61te=1", Error::Parameter("state")),
        ("https://app.example/cb?iss", Error::Parameter("iss")),
    ] {
        assert_eq!(text.parse::<RedirectUri>(), Err(error), "{text}");
    }
    assert_eq!(format!("https://app.example/{}", "a".repeat(2_030)).parse::<RedirectUri>(), Err(Error::TooLong));
}

#[test]
fn oauth_redirect_uri_error_names_the_normal_form() {
    for (text, normal) in [
        ("HTTPS://app.example/cb", "https://app.example/cb"),
        ("https://APP.example/cb", "https://app.example/cb"),
        ("https:app.example/cb", "https://app.example/cb"),
        ("https:///app.example/cb", "https://app.example/cb"),
        ("https://app.example:443/cb", "https://app.example/cb"),
        ("https://app.example:/cb", "https://app.example/cb"),
        ("https://app.example/a/../cb", "https://app.example/cb"),
        ("https://app.example/a/%2e%2E/cb", "https://app.example/cb"),
        ("https://app.ex%61mple/cb", "https://app.example/cb"),
        ("https://@app.example/cb", "https://app.example/cb"),
        ("http://127.1/cb", "http://127.0.0.1/cb"),
        ("http://0x7f.0.0.1/cb", "http://127.0.0.1/cb"),
        ("http://2130706433/cb", "http://127.0.0.1/cb"),
        ("http://[0:0:0:0:0:0:0:1]/cb", "http://[::1]/cb"),
        ("Com.Example.App:/cb", "com.example.app:/cb"),
    ] {
        assert_eq!(text.parse::<RedirectUri>(), Err(Error::NotNormal(normal.to_owned())), "{text}");
    }
}

#[test]
fn oauth_redirect_uri_is_checked_when_it_is_read_from_a_store() {
    let read = |text: &str| serde_json::from_value::<RedirectUri>(text.into());
    assert_eq!(read("https://app.example/cb").unwrap(), uri("https://app.example/cb"));
    assert!(read("javascript:alert(1)").is_err());
}

#[test]
fn oauth_redirect_uri_has_a_source_for_form_action() {
    for (text, source) in [
        ("https://app.example/cb?tenant=1", "https://app.example"),
        ("https://app.example:8443/cb", "https://app.example:8443"),
        ("http://127.0.0.1:51004/cb", "http://127.0.0.1:51004"),
        ("http://[::1]:51004/cb", "http:"),
        ("com.example.app://cb/a", "com.example.app:"),
        ("com.example.app:cb", "com.example.app:"),
    ] {
        assert_eq!(csp_source(text), source, "{text}");
    }
}

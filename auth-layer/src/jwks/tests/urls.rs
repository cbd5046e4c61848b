use super::{
    super::location::{IssuerUrl, UnusableUrl},
    *,
};

fn issuer(name: &str) -> IssuerUrl {
    match Location::issuer(name).unwrap() {
        Location::Issuer(issuer) => issuer,
        Location::KeySet(_) => panic!("{name} is an issuer"),
    }
}

fn jwks_uri(issuer_name: &str, jwks_uri: &str) -> Result<String, String> {
    let metadata = json!({ "issuer": issuer_name, "jwks_uri": jwks_uri }).to_string();
    let url = issuer(issuer_name).read_metadata(metadata.as_bytes());
    url.map(String::from).map_err(|fault| fault.to_string())
}

#[test]
fn jwks_url_is_https_or_on_loopback() {
    for url in [
        "https://issuer.example/keys?app=1",
        "https://127.0.0.1/keys",
        "http://127.0.0.1:8080/keys",
        "http://127.8.8.8/keys",
        "http://[::1]/keys",
        "http://localhost:8080/keys",
    ] {
        assert!(Location::key_set(url).is_ok(), "{url}");
    }
    for (url, why) in [
        ("http://issuer.example/keys", "https://"),
        ("http://localhost.example/keys", "https://"),
        ("http://10.0.0.1/keys", "https://"),
        ("http://169.254.169.254/latest/meta-data", "https://"),
        ("http://0.0.0.0/keys", "https://"),
        ("http://[::ffff:127.0.0.1]/keys", "https://"),
        ("file:///etc/passwd", "https://"),
        ("ftp://127.0.0.1/keys", "https://"),
        ("issuer.example", "https://"),
        ("/keys", "https://"),
        ("", "https://"),
        ("https://name@issuer.example/", "user information"),
        ("https://:secret@issuer.example/", "user information"),
        ("https://issuer.example/#keys", "fragment"),
    ] {
        for refused in [Location::key_set(url), Location::issuer(url)] {
            let error: UnusableUrl = refused.unwrap_err();
            assert!(error.to_string().contains(why), "{url}: {error}");
        }
        assert!(jwks_uri("https://issuer.example", url).unwrap_err().contains(why), "{url}");
    }
}

#[test]
fn jwks_issuer_is_a_url_without_query() {
    assert_eq!(
        Location::issuer("https://issuer.example?tenant=1").unwrap_err().to_string(),
        "the URL of an issuer has no query"
    );
    assert!(Location::issuer("https://issuer.example/?").is_err());
}

#[test]
fn jwks_location_is_shown_without_a_query() {
    let shown = |location: Result<Location, UnusableUrl>| location.unwrap().to_string();
    assert_eq!(shown(Location::key_set("https://issuer.example/keys?key=secret")), "https://issuer.example/keys");
    assert_eq!(shown(Location::issuer("https://issuer.example")), "https://issuer.example");
}

#[test]
fn jwks_metadata_is_below_the_issuer_and_for_oauth_between_host_and_path() {
    for (name, openid, oauth) in [
        (
            "https://issuer.example",
            "https://issuer.example/.well-known/openid-configuration",
            "https://issuer.example/.well-known/oauth-authorization-server",
        ),
        (
            "https://issuer.example/",
            "https://issuer.example/.well-known/openid-configuration",
            "https://issuer.example/.well-known/oauth-authorization-server",
        ),
        (
            "https://issuer.example:8443/realms/main",
            "https://issuer.example:8443/realms/main/.well-known/openid-configuration",
            "https://issuer.example:8443/.well-known/oauth-authorization-server/realms/main",
        ),
        (
            "https://issuer.example/tenant%2F1/v2.0/",
            "https://issuer.example/tenant%2F1/v2.0/.well-known/openid-configuration",
            "https://issuer.example/.well-known/oauth-authorization-server/tenant%2F1/v2.0",
        ),
    ] {
        let issuer = issuer(name);
        assert_eq!((issuer.openid_metadata().as_str(), issuer.oauth_metadata().as_str()), (openid, oauth));
    }
}

#[test]
fn jwks_metadata_names_its_issuer_to_the_letter() {
    let key_set = "https://keys.example/set";
    assert_eq!(jwks_uri("https://issuer.example", key_set).unwrap(), key_set, "another host may have the keys");
    let read = |metadata: Value| {
        let url = issuer("https://issuer.example").read_metadata(metadata.to_string().as_bytes());
        url.map(String::from).map_err(|fault| fault.to_string())
    };
    for other in
        ["https://issuer.example/", "https://Issuer.example", "https://issuer.example:443", "https://other.example", ""]
    {
        let error = read(json!({ "issuer": other, "jwks_uri": key_set })).unwrap_err();
        assert!(error.contains(&format!("{other:?}")), "{error}");
    }
    let long = "x".repeat(10_000);
    assert!(read(json!({ "issuer": long, "jwks_uri": key_set })).unwrap_err().len() < 300, "the log is spared");
    for formless in [
        json!({ "issuer": "https://issuer.example" }),
        json!({ "jwks_uri": key_set }),
        json!({ "issuer": ["https://issuer.example"], "jwks_uri": key_set }),
        json!({ "issuer": "https://issuer.example", "jwks_uri": null }),
        json!([]),
    ] {
        assert!(read(formless.clone()).unwrap_err().contains("not a JSON object"), "{formless}");
    }
    let twice = format!(r#"{{"issuer":"https://issuer.example","jwks_uri":"{key_set}","jwks_uri":"{key_set}"}}"#);
    assert!(
        issuer("https://issuer.example").read_metadata(twice.as_bytes()).is_err(),
        "parsers differ in which they take"
    );
}

#[test]
fn jwks_of_an_issuer_elsewhere_are_not_on_loopback_without_tls() {
    let local = "http://127.0.0.1:8080/keys";
    assert!(jwks_uri("https://issuer.example", local).unwrap_err().contains("https://"));
    assert_eq!(jwks_uri("http://localhost:8080", local).unwrap(), local);
}

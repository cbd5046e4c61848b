//! One fetch, from an issuer that misbehaves.

use tokio::net::TcpListener;

use super::*;

const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

fn fetcher(location: &str, limit: Duration) -> Fetcher {
    Fetcher::new(Location::key_set(location).unwrap(), read_key_set, limit)
}

fn discoverer(issuer: &str) -> Fetcher {
    Fetcher::new(Location::issuer(issuer).unwrap(), read_key_set, LONG)
}

async fn fault(fetcher: Fetcher) -> String {
    chain(&fetcher.fetch().await.unwrap_err())
}

#[tokio::test]
async fn jwks_that_cannot_be_used_are_a_failed_fetch() {
    let issuer = FakeIssuer::start().await;
    let good = key_set(&keys(["a"]));
    let (url, other) = (issuer.url(FakeIssuer::KEYS), issuer.url("/other"));
    issuer.reply("/other", Reply::Body(good.clone()));
    let padded = |bytes: usize| Reply::Body(good.clone() + &" ".repeat(bytes - good.len()));
    for (reply, why) in [
        (Reply::Status(500), "500"),
        (Reply::Status(404), "404"),
        (Reply::Status(204), "204"),
        (Reply::Redirect(other), "302"),
        (Reply::Body("<!doctype html><p>Welcome".to_owned()), "not a JWK set"),
        (Reply::Body(r#"{"keys":[{"kty":"OKP","crv":"Ed25519"}]}"#.to_owned()), "not a JWK set"),
        (Reply::Body(r#"{"keys":[]}"#.to_owned()), "no key"),
        (padded(256 * 1024 + 1), "larger than 256 KB"),
        (padded(10 * 1024 * 1024), "larger than 256 KB"),
        (Reply::Endless, "larger than 256 KB"),
    ] {
        issuer.reply(FakeIssuer::KEYS, reply);
        let fault = fault(fetcher(&url, LONG)).await;
        assert!(fault.contains(why), "{fault}");
        assert!(fault.starts_with(&url), "{fault}");
        assert_eq!(issuer.take_requests(), [FakeIssuer::KEYS], "{why}");
    }
    issuer.reply(FakeIssuer::KEYS, padded(256 * 1024));
    assert_eq!(kids(&fetcher(&url, LONG).fetch().await.unwrap().keys), ["a"]);
}

#[tokio::test]
async fn jwks_that_hang_or_drip_are_given_up() {
    let issuer = FakeIssuer::start().await;
    for reply in [Reply::Hangs, Reply::Drips] {
        issuer.reply(FakeIssuer::KEYS, reply);
        let fault = fault(fetcher(&issuer.url(FakeIssuer::KEYS), Duration::from_millis(200))).await;
        assert_eq!(fault, "the issuer took longer than 200ms");
        assert_eq!(issuer.take_requests(), [FakeIssuer::KEYS]);
    }
}

#[tokio::test]
async fn jwks_of_a_server_that_is_down_tell_why_and_not_the_query() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let fault = fault(fetcher(&format!("http://{address}/keys?key=secret"), LONG)).await;
    assert!(fault.starts_with(&format!("http://{address}/keys is of no use: the request failed: ")), "{fault}");
    assert!(fault.to_lowercase().contains("refused") && !fault.contains("secret"), "{fault}");
}

#[tokio::test]
async fn jwks_max_age_is_the_shortest_that_the_server_says() {
    let issuer = FakeIssuer::start().await;
    for (header, max_age) in [
        ("max-age=15", Some(15)),
        ("public, Max-Age=\"20\", must-revalidate", Some(20)),
        ("max-age=60,max-age=30", Some(30)),
        ("no-cache, no-store", None),
        ("s-maxage=5, stale-if-error=86400", None),
        ("max-age=-1", None),
        ("max-age=99999999999999999999999", None),
        ("max-age", None),
    ] {
        issuer.reply(FakeIssuer::KEYS, Reply::Cached(header, key_set(&keys(["a"]))));
        let fetched = fetcher(&issuer.url(FakeIssuer::KEYS), LONG).fetch().await.unwrap();
        assert_eq!(fetched.max_age, max_age.map(Duration::from_secs), "{header}");
    }
}

#[tokio::test]
async fn jwks_url_is_found_in_the_openid_metadata() {
    let issuer = FakeIssuer::start().await;
    issuer.reply_metadata(OPENID, &issuer.url(""));
    issuer.reply(FakeIssuer::KEYS, Reply::Body(key_set(&keys(["a"]))));
    let fetched = discoverer(&issuer.url("")).fetch().await.unwrap();
    assert_eq!(kids(&fetched.keys), ["a"]);
    assert_eq!(issuer.take_requests(), [OPENID, FakeIssuer::KEYS]);
}

#[tokio::test]
async fn jwks_url_is_found_in_the_oauth_metadata_if_the_other_is_of_no_use() {
    let issuer = FakeIssuer::start().await;
    let name = issuer.url("/realms/main");
    let (openid, oauth) = (format!("/realms/main{OPENID}"), format!("{OAUTH}/realms/main"));
    issuer.reply(FakeIssuer::KEYS, Reply::Body(key_set(&keys(["a"]))));
    issuer.reply_metadata(&oauth, &name);
    for reply in [Reply::Status(404), Reply::Body("<!doctype html>".to_owned()), Reply::Redirect(issuer.url(&oauth))] {
        issuer.reply(&openid, reply);
        assert_eq!(kids(&discoverer(&name).fetch().await.unwrap().keys), ["a"]);
        assert_eq!(issuer.take_requests(), [openid.as_str(), oauth.as_str(), FakeIssuer::KEYS]);
    }
}

#[tokio::test]
async fn jwks_of_an_issuer_with_another_name_are_not_fetched() {
    let issuer = FakeIssuer::start().await;
    issuer.reply(FakeIssuer::KEYS, Reply::Body(key_set(&keys(["a"]))));
    let names = [issuer.url("/"), issuer.url("/other")];
    issuer.reply_metadata(OPENID, &names[0]);
    issuer.reply_metadata(OAUTH, &names[1]);
    let fault = fault(discoverer(&issuer.url(""))).await;
    for name in names {
        assert!(fault.contains(&format!("its `issuer` is {name:?}")), "{fault}");
    }
    assert_eq!(issuer.take_requests(), [OPENID, OAUTH]);
}

#[tokio::test]
async fn jwks_url_of_the_metadata_is_not_plain_http() {
    let issuer = FakeIssuer::start().await;
    let metadata = json!({ "issuer": issuer.url(""), "jwks_uri": "http://issuer.example/keys" });
    issuer.reply(OPENID, Reply::Body(metadata.to_string()));
    let fault = fault(discoverer(&issuer.url(""))).await;
    assert!(fault.contains("`jwks_uri`") && fault.contains("https://"), "{fault}");
}

#[tokio::test]
async fn jwks_metadata_is_asked_for_once_if_the_server_does_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let accept = async || {
        let mut accepted = 0;
        loop {
            drop(listener.accept().await.unwrap());
            accepted += 1;
            assert_eq!(accepted, 1, "the other document would be asked for");
        }
    };
    tokio::select! {
        () = accept() => {}
        fault = fault(discoverer(&url)) => {
            assert!(fault.starts_with(&format!("{url}{OPENID} is of no use: the request failed")), "{fault}");
        }
    }
}

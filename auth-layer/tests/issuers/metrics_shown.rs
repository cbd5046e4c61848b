//! What is counted of other issuers.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;

#[tokio::test]
async fn metrics_of_other_issuers_count_denials() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (clock, vendor) = (clock(), vendors::keycloak());
    let node = Node::new(&clock, vendor.trusted());
    let claims = node.trust.verify(&vendor.token(clock.now())).await.unwrap();
    node.trust.deny(&claims).await.unwrap();
    node.store.fail(true);
    node.trust.deny_subject(&claims.iss, &claims.sub).await.unwrap_err();
    let shown = recorder.handle().render();
    for line in [r#"auth_denials_total{outcome="ok"} 1"#, r#"auth_denials_total{outcome="error"} 1"#] {
        assert!(shown.lines().any(|found| found == line), "{line} in {shown}");
    }
}

#[cfg(feature = "discovery")]
#[tokio::test]
async fn metrics_of_other_issuers_count_fetches_of_keys() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let keys = minter.jwk_set();
    let app = axum::Router::new().route("/keys", axum::routing::get(async move || keys));
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let node = Node::new(&clock, Issuer::with_jwks_url(THEIRS, format!("{url}?key=s3cret")).audience("orders"));
    node.trust.verify(&minter.mint(access(), &claims(&clock))).await.unwrap();

    server.abort();
    clock.advance(MINUTE);
    let unknown = Minter::ed25519("k2").mint(access(), &claims(&clock));
    assert!(matches!(node.trust.verify(&unknown).await, Err(AuthError::Unavailable(_))));
    let shown = recorder.handle().render();
    for outcome in ["ok", "error"] {
        let line = format!(r#"auth_jwks_fetches_total{{issuer="{url}",outcome="{outcome}"}} "#);
        assert!(shown.lines().any(|found| found.starts_with(&line)), "{line} in {shown}");
    }
    assert!(!shown.contains("s3cret"), "{shown}");
}

//! The public documents.

use auth_layer::Grant;

use super::*;

const SERVER: &str = "/.well-known/oauth-authorization-server";
const RESOURCE: &str = "/.well-known/oauth-protected-resource";

#[tokio::test(start_paused = true)]
async fn metadata_names_what_is_served() {
    let demo = oauth_app(&["--password-grant", "on", "--dpop", "optional"]).await;
    let answer = demo.fetch(SERVER).await.assert_ok();
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "public, max-age=55");
    let metadata = answer.json();
    let base = "http://127.0.0.1:3000";
    assert_eq!(metadata["issuer"], base);
    assert_eq!(metadata["scopes_supported"], json!(["profile", "admin"]));
    assert_eq!(metadata["dpop_signing_alg_values_supported"], json!(["ES256", "EdDSA"]));
    assert_eq!(metadata["protected_resources"], json!([base]));
    let endpoints = metadata.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("_endpoint"));
    let mut served = 0;
    for (name, url) in endpoints {
        let path = url.as_str().unwrap().strip_prefix(base).unwrap();
        let answer = if name == "authorization_endpoint" {
            demo.fetch(&format!("{path}?{}", authorization(&[]))).await.assert_ok()
        } else {
            demo.as_public(path, &[]).await
        };
        assert!(answer.status != StatusCode::NOT_FOUND && answer.status != StatusCode::METHOD_NOT_ALLOWED, "{name}");
        served += 1;
    }
    assert_eq!(served, 4);
    for grant_type in metadata["grant_types_supported"].as_array().unwrap() {
        let refused = demo.as_public("/oauth/token", &[("grant_type", grant_type.as_str().unwrap())]).await;
        assert_ne!(refused.error().1, "unsupported_grant_type", "{grant_type}");
    }

    let keys = demo.fetch(metadata["jwks_uri"].as_str().unwrap().strip_prefix(base).unwrap()).await.assert_ok();
    assert_eq!(keys.header("cache-control"), "public, max-age=55");
    let token = demo.shop_tokens().await.member("access_token");
    let header = {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        serde_json::from_slice::<Value>(&header).unwrap()
    };
    let keys = keys.json();
    assert!(keys["keys"].as_array().unwrap().iter().any(|key| key["kid"] == header["kid"]), "{keys}");

    let plain = oauth_app(&[]).await.fetch(SERVER).await.json();
    assert_eq!(plain["grant_types_supported"], json!(["authorization_code", "refresh_token", "client_credentials"]));
    assert_eq!(plain.get("dpop_signing_alg_values_supported"), None);
}

#[tokio::test(start_paused = true)]
async fn metadata_of_the_resource_names_the_server() {
    for (dpop, algorithms, is_required) in [
        ("off", Value::Null, false),
        ("optional", json!(["ES256", "EdDSA"]), false),
        ("required", json!(["ES256", "EdDSA"]), true),
    ] {
        let demo = test_app_with(&["--issuer", "https://auth.example", "--dpop", dpop]);
        let answer = demo.fetch(RESOURCE).await.assert_ok();
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "public, max-age=55");
        let metadata = answer.json();
        assert_eq!(metadata["resource"], "https://auth.example");
        assert_eq!(metadata["authorization_servers"], json!(["https://auth.example"]));
        assert_eq!(
            (&metadata["scopes_supported"], &metadata["resource_name"]),
            (&json!(["profile", "admin"]), &json!("demo-app"))
        );
        assert_eq!(metadata["dpop_signing_alg_values_supported"], algorithms, "{dpop}");
        assert_eq!(metadata["dpop_bound_access_tokens_required"], is_required, "{dpop}");
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_is_at_the_path_of_an_issuer_that_has_one() {
    let demo = test_app_with(&["--issuer", "https://auth.example/tenant/a:b"]);
    for (path, issuer) in [(SERVER, "issuer"), (RESOURCE, "resource")] {
        let at_root = demo.fetch(path).await.assert_ok();
        assert_eq!(at_root.member(issuer), "https://auth.example/tenant/a:b");
        assert_eq!(demo.fetch(&format!("{path}/tenant/a:b")).await.assert_ok().text, at_root.text);
        for other in ["/tenant", "/tenant/a:b/", "/other"] {
            assert_eq!(demo.fetch(&format!("{path}{other}")).await.error(), (404, "not_found".to_owned()), "{other}");
        }
    }
    let metadata = demo.fetch(SERVER).await;
    assert_eq!(metadata.member("token_endpoint"), "https://auth.example/tenant/a:b/oauth/token");
}

#[tokio::test(start_paused = true)]
async fn metadata_of_the_resource_is_named_in_challenges_of_layer_and_handlers() {
    let json = |path: &str, body: Value| {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        request.body(Body::from(body.to_string())).unwrap()
    };
    let bare = |method: &str, path: &str, name: HeaderName, value: &str| {
        Request::builder().method(method).uri(path).header(name, value).body(Body::empty()).unwrap()
    };
    for (issuer, path) in [
        ("https://auth.example", Some("")),
        ("https://auth.example/tenant", Some("/tenant")),
        ("http://auth.internal", None),
    ] {
        let demo = test_app_with(&["--issuer", issuer]);
        demo.register("ada").await;
        let sign_in = demo.state.authority.begin_sign_in(demo.user_id("ada").await).await.unwrap();
        let foreign = demo.state.authority.sign_in(sign_in, Grant::new("other")).await.unwrap().access_token;
        let metadata = path.map(|path| format!(r#", resource_metadata="https://auth.example{RESOURCE}{path}""#));
        let metadata = metadata.unwrap_or_default();
        let (token, cookie) = (header::AUTHORIZATION, header::COOKIE);
        for (request, status, error) in [
            (bare("GET", "/me", token.clone(), "Bearer a.b.c"), 401, "invalid_token"),
            (json("/auth/login", json!({ "username": "ada", "password": "wrong horse" })), 401, ""),
            (json("/auth/refresh", json!({ "refresh_token": "a.b.c" })), 401, ""),
            (bare("POST", "/auth/refresh", cookie.clone(), "__Host-refresh=a.b.c"), 401, ""),
            (bare("POST", "/auth/logout", token, &format!("Bearer {foreign}")), 403, "insufficient_scope"),
            (bare("POST", "/auth/logout", cookie, "__Host-access=a; __Host-access=b"), 400, "invalid_request"),
        ] {
            let what = format!("{} {}", request.method(), request.uri());
            let refused = demo.answer(request).await;
            let error = if error.is_empty() { String::new() } else { format!(r#", error="{error}""#) };
            let expected = format!(r#"Bearer realm="demo-app"{metadata}{error}"#);
            assert_eq!((refused.status.as_u16(), refused.header("www-authenticate")), (status, &*expected), "{what}");
        }
        let anonymous = demo.fetch("/me").await;
        assert_eq!(anonymous.header("www-authenticate"), format!(r#"Bearer realm="demo-app"{metadata}"#));
        let unknown = demo.as_public("/oauth/revoke", &[("client_id", "nobody"), ("token", "a.b.c")]).await;
        assert_eq!(unknown.header("www-authenticate"), format!(r#"Basic realm="demo-app"{metadata}"#));
    }
}

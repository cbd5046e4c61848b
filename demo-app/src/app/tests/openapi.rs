//! The description of the API, beside the router.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The routes without a description: pages, metrics, and documents at the paths of their RFCs.
const UNDESCRIBED: [&str; 6] = [
    "/",
    "/docs",
    "/assets/{file}",
    "/metrics",
    "/.well-known/oauth-authorization-server/{*path}",
    "/.well-known/oauth-protected-resource/{*path}",
];

async fn description(demo: &TestApp) -> Value {
    demo.send(Request::get("/openapi.json").body(Body::empty()).unwrap()).await.body
}

/// Returns each operation with its path and method.
fn operations(description: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
    let paths = description["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
    })
}

/// Returns the paths of a router, without that of axum's fallback. axum names them in its `Debug` alone.
fn paths_of(router: &Router) -> BTreeSet<String> {
    let text = format!("{router:?}");
    let quoted = text.split('"').skip(1).step_by(2);
    quoted.filter(|text| text.starts_with('/') && !text.contains("axum_fallback")).map(str::to_owned).collect()
}

#[tokio::test]
async fn openapi_describes_each_route_of_the_router() {
    let demo = test_app();
    let description = description(&demo).await;
    let described: BTreeSet<String> = operations(&description).map(|(path, ..)| path.clone()).collect();
    let others = UNDESCRIBED.into_iter().chain(grpc::METHODS).map(str::to_owned);
    let expected: BTreeSet<String> = described.iter().cloned().chain(others).collect();
    assert_eq!(paths_of(&app(demo.state.clone())), expected);
}

#[tokio::test]
async fn openapi_describes_each_method_of_a_route() {
    let demo = test_app();
    let description = description(&demo).await;
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, method, _) in operations(&description) {
        described.entry(path.clone()).or_default().insert(method.to_uppercase());
    }
    for (path, methods) in described {
        let request = Request::builder().method("PATCH").uri(path.replace("{session_id}", "0"));
        let refused = demo.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = refused.headers[header::ALLOW].to_str().unwrap().split(',').filter(|method| *method != "HEAD");
        assert_eq!(allowed.map(str::to_owned).collect::<BTreeSet<_>>(), methods, "{path}");
    }
}

#[tokio::test]
async fn openapi_document_is_complete_in_itself() {
    let demo = test_app();
    let description = description(&demo).await;
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."), "{}", description["openapi"]);
    assert_eq!(description["servers"][0]["url"], ".");

    let text = description.to_string();
    for reference in text.split(r##""$ref":"#"##).skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(description.pointer(reference).is_some(), "{reference}");
    }
    let names = |pointer: &str| -> BTreeSet<&str> {
        let named = description.pointer(pointer).and_then(Value::as_array).unwrap();
        named.iter().map(|tag| tag["name"].as_str().unwrap()).collect()
    };
    let tags = names("/tags");
    let schemes = description["components"]["securitySchemes"].as_object().unwrap();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&description) {
        let place = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{place}: the id is not unique");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{place}");
        assert!(tags.contains(operation["tags"][0].as_str().unwrap()), "{place}");
        for requirement in operation["security"].as_array().unwrap() {
            for scheme in requirement.as_object().unwrap().keys() {
                assert!(schemes.contains_key(scheme), "{place}: {scheme}");
            }
        }
        for status in ["500", "503"] {
            assert!(operation["responses"].get(status).is_some(), "{place}: {status}");
        }
    }
}

/// What clients rely on in error responses.
#[tokio::test]
async fn openapi_describes_codes_and_headers_of_errors() {
    let demo = test_app();
    let description = description(&demo).await;
    let response = |path: &str, method: &str, status: &str| &description["paths"][path][method]["responses"][status];
    let codes = |path: &str, method: &str, status: &str| {
        response(path, method, status)["content"]["application/json"]["schema"]["allOf"][1]["properties"]["error"]["enum"]
            .clone()
    };
    assert_eq!(codes("/auth/login", "post", "401"), json!(["invalid_credentials"]));
    assert_eq!(codes("/auth/refresh", "post", "403"), json!(["csrf"]));
    assert_eq!(codes("/admin/users", "get", "403"), json!(["insufficient_scope"]));
    assert_eq!(
        codes("/oauth/token", "post", "400"),
        json!([
            "invalid_dpop_proof",
            "invalid_grant",
            "invalid_request",
            "invalid_scope",
            "invalid_target",
            "unauthorized_client",
            "unsupported_grant_type",
            "use_dpop_nonce",
        ])
    );
    for (path, method, operation) in operations(&description) {
        let headers = |status: &str| &operation["responses"][status]["headers"];
        for (status, header) in [("401", "WWW-Authenticate"), ("429", "Retry-After"), ("503", "Retry-After")] {
            if operation["responses"].get(status).is_some() {
                assert!(headers(status).get(header).is_some(), "{method} {path}: {status} {header}");
            }
        }
    }
    let fields = &description["components"]["schemas"]["ErrorResponse"]["properties"]["fields"];
    assert_eq!(fields["additionalProperties"]["type"], "string", "{fields}");
}

#[tokio::test]
async fn openapi_is_loaded_again_only_when_it_has_changed() {
    let demo = test_app();
    let first = demo.send(Request::get("/openapi.json").body(Body::empty()).unwrap()).await;
    assert_eq!(first.headers[header::CONTENT_TYPE], "application/json");
    let known = Request::get("/openapi.json").header(header::IF_NONE_MATCH, first.headers[header::ETAG].clone());
    let again = demo.send(known.body(Body::empty()).unwrap()).await;
    assert_eq!((again.status, again.body), (StatusCode::NOT_MODIFIED, Value::Null));
}

//! The pages at `/` and `/docs`, and their files.

use std::io::Read;

use flate2::read::GzDecoder;

use super::*;

async fn get(demo: &TestApp, path: &str, known: Option<&str>) -> (http::response::Parts, String) {
    let request =
        known.into_iter().fold(Request::get(path), |request, etag| request.header(header::IF_NONE_MATCH, etag));
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4000))));
    let (parts, body) = app(demo.state.clone()).oneshot(request).await.unwrap().into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    (parts, text)
}

#[tokio::test]
async fn pages_are_served_under_a_strict_policy() {
    let demo = test_app();
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/assets/style.css", "text/css; charset=utf-8"),
        ("/assets/main.js", "text/javascript; charset=utf-8"),
        ("/assets/icon.svg", "image/svg+xml"),
        ("/assets/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ] {
        let (parts, text) = get(&demo, path, None).await;
        assert_eq!(parts.status, StatusCode::OK, "{path}");
        assert!(!text.is_empty(), "{path}");
        assert_eq!(parts.headers[header::CONTENT_TYPE], content_type);
        assert_eq!(parts.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(parts.headers[header::REFERRER_POLICY], "no-referrer");
        assert_eq!(parts.headers[header::X_FRAME_OPTIONS], "DENY");
        let policy = parts.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        for directive in ["default-src 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(directive), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("sha256"), "{path}: {policy}");
    }
    let (parts, _) = get(&demo, "/", None).await;
    let policy = parts.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    for directive in ["script-src 'self';", "style-src 'self';", "connect-src 'self';", "form-action 'none';"] {
        assert!(policy.contains(directive), "{policy}");
    }
}

#[tokio::test]
async fn pages_are_loaded_again_only_when_they_have_changed() {
    let demo = test_app();
    for path in ["/", "/assets/main.js"] {
        let (first, _) = get(&demo, path, None).await;
        assert_eq!(first.headers[header::CACHE_CONTROL], "no-cache");
        let etag = first.headers[header::ETAG].to_str().unwrap();
        let (same, text) = get(&demo, path, Some(etag)).await;
        assert_eq!((same.status, &*text), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(same.headers[header::ETAG], *etag);
        let (other, text) = get(&demo, path, Some("\"another\"")).await;
        assert_eq!(other.status, StatusCode::OK);
        assert!(!text.is_empty());
    }
}

#[tokio::test]
async fn pages_are_compressed_for_a_client_that_takes_gzip() {
    let demo = test_app();
    let get = async |path: &str, encodings: &str, known: &str| {
        let mut request = Request::get(path).header(header::ACCEPT_ENCODING, encodings);
        if !known.is_empty() {
            request = request.header(header::IF_NONE_MATCH, known);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4000))));
        let (parts, body) = app(demo.state.clone()).oneshot(request).await.unwrap().into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    };
    for path in ["/", "/docs", "/assets/main.js", "/assets/swagger-ui-bundle.js"] {
        let mut etags = Vec::new();
        for (plain, compressed) in
            [("identity", "gzip"), ("br, GZIP;q=0", "br;q=1, gzip;q=0.5"), ("gzip;q=0.000", "x, gzip")]
        {
            let (whole, text) = get(path, plain, "").await;
            assert_eq!(whole.headers.get(header::CONTENT_ENCODING), None, "{path} {plain}");
            let (small, bytes) = get(path, compressed, "").await;
            assert_eq!(small.headers[header::CONTENT_ENCODING], "gzip", "{path} {compressed}");
            let mut read = Vec::new();
            GzDecoder::new(&*bytes).read_to_end(&mut read).unwrap();
            assert_eq!(read, text, "{path}");
            for parts in [whole, small] {
                assert_eq!(parts.headers[header::VARY], "accept-encoding");
                etags.push(parts.headers[header::ETAG].to_str().unwrap().to_owned());
            }
        }
        etags.sort_unstable();
        etags.dedup();
        assert_eq!(etags.len(), 2, "one for each encoding: {etags:?}");
        // A cache asks with the name that it has, and hears that this depends on the encoding.
        let (small, _) = get(path, "gzip", "").await;
        let (same, bytes) = get(path, "gzip", small.headers[header::ETAG].to_str().unwrap()).await;
        assert_eq!((same.status, &*bytes), (StatusCode::NOT_MODIFIED, &b""[..]));
        assert_eq!(same.headers[header::VARY], "accept-encoding");
    }
}

#[tokio::test]
async fn pages_have_no_other_files() {
    let demo = test_app();
    for path in
        ["/assets/nothing.js", "/assets/index.html", "/assets/..%2FCargo.toml", "/assets/%ff", "/assets/", "/assets"]
    {
        let (parts, text) = get(&demo, path, None).await;
        assert_eq!(parts.status, StatusCode::NOT_FOUND, "{path}");
        assert!(text.contains("not_found"), "{path}: {text}");
    }
}

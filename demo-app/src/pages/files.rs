//! The pages at `/` and `/docs`, and the files of all pages. They are embedded in the program.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{LazyLock, OnceLock},
};

use axum::{
    extract::{Path, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY},
};

use super::security_headers;
use crate::{error::ApiError, openapi};

/// The page at `/` loads its own files alone, runs no inline script, and writes no HTML from a
/// script. Its forms are sent by its script; the browser itself must send none, because a password
/// could come into a URL.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                           connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; \
                           require-trusted-types-for 'script'; trusted-types 'none'";

/// The page at `/docs` is Swagger UI, which writes HTML from its script and has images in its style.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                           connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// A file is no page: opened by itself, it does nothing.
const FILE_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

struct File {
    name: &'static str,
    content_type: &'static str,
    text: Body,
    /// The text, compressed by the build script. Only a file without secrets may have it: the size of
    /// a compressed answer tells of what is in it.
    gzip: Option<Body>,
}

struct Body {
    bytes: &'static [u8],
    /// Made when the body is first sent: the viewer has more than a megabyte.
    etag: OnceLock<HeaderValue>,
}

macro_rules! gzip {
    ($name:literal) => {
        Some(Body::new(include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz"))))
    };
}

macro_rules! files {
    ($folder:literal: $($content_type:literal: $($name:literal)+;)+) => {
        [$($(File::new(
            $name,
            $content_type,
            include_str!(concat!("../../", $folder, "/", $name)),
            gzip!($name),
        )),+),+]
    };
}

const HTML: &str = "text/html; charset=utf-8";

static PAGE: File = File::new("index.html", HTML, include_str!("../../web/index.html"), gzip!("index.html"));
static DOCS: File = File::new("docs.html", HTML, include_str!("../../web/docs.html"), gzip!("docs.html"));
static DESCRIPTION: LazyLock<File> =
    LazyLock::new(|| File::new("openapi.json", "application/json", openapi::served(), None));

static FILES: [File; 20] = files! {
    "web":
    "text/css; charset=utf-8": "docs.css" "page.css" "style.css";
    "image/svg+xml": "icon.svg";
    "text/javascript; charset=utf-8":
        "account.js" "api.js" "claims.js" "docs.js" "dom.js" "exchanges.js" "main.js" "password.js" "protected.js"
        "session.js" "sessions.js" "sign_in.js" "single_use.js" "states.js" "stream.js" "words.js";
};

/// Swagger UI.
static VIEWER: [File; 2] = files! {
    "third-party/swagger-ui":
    "text/css; charset=utf-8": "swagger-ui.css";
    "text/javascript; charset=utf-8": "swagger-ui-bundle.js";
};

/// Answers with the page at `/`.
pub(crate) async fn page(headers: HeaderMap) -> Response {
    PAGE.respond(&headers, PAGE_POLICY)
}

/// Answers with the page that shows the API's description.
pub(crate) async fn docs(headers: HeaderMap) -> Response {
    DOCS.respond(&headers, DOCS_POLICY)
}

/// Answers with the API's description.
pub(crate) async fn description(headers: HeaderMap) -> Response {
    DESCRIPTION.respond(&headers, FILE_POLICY)
}

/// Answers with a file that pages load.
pub(crate) async fn file(name: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, ApiError> {
    let Path(name) = name.map_err(|_| ApiError::NotFound)?;
    let file = FILES.iter().chain(&VIEWER).find(|file| file.name == name).ok_or(ApiError::NotFound)?;
    Ok(file.respond(&headers, FILE_POLICY))
}

impl File {
    const fn new(name: &'static str, content_type: &'static str, text: &'static str, gzip: Option<Body>) -> Self {
        Self { name, content_type, text: Body::new(text.as_bytes()), gzip }
    }

    /// A browser asks each time whether the file has changed: after an upgrade, no old script meets
    /// a new page.
    fn respond(&self, request: &HeaderMap, policy: &'static str) -> Response {
        let gzip = self.gzip.as_ref().filter(|_| accepts_gzip(request));
        let body = gzip.unwrap_or(&self.text);
        let etag = body.etag();
        let caching = [(CACHE_CONTROL, HeaderValue::from_static("no-cache")), (ETAG, etag.clone())];
        let varies = self.gzip.as_ref().map(|_| [(VARY, "accept-encoding")]);
        if request.get(IF_NONE_MATCH) == Some(etag) {
            return (StatusCode::NOT_MODIFIED, varies, caching).into_response();
        }
        let content = [(CONTENT_TYPE, self.content_type)];
        let encoding = gzip.map(|_| [(CONTENT_ENCODING, "gzip")]);
        let security = security_headers(HeaderValue::from_static(policy));
        (security, caching, varies, content, encoding, body.bytes).into_response()
    }
}

impl Body {
    const fn new(bytes: &'static [u8]) -> Self {
        Self { bytes, etag: OnceLock::new() }
    }

    /// Names the bytes: another encoding has another name (RFC 9110 §8.8.3.3).
    fn etag(&self) -> &HeaderValue {
        self.etag.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.bytes.hash(&mut hasher);
            let tag = format!("\"{:016x}\"", hasher.finish());
            HeaderValue::try_from(tag).expect("a quoted number is ASCII")
        })
    }
}

/// Returns whether the client takes gzip, which a weight of 0 denies (RFC 9110 §12.5.3).
fn accepts_gzip(request: &HeaderMap) -> bool {
    let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_some_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path as FilePath};

    use super::*;

    impl File {
        fn text(&self) -> &'static str {
            str::from_utf8(self.text.bytes).unwrap()
        }
    }

    /// Returns what follows `before` up to the next quote, at each place.
    fn quoted<'t>(text: &'t str, before: &str) -> Vec<&'t str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(['"', '\'']).next()).collect()
    }

    #[test]
    fn pages_have_every_file_of_their_folder() {
        let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        let mut served: Vec<_> = FILES.iter().chain([&PAGE, &DOCS]).map(|file| file.name).collect();
        names.sort();
        served.sort_unstable();
        assert_eq!(names, served);
    }

    #[test]
    fn pages_show_the_api_with_the_pinned_viewer() {
        let sums = include_str!("../../third-party/swagger-ui/SHA256SUMS");
        let sums: Vec<_> = sums.lines().map(|line| line.split_once("  ").unwrap()).collect();
        assert_eq!(sums.len(), VIEWER.len());
        for (expected, name) in sums {
            let file = VIEWER.iter().find(|file| file.name == name).unwrap();
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, file.text().as_bytes());
            let digest = digest.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            assert_eq!(digest, expected, "{name}");
        }
    }

    #[test]
    fn pages_load_files_that_exist_and_nothing_else() {
        let loaded =
            [&PAGE, &DOCS].map(|page| [quoted(page.text(), "href=\"assets/"), quoted(page.text(), "src=\"assets/")]);
        let loaded = loaded.concat().concat();
        for name in ["main.js", "style.css", "docs.js", "swagger-ui-bundle.js"] {
            assert!(loaded.contains(&name), "{loaded:?}");
        }
        let imported = FILES
            .iter()
            .flat_map(|file| quoted(file.text(), "import './").into_iter().chain(quoted(file.text(), " from './")));
        // The page names all of its modules: a browser need not read one to find the next.
        let mut named = quoted(PAGE.text(), "rel=\"modulepreload\" href=\"assets/");
        let mut modules: Vec<_> = imported.clone().collect();
        for names in [&mut named, &mut modules] {
            names.sort_unstable();
        }
        modules.dedup();
        assert_eq!(named, modules);
        for name in loaded.into_iter().chain(imported) {
            assert!(FILES.iter().chain(&VIEWER).any(|file| file.name == name), "{name}");
        }
        for other in [&PAGE, &DOCS]
            .iter()
            .flat_map(|page| [quoted(page.text(), "href=\""), quoted(page.text(), "src=\"")].concat())
        {
            assert!(other.starts_with("assets/") || other.starts_with('#') || other == "docs", "{other}");
        }
        for file in &FILES {
            for elsewhere in ["http://", "https://", "url(", "@import"] {
                let is_namespace = file.name == "icon.svg" && elsewhere == "http://";
                assert!(is_namespace || !file.text().contains(elsewhere), "{}: {elsewhere}", file.name);
            }
        }
    }

    /// The policy would block them.
    #[test]
    fn pages_have_no_inline_style_or_script_and_scripts_write_no_html() {
        for (page, scripts) in [(&PAGE, 1), (&DOCS, 2)] {
            for inline in ["<style", " style=", " onclick=", " onsubmit=", "javascript:"] {
                assert!(!page.text().contains(inline), "{inline}");
            }
            assert_eq!(page.text().matches("<script").count(), scripts);
            assert_eq!(page.text().matches(" src=\"assets/").count() - page.text().matches("<img").count(), scripts);
        }
        for file in &FILES {
            for writes in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"] {
                assert!(!file.text().contains(writes), "{}: {writes}", file.name);
            }
        }
    }

    #[test]
    fn pages_label_the_controls_as_the_contract_says() {
        for label in ["Username", "Password"] {
            assert_eq!(PAGE.text().matches(&format!("\">{label}</label>")).count(), 1, "{label}");
        }
        for button in ["Register", "Sign in", "Call /me", "Refresh", "Sign out", "Sign out everywhere"] {
            assert_eq!(PAGE.text().matches(&format!(">{button}</button>")).count(), 1, "{button}");
        }
    }
}

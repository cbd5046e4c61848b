//! The page at `/` and the files of all pages. They are embedded in the program.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::{
    extract::{Path, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};

use super::security_headers;
use crate::error::ApiError;

/// The page at `/` loads its own files alone, runs no inline script, and writes no HTML from a
/// script. Its forms are sent by its script; the browser itself must send none, because a password
/// could come into a URL.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                           connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; \
                           require-trusted-types-for 'script'; trusted-types 'none'";

/// A file is no page: opened by itself, it does nothing.
const FILE_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

struct File {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($content_type:literal: $($name:literal)+;)+) => {
        &[$($(File {
            name: $name,
            content_type: $content_type,
            text: include_str!(concat!("../../web/", $name)),
        }),+),+]
    };
}

const PAGE: File =
    File { name: "index.html", content_type: "text/html; charset=utf-8", text: include_str!("../../web/index.html") };

const FILES: &[File] = files! {
    "text/css; charset=utf-8": "page.css" "style.css";
    "image/svg+xml": "icon.svg";
    "text/javascript; charset=utf-8":
        "account.js" "api.js" "claims.js" "dom.js" "exchanges.js" "main.js" "password.js" "protected.js" "session.js"
        "sessions.js" "sign_in.js" "single_use.js" "states.js" "stream.js" "words.js";
};

/// Answers with the page.
pub(crate) async fn page(headers: HeaderMap) -> Response {
    PAGE.respond(&headers, PAGE_POLICY)
}

/// Answers with a file that pages load.
pub(crate) async fn file(name: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, ApiError> {
    let Path(name) = name.map_err(|_| ApiError::NotFound)?;
    let file = FILES.iter().find(|file| file.name == name).ok_or(ApiError::NotFound)?;
    Ok(file.respond(&headers, FILE_POLICY))
}

impl File {
    /// A browser asks each time whether the file has changed: after an upgrade, no old script meets
    /// a new page.
    fn respond(&self, request: &HeaderMap, policy: &'static str) -> Response {
        let etag = self.etag();
        let caching = [(CACHE_CONTROL, "no-cache"), (ETAG, &*etag)];
        if request.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
            return (StatusCode::NOT_MODIFIED, caching).into_response();
        }
        let content_type = [(CONTENT_TYPE, self.content_type)];
        (security_headers(HeaderValue::from_static(policy)), caching, content_type, self.text).into_response()
    }

    fn etag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path as FilePath};

    use super::*;

    /// Returns what follows `before` up to the next quote, at each place.
    fn quoted<'t>(text: &'t str, before: &str) -> Vec<&'t str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(['"', '\'']).next()).collect()
    }

    #[test]
    fn pages_have_every_file_of_their_folder() {
        let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        let mut served: Vec<_> = FILES.iter().chain([&PAGE]).map(|file| file.name).collect();
        names.sort();
        served.sort_unstable();
        assert_eq!(names, served);
    }

    #[test]
    fn pages_load_files_that_exist_and_nothing_else() {
        let loaded = [quoted(PAGE.text, "href=\"assets/"), quoted(PAGE.text, "src=\"assets/")].concat();
        assert!(loaded.contains(&"main.js") && loaded.contains(&"style.css"), "{loaded:?}");
        let imported = FILES
            .iter()
            .flat_map(|file| quoted(file.text, "import './").into_iter().chain(quoted(file.text, " from './")));
        for name in loaded.into_iter().chain(imported) {
            assert!(FILES.iter().any(|file| file.name == name), "{name}");
        }
        for other in quoted(PAGE.text, "href=\"").into_iter().chain(quoted(PAGE.text, "src=\"")) {
            assert!(other.starts_with("assets/") || other.starts_with('#'), "{other}");
        }
        for file in FILES {
            for elsewhere in ["http://", "https://", "url(", "@import"] {
                let is_namespace = file.name == "icon.svg" && elsewhere == "http://";
                assert!(is_namespace || !file.text.contains(elsewhere), "{}: {elsewhere}", file.name);
            }
        }
    }

    /// The policy would block them.
    #[test]
    fn pages_have_no_inline_style_or_script_and_scripts_write_no_html() {
        for inline in ["<style", " style=", " onclick=", " onsubmit=", "javascript:"] {
            assert!(!PAGE.text.contains(inline), "{inline}");
        }
        assert_eq!(PAGE.text.matches("<script").count(), 1);
        for file in FILES {
            for writes in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"] {
                assert!(!file.text.contains(writes), "{}: {writes}", file.name);
            }
        }
    }

    #[test]
    fn pages_label_the_controls_as_the_contract_says() {
        for label in ["Username", "Password"] {
            assert_eq!(PAGE.text.matches(&format!("\">{label}</label>")).count(), 1, "{label}");
        }
        for button in ["Register", "Sign in", "Call /me", "Refresh", "Sign out", "Sign out everywhere"] {
            assert_eq!(PAGE.text.matches(&format!(">{button}</button>")).count(), 1, "{button}");
        }
    }
}

//! The sign-in page in Chromium.

use std::{fs, path::Path};

use serde_json::json;
use tests::clients;

use super::Service;

/// Its pictures are in `target/tmp/browser`.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(all(has_node, has_chromium)), ignore = "Node.js, npm or Chromium is not on the PATH")]
async fn oauth_browser_signs_in_on_the_page_and_withstands_attacks() {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    fs::create_dir_all(&pictures).unwrap();
    let (service, other) = tokio::join!(Service::start(&[]), Service::start(&[]));
    let input = service.input(json!({
        "chromium": clients::chromium(),
        "other_issuer": other.node.url(),
        "screenshots": pictures,
    }));
    let told = clients::browser("browser.mjs", &input).await;
    assert_eq!(
        told["steps"],
        json!([
            "wrong password, then the right one",
            "replayed code",
            "wrong redirect URI",
            "stolen code",
            "mixed-up issuer",
            "framed page",
            "form of another site",
            "back button",
            "double click",
            "cancel",
            "small and dark",
        ])
    );
}

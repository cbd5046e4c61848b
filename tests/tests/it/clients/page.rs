//! The page at `/` in Chromium.

use std::{fs, path::Path};

use serde_json::json;
use tests::clients;

use super::Service;

/// Its pictures are in `target/tmp/browser`; those in `docs` are made from them.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(all(has_node, has_chromium)), ignore = "Node.js, npm or Chromium is not on the PATH")]
async fn pages_lead_a_user_through_the_flow_and_axe_finds_no_violation() {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    fs::create_dir_all(&pictures).unwrap();
    let service = Service::start(&[]).await;
    let input = service.input(json!({ "chromium": clients::chromium(), "screenshots": pictures }));
    let told = clients::browser("page.mjs", &input).await;
    assert_eq!(
        told["steps"],
        json!([
            "first look",
            "mistakes",
            "bearer",
            "automatic refresh",
            "sessions and a stream",
            "single use",
            "password",
            "cookies",
            "keyboard alone",
            "phone, dark, reduced motion",
            "no script",
            "sign-in page",
        ])
    );
    // Each look has checked something, and a violation would have failed the script.
    let axe = &told["axe"];
    assert!(axe["pages"].as_u64() >= Some(15) && axe["passes"].as_u64() >= Some(300), "{axe}");
}

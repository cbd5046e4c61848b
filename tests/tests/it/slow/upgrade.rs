//! A node of this version replaces one of the landed version, and reads what that one wrote.

use http::StatusCode;
use serde_json::json;
use tests::{client::Client, landed, servers};

use super::{list_sessions, sign_in_with, single_use, spend};
use crate::fleet::{LONG_GRACE, NodeProgram, PASSWORD, username};

/// A password to change to.
const NEW_PASSWORD: &str = "battery staple";

#[tokio::test]
#[ignore = "slow: builds the landed version"]
async fn upgrade_reads_the_landed_versions_records_in_the_embedded_store() {
    upgrade(&[]).await;
}

#[tokio::test]
#[ignore = "slow: builds the landed version"]
async fn upgrade_reads_the_landed_versions_records_in_mongodb_and_redis() {
    let (database, redis) = (servers::mongodb().await, servers::redis().await);
    upgrade(&[("MONGODB_URI", &database.uri), ("MONGODB_DATABASE", &database.name), ("REDIS_URL", &redis.url)]).await;
}

/// Writes with the landed version, stops it, and reads everything with this version.
async fn upgrade(env: &[(&str, &str)]) {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().to_str().unwrap();
    let args = ["--data-dir", directory, "--local-cache", "0", "--rate-limit", "off", LONG_GRACE[0], LONG_GRACE[1]];

    let mut node = NodeProgram::at(landed::demo_app().await).start(&args, env).await;
    let before = Client::new(node.url());
    let name = username();
    before.register(&name, PASSWORD).await.unwrap();
    let retired = sign_in_with(&before, &name, "phone").await;
    let refreshed = before.refresh(&retired.refresh).await.unwrap().tokens();
    let mut robbed = vec![sign_in_with(&before, &name, "phone").await];
    for turn in 0..2 {
        robbed.push(before.refresh(&robbed[turn].refresh).await.unwrap().tokens());
    }
    let ended = sign_in_with(&before, &name, "phone").await;
    assert_eq!(before.logout(&ended.access).await.unwrap().status, StatusCode::NO_CONTENT);
    let [used, unused] = [single_use(&before, &refreshed.access).await, single_use(&before, &refreshed.access).await];
    assert_eq!(spend(&before, &used).await, StatusCode::OK);
    let careful = username();
    let replaced = before.sign_up(&careful, PASSWORD).await.unwrap();
    let changing = sign_in_with(&before, &careful, "phone").await;
    let change = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
    let changed = before.post("/auth/password", Some(&changing.access), Some(&change)).await.unwrap();
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
    let listed = list_sessions(&before, &refreshed.access).await;
    assert!(node.terminate().await.success());

    let node = NodeProgram::full_hashes().start(&args, env).await;
    let after = Client::new(node.url());
    for alive in [&retired, &refreshed, &robbed[2], &changing] {
        assert_eq!(after.me(&alive.access).await.unwrap().status, StatusCode::OK);
    }
    assert_eq!(list_sessions(&after, &refreshed.access).await, listed);
    let again = after.refresh(&retired.refresh).await.unwrap().tokens();
    assert_eq!((&again.access, &again.refresh), (&refreshed.access, &refreshed.refresh), "byte for byte");
    for dead in [&ended, &replaced] {
        assert_eq!(after.me(&dead.access).await.unwrap().error(), "invalid_token");
        assert_eq!(after.refresh(&dead.refresh).await.unwrap().error(), "invalid_grant");
    }
    assert_eq!(spend(&after, &used).await, StatusCode::UNAUTHORIZED);
    assert_eq!(spend(&after, &unused).await, StatusCode::OK);
    assert_eq!(after.login(&careful, PASSWORD).await.unwrap().error(), "invalid_credentials");
    assert_eq!(after.login(&careful, NEW_PASSWORD).await.unwrap().status, StatusCode::OK);
    let next = after.refresh(&refreshed.refresh).await.unwrap().tokens();
    assert_eq!(after.me(&next.access).await.unwrap().status, StatusCode::OK);
    assert!(!node.log().contains("refresh_token_reuse"), "no refresh counted as reuse");

    // The landed version retired this token, two refreshes ago.
    assert_eq!(after.refresh(&robbed[0].refresh).await.unwrap().error(), "invalid_grant");
    node.log().until("refresh_token_reuse", 1).await;
    for pair in &robbed {
        assert_eq!(after.me(&pair.access).await.unwrap().error(), "invalid_token");
    }
    assert_eq!(after.me(&next.access).await.unwrap().status, StatusCode::OK, "another session");
}

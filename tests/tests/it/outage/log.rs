//! The log lines of an outage.

use http::StatusCode;
use tests::servers::MongoServer;
use tokio::task::JoinSet;

use super::for_a_while;
use crate::fleet::{Fleet, PASSWORD, username};

/// Returns the lines that report a problem.
fn problems(log: &[String]) -> Vec<&String> {
    log.iter().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_of_an_outage_is_a_few_short_lines() {
    let mut mongodb = MongoServer::start().await;
    let fleet = Fleet::on_servers(1, &mongodb, None, &["--local-cache", "0"]).await;
    let node = fleet.clients().0;
    let tokens = node.sign_up(&username(), PASSWORD).await.unwrap();
    mongodb.kill();
    let mut requests = JoinSet::new();
    for _ in 0..40 {
        let (checked, refreshed, tokens) = (node.clone(), node.clone(), tokens.clone());
        requests.spawn(async move {
            let checked = checked.me(&tokens.access).await.unwrap().status;
            [checked, refreshed.refresh(&tokens.refresh).await.unwrap().status]
        });
    }
    for statuses in requests.join_all().await {
        assert_eq!(statuses, [StatusCode::SERVICE_UNAVAILABLE; 2]);
    }
    node.get("/healthz", None).await.unwrap();
    let log = fleet.nodes[0].log();
    log.until("/healthz", 1).await;
    let lines = log.lines();
    let problems = problems(&lines);
    // Checks, refreshes and the news of revocations.
    assert!((1..=3).contains(&problems.len()), "{problems:#?}");
    for line in problems {
        assert!(!line.contains("Topology") && line.len() < 600, "{line}");
    }
    assert_eq!(lines.iter().filter(|line| line.contains("status=503")).count(), 80, "requests are all there");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_of_an_idle_node_whose_redis_cluster_is_away_is_a_few_lines() {
    let mongodb = MongoServer::start().await;
    // Nobody listens on these ports.
    let away = "redis://127.0.0.1:1,redis://127.0.0.1:2";
    let fleet = Fleet::on_servers(1, &mongodb, None, &["--redis-url", away]).await;
    let log = fleet.nodes[0].log();
    let begun = log.lines().len();
    for_a_while().await;
    let lines = log.lines();
    assert!(lines.len() < begun + 5, "{} lines at first, then:\n{}", begun, lines[begun..].join("\n"));
    assert!((1..=6).contains(&problems(&lines).len()), "{lines:#?}");
}

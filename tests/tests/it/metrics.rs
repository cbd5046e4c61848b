//! What a node shows at `/metrics`, and the documents and files that name it.

mod exposition;
mod promql;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use demo_app::grpc::pb::{WhoAmIRequest, identity_client::IdentityClient};
use http::{Method, StatusCode};
use serde_json::Value;
use tests::{
    client::{Client, Tokens},
    node::Node,
    promtool::promtool,
    servers::{MongoServer, RedisServer},
};
use tokio::time::sleep;
use tonic::transport::Channel;

use self::exposition::{Family, families};
use crate::{
    fleet::{Fleet, NodeProgram, PASSWORD, username},
    tls::Authority,
};

const TABLE: &str = include_str!("../../../docs/metrics.md");
const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/dashboard.json");

/// Where the rules are, and their tests.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus");

/// The time for what a node samples, or hears of from a server.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node's metrics, at their own address.
struct Metrics(Client);

impl Metrics {
    /// The metrics of a node that has an address for them.
    async fn of(node: &Node) -> Self {
        node.log().until("metrics on ", 1).await;
        let log = node.log().lines();
        let address = log.iter().find_map(|line| line.strip_prefix("metrics on "));
        Self(Client::new(address.expect("it says where its metrics are")))
    }

    async fn text(&self) -> String {
        let answer = self.0.get("/metrics", None).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"), "{answer:?}");
        answer.text
    }

    /// Waits for a line that begins with this, and repeats `work` until then.
    async fn until(&self, line: &str, work: impl AsyncFn()) {
        let begun = Instant::now();
        loop {
            work().await;
            let text = self.text().await;
            if text.lines().any(|found| found.starts_with(line)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "no {line} in {text}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Brings about each event that has a metric, on a node with all stores.
async fn run_script(node: &Node, metrics: &Metrics, mongodb: &mut MongoServer, redis: &mut RedisServer) {
    let (http, name) = (Client::new(node.url()), username());
    let tokens = http.sign_up(&name, PASSWORD).await.unwrap();
    let me = async || drop(http.me(&tokens.access).await.unwrap());
    metrics.until(r#"auth_checks_total{tier="local",outcome="accepted"} 1"#, &me).await;
    // When the lease is over, Redis answers.
    metrics.until(r#"auth_checks_total{tier="shared",outcome="accepted"}"#, &me).await;
    for token in ["rubbish", &tokens.refresh] {
        assert_eq!(http.me(token).await.unwrap().status, StatusCode::UNAUTHORIZED);
    }
    call_grpc(node, &tokens).await;
    let once = http.post("/auth/single-use", Some(&tokens.access), None).await.unwrap().json();
    let once = once["access_token"].as_str().unwrap();
    for status in [StatusCode::OK, StatusCode::UNAUTHORIZED] {
        assert_eq!(http.post("/demo/single-use", Some(once), None).await.unwrap().status, status);
    }
    assert_eq!(http.login(&name, "a wrong password").await.unwrap().status, StatusCode::UNAUTHORIZED);

    // Reuse: without a grace window each second presentation is one.
    let doomed = http.login(&name, PASSWORD).await.unwrap().tokens();
    assert_eq!(http.refresh(&doomed.refresh).await.unwrap().status, StatusCode::OK);
    assert_eq!(http.refresh(&doomed.refresh).await.unwrap().status, StatusCode::UNAUTHORIZED);
    metrics.until("auth_refresh_reuse_total 1", async || {}).await;

    // Its state is asked for when the stores are gone.
    let lost = http.login(&name, PASSWORD).await.unwrap().tokens();
    let events = http.request(Method::GET, "/demo/events").bearer_auth(&tokens.access).send().await.unwrap();
    metrics.until("auth_streams_open 1", async || {}).await;
    assert_eq!(http.logout(&tokens.access).await.unwrap().status, StatusCode::NO_CONTENT);
    metrics.until(r#"auth_streams_ended_total{reason="revoked"} 1"#, async || {}).await;
    drop(events);

    redis.kill();
    metrics.until(r#"store_up{store="redis"} 0"#, async || {}).await;
    metrics.until(r#"auth_lease_losses_total{reason="gap"} "#, async || {}).await;
    mongodb.kill();
    assert_eq!(http.login(&name, PASSWORD).await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    let lost = async || drop(http.me(&lost.access).await.unwrap());
    metrics.until(r#"auth_checks_total{tier="store",outcome="unavailable"}"#, lost).await;
    metrics.until(r#"store_up{store="mongodb"} 0"#, async || {}).await;
}

async fn call_grpc(node: &Node, tokens: &Tokens) {
    let channel = Channel::from_shared(node.url().to_owned()).unwrap().connect().await.unwrap();
    let mut client = IdentityClient::new(channel);
    let mut request = tonic::Request::new(WhoAmIRequest {});
    request.metadata_mut().insert("authorization", format!("Bearer {}", tokens.access).parse().unwrap());
    client.who_am_i(request).await.unwrap();
}

/// A row of a table of metrics.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    kind: String,
    labels: BTreeSet<String>,
}

/// Returns the rows of the table under this heading, by name.
fn documented(heading: &str) -> BTreeMap<String, Row> {
    let (_, section) = TABLE.split_once(&format!("\n## {heading}\n")).expect("the heading is there");
    let section = section.split("\n## ").next().unwrap().split("\n### ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[2].split(',').map(|label| label.trim().trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty()).map(str::to_owned).collect();
        (cells[0].trim_end_matches('`').to_owned(), Row { kind: cells[1].to_owned(), labels })
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_shown_are_those_of_the_table_the_dashboard_and_the_alerts() {
    let (mut mongodb, mut redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let args = ["--metrics-listen", "127.0.0.1:0", "--refresh-grace", "0"];
    let fleet = Fleet::on_servers(1, &mongodb, Some(&redis), &args).await;
    let metrics = Metrics::of(&fleet.nodes[0]).await;
    run_script(&fleet.nodes[0], &metrics, &mut mongodb, &mut redis).await;

    let mut shown = families(&metrics.text().await);
    let of_tls = |name: &str| name.starts_with("tls_");
    assert!(!shown.keys().any(|name| of_tls(name)), "shown without TLS");
    let authority = Authority::new();
    let node = authority.node(&["--metrics-listen", "127.0.0.1:0"]).await;
    let metrics = Metrics::of(&node).await;
    metrics.until("tls_", async || {}).await;
    shown.extend(families(&metrics.text().await).into_iter().filter(|(name, _)| of_tls(name)));
    let described = shown.iter().filter(|(_, family)| family.help.is_empty()).map(|(name, _)| name);
    assert_eq!(described.collect::<Vec<_>>(), Vec::<&String>::new(), "without help");
    let as_row = |family: &Family| Row { kind: family.kind.clone(), labels: family.labels.clone() };
    let rows: BTreeMap<String, Row> = shown.iter().map(|(name, family)| (name.clone(), as_row(family))).collect();
    let documented = documented("What a node shows");
    let names: BTreeSet<&String> = documented.keys().chain(rows.keys()).collect();
    let differ = names.into_iter().filter(|name| documented.get(*name) != rows.get(*name));
    let differ: Vec<_> = differ.map(|name| (name, documented.get(name), rows.get(name))).collect();
    assert!(differ.is_empty(), "name, the table's row, what the node shows: {differ:#?}");

    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let queries = promql::dashboard_queries(&dashboard);
    assert!(queries.len() > 40, "{queries:?}");
    let rules = promql::rules(ALERTS);
    assert!(rules.expressions.len() > 20, "{rules:?}");
    let series: BTreeSet<String> = shown.iter().flat_map(|(name, family)| family.series_names(name)).collect();
    // Prometheus itself makes this one.
    let known = |name: &str| name == "up" || series.contains(name) || rules.recorded.contains(name);
    for query in queries.iter().chain(&rules.expressions) {
        let names = promql::metric_names(query);
        assert!(!names.is_empty(), "no metric in {query}");
        let unknown: Vec<_> = names.iter().filter(|name| !known(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?} is shown by no node: {query}");
    }
}

#[tokio::test]
async fn metrics_have_an_address_of_their_own_or_the_main_one() {
    let node = NodeProgram::cheap_hashes().start(&["--metrics-listen", "127.0.0.1:0"], &[]).await;
    let (main, metrics) = (Client::new(node.url()), Metrics::of(&node).await);
    let refused = main.get("/metrics", None).await.unwrap();
    assert_eq!((refused.status, refused.error().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    assert!(metrics.text().await.contains("auth_checks_total"));
    for path in ["/", "/healthz", "/auth/login", "/.well-known/jwks.json"] {
        assert_eq!(metrics.0.get(path, None).await.unwrap().status, StatusCode::NOT_FOUND, "{path}");
    }
    let mut node = node;
    assert!(node.terminate().await.success());
    assert!(metrics.0.get("/metrics", None).await.is_err(), "it ends with the node");
    let log = node.log().lines();
    let stops = log.iter().filter(|line| line.contains("accepting no connections"));
    assert_eq!(stops.count(), 1, "{log:#?}");

    let node = NodeProgram::cheap_hashes().start(&[], &[]).await;
    let shown = Client::new(node.url()).get("/metrics", None).await.unwrap();
    assert!(shown.status == StatusCode::OK && shown.text.contains("auth_checks_total"), "{shown:?}");
}

#[tokio::test]
async fn metrics_tell_when_the_certificate_expires_and_a_reload_changes_it() {
    let authority = Authority::new();
    authority.renew_until(2040);
    let node = authority.node(&["--metrics-listen", "127.0.0.1:0"]).await;
    let metrics = Metrics::of(&node).await;
    let until = async |seconds: u32| {
        metrics.until(&format!("tls_certificate_not_after_timestamp_seconds {seconds}"), async || {}).await;
    };
    until(2_208_988_800).await;
    authority.renew_until(2041);
    until(2_240_611_200).await;
}

#[tokio::test]
#[cfg_attr(not(has_promtool), ignore = "promtool is not on the PATH")]
async fn metrics_of_a_node_pass_promtool() {
    let fleet = Fleet::embedded(&["--refresh-grace", "0"]).await;
    let http = fleet.clients().0;
    let tokens = http.sign_up(&username(), PASSWORD).await.unwrap();
    call_grpc(&fleet.nodes[0], &tokens).await;
    http.refresh(&tokens.refresh).await.unwrap();
    http.refresh(&tokens.refresh).await.unwrap();
    let text = http.get("/metrics", None).await.unwrap().text;
    let checked = promtool(&["check", "metrics"], &text).await;
    assert!(checked.code == Some(0) && checked.stderr.is_empty() && checked.stdout.is_empty(), "{checked}\n{text}");
}

#[tokio::test]
#[cfg_attr(not(has_promtool), ignore = "promtool is not on the PATH")]
async fn metrics_alerts_pass_promtool_and_fire_when_they_must() {
    let [config, rules, tests] =
        ["prometheus.yml", "alerts.yml", "alerts_test.yml"].map(|file| format!("{RULES}/{file}"));
    for args in [["check", "config", &config], ["check", "rules", &rules], ["test", "rules", &tests]] {
        let checked = promtool(&args, "").await;
        assert_eq!(checked.code, Some(0), "{args:?}: {checked}");
    }
}

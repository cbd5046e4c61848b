//! The audit events of a running node, in both formats of the log.

use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::fleet::{Fleet, PASSWORD, username};

/// Signs in wrongly and rightly, presents a retired token, and signs out. Returns the secrets.
async fn run_session(fleet: &Fleet, name: &str) -> Vec<String> {
    let node = fleet.clients().0;
    assert_eq!(node.register(name, PASSWORD).await.unwrap().status, StatusCode::CREATED);
    assert_eq!(node.login(name, "wrong-horse").await.unwrap().status, StatusCode::UNAUTHORIZED);
    let first = node.login(name, PASSWORD).await.unwrap().tokens();
    let second = node.refresh(&first.refresh).await.unwrap().tokens();
    let third = node.refresh(&second.refresh).await.unwrap().tokens();
    assert_eq!(node.refresh(&first.refresh).await.unwrap().status, StatusCode::UNAUTHORIZED, "reuse");
    let body = json!({ "username": name, "password": PASSWORD });
    let page = node.post("/auth/login?transport=cookie", None, Some(&body)).await.unwrap();
    let cookies: Vec<&str> = page.headers.get_all(header::SET_COOKIE).iter().map(|set| set.to_str().unwrap()).collect();
    let cookies: Vec<&str> = cookies.iter().filter_map(|set| set.split(';').next()).collect();
    let csrf = page.json()["csrf_token"].as_str().unwrap().to_owned();
    let logout = node.request(Method::POST, "/auth/logout").header(header::COOKIE, cookies.join("; "));
    let logout = logout.header("x-csrf-token", &csrf).send().await.unwrap();
    assert_eq!(logout.status(), StatusCode::NO_CONTENT);
    let tokens = [first, second, third].into_iter().flat_map(|pair| [pair.access, pair.refresh]);
    let values = cookies.iter().filter_map(|cookie| cookie.split_once('=')).map(|(_, value)| value.to_owned());
    let mut secrets: Vec<String> =
        tokens.chain(values).filter_map(|token| Some(token.split_once('.')?.1.to_owned())).collect();
    assert_eq!(secrets.len(), 8);
    secrets.extend([csrf, PASSWORD.to_owned(), "wrong-horse".to_owned()]);
    secrets
}

const EXPECTED: [[&str; 2]; 6] = [
    ["registration", "granted"],
    ["sign_in", "refused"],
    ["sign_in", "granted"],
    ["refresh_reuse", "refused"],
    ["sign_in", "granted"],
    ["logout", "granted"],
];

#[tokio::test]
async fn audit_events_are_in_the_log_and_counted() {
    for format in ["text", "json"] {
        let fleet = Fleet::embedded(&["--log-format", format]).await;
        let name = username();
        let secrets = run_session(&fleet, &name).await;
        let log = fleet.nodes[0].log();
        log.until("logout granted", 1).await;
        let lines = log.lines();
        for secret in &secrets {
            assert!(!lines.iter().any(|line| line.contains(secret.as_str())), "{format}: {secret}");
        }
        let events: Vec<[String; 4]> = match format {
            "json" => {
                let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let event =
                    |line: Value| ["event", "outcome", "username", "address"].map(|field| text(&line["fields"][field]));
                lines.filter(|line| line["target"] == "audit").map(event).collect()
            }
            _ => {
                let events = lines.iter().filter(|line| line.contains(" INFO ") && line.contains(" audit: "));
                let value = |line: &str, field: &str| {
                    let rest = line.split_once(&format!(" {field}=")).map_or("", |(_, rest)| rest);
                    rest.split(' ').next().unwrap_or_default().trim_matches('"').to_owned()
                };
                events.map(|line| ["event", "outcome", "username", "address"].map(|field| value(line, field))).collect()
            }
        };
        let found: Vec<[&str; 2]> = events.iter().map(|[event, outcome, ..]| [event.as_str(), outcome]).collect();
        assert_eq!(found, EXPECTED, "{format}: {events:?}");
        for [event, _, who, address] in &events {
            assert!(*event == "refresh_reuse" || *who == name, "{format}: {events:?}");
            assert_eq!(address, "127.0.0.1", "{format}");
        }
        let metrics = fleet.clients().0.get("/metrics", None).await.unwrap().text;
        for ([event, outcome], count) in [(EXPECTED[1], 1), (EXPECTED[2], 2), (EXPECTED[3], 1), (EXPECTED[5], 1)] {
            let line = format!(r#"audit_events_total{{event="{event}",outcome="{outcome}"}} {count}"#);
            assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
        }
    }
}

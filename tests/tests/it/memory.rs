//! The memory that a node needs for password hashes at their full cost.

use std::fs;

use futures_util::{StreamExt, stream};
use http::StatusCode;
use tests::{client::Client, node::Node};

use crate::fleet::{NODE, PASSWORD, username};

/// The number of sign-ins at once.
const AT_A_TIME: usize = 8;

/// The node itself, and 19 MiB for each hash in progress, one per core. In kB.
fn memory_bound_kb() -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    110_000 + 20_000 * u64::try_from(cores).expect("cores can be counted")
}

/// Returns the resident memory in kB: now, and at its highest.
fn resident_kb(node: &Node) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", node.id())).expect("the node runs");
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {status}"))
    };
    (value("VmRSS:"), value("VmHWM:"))
}

#[tokio::test]
async fn sign_in_memory_is_bounded_by_the_hashes_under_way() {
    let node = Node::start(NODE, &["--rate-limit", "off"], &[]).await;
    let client = Client::new(node.url()).retrying();
    let name = username();
    assert_eq!(client.register(&name, PASSWORD).await.unwrap().status, StatusCode::CREATED);
    let (client, name) = (&client, name.as_str());
    let logins = stream::iter(0..200).map(|number| async move {
        let (name, password, status) = match number % 5 {
            0 => (name, "wrong horse", StatusCode::UNAUTHORIZED),
            1 => ("nobody", PASSWORD, StatusCode::UNAUTHORIZED),
            _ => (name, PASSWORD, StatusCode::OK),
        };
        assert_eq!(client.login(name, password).await.unwrap().status, status, "{name} {password}");
    });
    logins.buffer_unordered(AT_A_TIME).collect::<()>().await;
    let (now, highest) = resident_kb(&node);
    assert!(
        highest < memory_bound_kb(),
        "{now} kB resident, {highest} kB at the highest, {} kB allowed",
        memory_bound_kb()
    );
}

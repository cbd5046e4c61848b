//! The Dockerfile, the compose file and the unit in `deploy`. No test builds or starts them: there is
//! neither a container engine nor an init system. They are linted, and the program reads their
//! settings.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use tests::{
    command::CommandOutput,
    linters::{compose_schema, hadolint, systemd_analyze},
    node::run_command,
};

use crate::fleet::NODE;

const DOCKERFILE: &str = include_str!("../../../deploy/Dockerfile");
const COMPOSE: &str = include_str!("../../../deploy/compose.yaml");
const UNIT: &str = include_str!("../../../deploy/demo-app.service");

/// The program of the unit.
const INSTALLED: &str = "/usr/local/bin/demo-app";

/// The prefixes of the demo's variables.
const PREFIXES: [&str; 3] = ["DEMO_", "MONGODB_", "REDIS_"];

/// The text after a change, which must have been possible.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

fn assert_silent(output: &CommandOutput) {
    assert!(output.code == Some(0) && output.stdout.is_empty() && output.stderr.is_empty(), "{output}");
}

#[tokio::test]
async fn deploy_dockerfile_is_without_findings_of_hadolint() {
    assert_silent(&hadolint(DOCKERFILE).await);
    let untagged = hadolint(&changed(DOCKERFILE, "rust:1.95-bookworm", "rust")).await;
    assert!(untagged.code == Some(1) && untagged.stdout.contains("DL3006"), "{untagged}");
}

#[tokio::test]
async fn deploy_compose_file_follows_the_compose_specification() {
    let directory = tempfile::tempdir().unwrap();
    let check = async |text: &str| {
        let file = directory.path().join("compose.yaml");
        fs::write(&file, text).unwrap();
        compose_schema(&file).await
    };
    let valid = check(COMPOSE).await;
    assert_eq!(valid.code, Some(0), "{valid}");
    let misspelt = check(&changed(COMPOSE, "cap_drop:", "cap_dropped:")).await;
    assert!(misspelt.code == Some(1) && misspelt.stdout.contains("'cap_dropped' was unexpected"), "{misspelt}");
}

#[tokio::test]
#[cfg_attr(not(has_systemd_analyze), ignore = "systemd-analyze is not on the PATH")]
async fn deploy_unit_is_accepted_by_systemd() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("demo-app.service");
    let unit = unit.to_str().unwrap();
    // It looks for the program of `ExecStart`, and warns about what it does not know.
    let verify = async |text: &str| {
        fs::write(unit, changed(text, INSTALLED, NODE)).unwrap();
        systemd_analyze(&["verify", "--man=no", "--generators=no", unit]).await
    };
    let misspelt = verify(&changed(UNIT, "StateDirectory=", "StateFolder=")).await;
    assert!(misspelt.stderr.contains("Unknown key 'StateFolder'"), "{misspelt}");
    assert_silent(&verify(UNIT).await);
    // The README has the rating, in tenths. Versions of systemd differ by a few.
    let rated = systemd_analyze(&["security", "--offline=yes", "--no-pager", "--threshold=15", unit]).await;
    assert_eq!(rated.code, Some(0), "{rated}");
}

/// Returns the program's settings with these arguments and variables: `(variable, origin)`.
async fn settings(args: &[&str], env: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    let shown = run_command(NODE, &[args, &["config", "show", "--json"]].concat(), env, "").await;
    assert!(!shown.stderr.contains("would not start"), "{shown}");
    let text = |setting: &Value, member: &str| setting[member].as_str().unwrap().to_owned();
    let shown = shown.json();
    let settings = shown["settings"].as_array().unwrap().iter();
    settings.map(|setting| (text(setting, "variable"), text(setting, "origin"))).collect()
}

/// Fails unless the program takes settings from these variables and no others.
async fn assert_read(variables: &[(&str, &str)]) {
    let from_variables = settings(&[], variables).await.into_iter().filter(|(_, origin)| origin == "variable");
    let read: BTreeSet<String> = from_variables.map(|(variable, _)| variable).collect();
    assert_eq!(read, variables.iter().map(|(name, _)| (*name).to_owned()).collect());
}

/// Returns the assignments in a line.
fn assignments(line: &str) -> Vec<(&str, &str)> {
    line.split_whitespace().filter_map(|word| word.split_once('=')).collect()
}

#[tokio::test]
async fn deploy_variables_are_read_by_the_program() {
    let image = DOCKERFILE.lines().find_map(|line| line.strip_prefix("ENV ")).unwrap();
    assert_read(&assignments(image)).await;

    let (_, node) = COMPOSE.split_once("  environment:\n").unwrap();
    let lines = node.lines().take_while(|line| line.starts_with("    "));
    let node: Vec<_> = lines.map(|line| line.trim().split_once(": ").unwrap()).collect();
    assert_read(&node).await;

    let unit = UNIT.replace("%S", "/var/lib");
    let lines = unit.lines().filter_map(|line| line.trim_start_matches("# ").strip_prefix("Environment="));
    let unit: Vec<_> = lines.flat_map(assignments).collect();
    assert_eq!(unit.len(), 3, "with those of the comment: {unit:?}");
    assert_read(&unit).await;

    let known: BTreeSet<String> = settings(&[], &[]).await.into_iter().map(|(variable, _)| variable).collect();
    for text in [DOCKERFILE, COMPOSE, UNIT] {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for word in words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix))) {
            assert!(known.contains(word), "{word} is no variable of the program");
        }
    }
}

#[tokio::test]
async fn deploy_unit_has_arguments_that_the_program_knows() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("demo-app.toml");
    fs::write(&config, "access-ttl = \"5m\"\n").unwrap();
    let unit = UNIT.replace("/etc/demo-app.toml", config.to_str().unwrap()).replace("%S", "/var/lib");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let args: Vec<&str> = start.strip_prefix(INSTALLED).unwrap().split_whitespace().collect();
    let settings = settings(&args, &[]).await;
    for (variable, origin) in [("DEMO_CONFIG", "flag"), ("DEMO_ACCESS_TTL", "file"), ("DEMO_DATA_DIR", "flag")] {
        assert!(settings.contains(&(variable.to_owned(), origin.to_owned())), "{variable}: {settings:?}");
    }
    // The comment has a command that checks the settings.
    let (_, check) = unit.split_once(" demo-app --config").unwrap();
    let check: Vec<&str> = check.lines().next().unwrap().split_whitespace().collect();
    let explained = run_command(NODE, &[&["--config"], &*check, &["--help"]].concat(), &[], "").await;
    assert!(explained.code == Some(0) && explained.stdout.contains("doctor"), "{explained}");
}

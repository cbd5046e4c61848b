//! Counts the instructions of a check with valgrind, for the same routers as `in_process`.
//!
//! Run it with `cargo bench --profile dist -p benchmarks --bench instructions`. An instruction
//! count is not a time, but it does not change when the machine is busy.

mod doors;
mod peers;
#[path = "../../auth-layer/tests/support/prover.rs"]
mod prover;

use std::{env, ffi::OsStr, process::Command};

use axum::{body::Body, http::Request};

use self::{
    doors::{ALGORITHMS, Door, Way},
    peers::key::Key,
};

const REQUESTS: u64 = 500;

/// The variable that names the router to count. Cargo passes arguments of its own to benchmarks.
const CHOICE: &str = "COUNT_INSTRUCTIONS_OF";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "its purpose")]
fn main() {
    if let Ok(choice) = env::var(CHOICE) {
        return run(&choice);
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not at hand, and nothing is counted");
        return;
    }
    println!("| instructions a request | over the bare router |\n| --- | ---: |");
    for algorithm in ALGORITHMS {
        eprintln!("counting instructions: {}, bare router", algorithm.as_str());
        let bare = count(&format!("{}/", algorithm.as_str()));
        for way in Way::ALL {
            let choice = format!("{}/{}", algorithm.as_str(), way.name());
            eprintln!("counting instructions: {}, {}", algorithm.as_str(), way.name());
            println!("| {choice} | {} |", count(&choice).saturating_sub(bare) / REQUESTS);
        }
    }
}

/// Counts the instructions of [`measured`] in a separate process.
fn count(choice: &str) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*measured*")
        .arg(env::current_exe().expect("this process has a binary"))
        .env(CHOICE, OsStr::new(choice))
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim());
    let count = collected.and_then(|count| count.parse().ok()).filter(|count| *count > 0);
    count.unwrap_or_else(|| panic!("valgrind has counted nothing of {choice}:\n{said}"))
}

fn run(choice: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let (algorithm, way) = choice.split_once('/').expect("an algorithm and a way, or nothing for the bare router");
    let algorithm = ALGORITHMS.into_iter().find(|known| known.as_str() == algorithm).expect("an algorithm");
    let key = Key::new(algorithm);
    let mut door = match Way::ALL.into_iter().find(|known| known.name() == way) {
        Some(way) => way.door(&key, &runtime),
        None => Way::EmptyLayer.door(&key, &runtime).bare(),
    };
    let requests: Vec<_> = (0..REQUESTS).map(|_| door.request()).collect();
    measured(&mut door, requests);
}

#[inline(never)]
fn measured(door: &mut Door, requests: Vec<Request<Body>>) {
    for request in requests {
        door.knock(request);
    }
}

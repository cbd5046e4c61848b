//! The process is killed while it writes.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use super::{super::OpenError, EmbeddedStore, is_active, sign_in};

const FILE: &str = "AUTH_LAYER_CRASH_TEST_FILE";

/// How many acknowledged sign-ins to wait for before the kill.
const ENOUGH: usize = 300;

/// Not a test: the process that [`embedded_writes_that_were_acknowledged_survive_kill_9`] kills. It
/// prints each acknowledged token on a line until it dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by another test"]
async fn victim() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = EmbeddedStore::open(path).unwrap();
    let writer = async || {
        loop {
            let (_, access) = sign_in(&store).await.unwrap();
            writeln!(std::io::stdout(), "acknowledged {access}").unwrap();
        }
    };
    tokio::join!(writer(), writer(), writer(), writer());
}

#[tokio::test]
async fn embedded_writes_that_were_acknowledged_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.redb");
    for _ in 0..3 {
        let (_, module) = module_path!().split_once("::").unwrap();
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", &format!("{module}::victim")])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        let mut record = |line: String| {
            // The test harness may print something in front, on the same line.
            acknowledged.extend(line.split_once("acknowledged ").map(|(_, id)| id.to_owned()));
            acknowledged.len()
        };
        while record(lines.next().expect("the victim writes until it is killed").unwrap()) < ENOUGH {}
        assert!(matches!(EmbeddedStore::open(&path), Err(OpenError::InUse)), "the victim has it open");
        victim.kill().unwrap();
        victim.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            record(line);
        }

        let store = EmbeddedStore::open(&path).unwrap();
        for id in acknowledged.iter().filter_map(|id| id.parse().ok()) {
            assert!(is_active(&store, id).await, "{id} was acknowledged");
        }
    }
}

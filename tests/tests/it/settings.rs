//! Settings that cannot work end the start at once, with one sentence that says what to change. A
//! server that is away is waited for.

mod mongo;
mod redis;
mod tls;

use std::time::{Duration, Instant};

use tests::process::{Process, Program};

use crate::fleet::NODE;

/// A node waits half a minute for a MongoDB that is away. Settings that cannot work are refused
/// much earlier, also on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(15);

/// Starts a node that must refuse to serve, and returns the one line that says why.
async fn refused_start(args: &[&str], env: &[(&str, &str)]) -> String {
    let data = tempfile::tempdir().unwrap();
    let own = ["--listen", "127.0.0.1:0", "--data-dir", data.path().to_str().unwrap()];
    let mut process = Process::start(&Program {
        path: NODE.into(),
        args: own.iter().chain(args).map(Into::into).collect(),
        env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        env_removed: &["DEMO_", "MONGODB_", "REDIS_", "SSL_"],
        scratch: None,
    })
    .unwrap();
    let begun = Instant::now();
    let status = process.ended(AT_ONCE).await;
    let log = process.log();
    let status = status.unwrap_or_else(|| panic!("{args:?}: no end after {:?}:\n{}", begun.elapsed(), log.tail()));
    assert!(!status.success());
    log.until("the server cannot start", 1).await;
    let lines = log.lines();
    assert!(!lines.iter().any(|line| line.contains("WARN")), "one line says all: {lines:#?}");
    let line = lines.into_iter().find(|line| line.contains("the server cannot start")).unwrap();
    assert!(line.len() < 500 && !line.contains("RawDocumentBuf") && !line.contains("s3cret"), "{line}");
    line
}

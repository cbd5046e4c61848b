//! Runs the demo application as a process.

use std::{
    path::Path,
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    command::{CommandOutput, run_to_end},
    process::{Log, Process, Program},
    servers::free_port,
};

/// The time in which a node must listen.
const START: Duration = Duration::from_secs(30);

/// The time in which a node must end when asked.
const END: Duration = Duration::from_secs(30);

/// The number of attempts: another process may take a free port first.
const TRIES: usize = 3;

/// The line on standard output, before the address, when a node listens.
const LISTENING: &str = "listening on ";

/// The prefixes of variables that the demo application does not inherit.
const SETTINGS: [&str; 3] = ["DEMO_", "MONGODB_", "REDIS_"];

/// The time in which a command must end.
const COMMAND: Duration = Duration::from_mins(1);

/// Runs a command of `binary`, such as `users list`, with this standard input and to its end. It
/// inherits no `DEMO_*`, `MONGODB_*` or `REDIS_*`.
///
/// # Panics
///
/// If it has not ended within a minute.
pub async fn run_command(binary: impl AsRef<Path>, args: &[&str], env: &[(&str, &str)], input: &str) -> CommandOutput {
    let program = Program {
        path: binary.as_ref().to_owned(),
        args: args.iter().map(Into::into).collect(),
        env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        env_removed: &SETTINGS,
        scratch: None,
    };
    run_to_end(&program, input, COMMAND).await
}

/// A process of the demo application, ended on drop.
#[derive(Debug)]
pub struct Node {
    program: Program,
    process: Process,
    url: String,
    _data: TempDir,
}

impl Node {
    /// Starts `binary` with these arguments and variables, and waits until it listens. Unless
    /// `args` say otherwise, it listens on a free port of 127.0.0.1 and has its own data directory.
    /// It inherits no `DEMO_*`, `MONGODB_*` or `REDIS_*`.
    ///
    /// An integration test names the binary with `env!("CARGO_BIN_EXE_demo-node")`.
    ///
    /// # Panics
    ///
    /// If it does not listen within half a minute; the message contains the end of its log.
    pub async fn start(binary: impl AsRef<Path>, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::try_start(binary.as_ref(), args, env)
            .await
            .unwrap_or_else(|log| panic!("the node does not listen:\n{log}"))
    }

    /// Starts `binary` as [`Node::start`] does, with its URL as its issuer.
    ///
    /// # Panics
    ///
    /// As [`Node::start`].
    pub async fn start_as_issuer(binary: impl AsRef<Path>, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut log = String::new();
        for _ in 0..TRIES {
            let address = format!("127.0.0.1:{}", free_port());
            let issuer = format!("http://{address}");
            let own = ["--listen", &address, "--issuer", &issuer];
            match Self::try_start(binary.as_ref(), &[&own, args].concat(), env).await {
                Ok(node) => return node,
                Err(tail) => log = tail,
            }
        }
        panic!("the node does not listen:\n{log}");
    }

    /// Starts a node. The error is the end of its log if it does not listen.
    async fn try_start(binary: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<Self, String> {
        let data = tempfile::tempdir().expect("a temporary directory can be made");
        let mut all = Vec::new();
        if !args.contains(&"--listen") {
            all.extend(["--listen".into(), "127.0.0.1:0".into()]);
        }
        if !args.contains(&"--data-dir") {
            all.extend(["--data-dir".into(), data.path().into()]);
        }
        all.extend(args.iter().map(Into::into));
        let program = Program {
            path: binary.to_owned(),
            args: all,
            env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            env_removed: &SETTINGS,
            scratch: Some(data.path().to_owned()),
        };
        let process = Process::start(&program).expect("there is a shell");
        let mut node = Self { program, process, url: String::new(), _data: data };
        node.until_listening().await?;
        Ok(node)
    }

    /// Returns its URL, `http://ADDR`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns its output since its last start.
    pub fn log(&self) -> Log {
        self.process.log()
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to end (SIGTERM), waits until it has, and returns its exit status.
    ///
    /// # Panics
    ///
    /// If it has not ended within half a minute.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        let ended = self.process.ended(END).await;
        ended.unwrap_or_else(|| panic!("the node ignores SIGTERM:\n{}", self.log().tail()))
    }

    /// Stops it (SIGSTOP).
    pub fn pause(&mut self) {
        self.process.pause();
    }

    /// Resumes a paused node (SIGCONT).
    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Restarts it with the same arguments and data, and kills it first if it still runs. Its
    /// address changes, unless the arguments name one.
    ///
    /// # Panics
    ///
    /// If it does not listen within half a minute.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process = Process::start(&self.program).expect("there is a shell");
        self.until_listening().await.unwrap_or_else(|log| panic!("the node does not listen:\n{log}"));
    }

    /// Waits until it has printed its address. The error is the end of its log.
    async fn until_listening(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        let log = self.process.log();
        loop {
            let lines = log.lines();
            if let Some(url) = lines.iter().find_map(|line| line.strip_prefix(LISTENING)) {
                url.clone_into(&mut self.url);
                return Ok(());
            }
            if self.process.has_ended() || begun.elapsed() > START {
                return Err(log.tail());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

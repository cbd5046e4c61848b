//! Child processes that cannot outlive the test process.
//!
//! A child is killed when its handle is dropped. But a static is never dropped, and a killed test
//! process drops nothing. So a shell script starts each child: it leaves a watcher that reads from
//! a pipe, and then becomes the program. When this process dies, the kernel closes our end of the
//! pipe. The watcher then kills the child and removes its files.
//!
//! `PR_SET_PDEATHSIG` fires when the *thread* that started the child ends, and each test is a
//! thread.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::time::sleep;

/// `read` fails at the pipe's end; `$$` is the process that becomes the program. A line means that
/// the program has ended.
const SCRIPT: &str = r#"
scratch=$1
shift
exec 3<&0 </dev/null
( read -r _ <&3 || {
    kill -9 $$
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 $$ || break; sleep 0.1; done
    [ -z "$scratch" ] || rm -rf -- "$scratch"
} ) >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"#;

/// A program that can be started repeatedly.
#[derive(Clone, Debug)]
pub struct Program {
    /// The binary.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The variables set for it.
    pub env: Vec<(OsString, OsString)>,
    /// The prefixes of variables that it does not inherit.
    pub env_removed: &'static [&'static str],
    /// A directory that is useless without this test process. The watcher removes it if that dies
    /// first.
    pub scratch: Option<PathBuf>,
}

impl Program {
    /// Sets the variables that it inherits and those set for it.
    pub(crate) fn set_environment(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if self.env_removed.iter().any(|start| name.to_string_lossy().starts_with(start)) {
                command.env_remove(name);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
    }
}

/// A running program, killed on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The pipe that the watcher reads from.
    watched_pipe: ChildStdin,
    log: Log,
}

/// The lines that a process has written to standard output and standard error.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Process {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// If there is no shell. A missing program appears as a process that has ended.
    pub fn start(program: &Program) -> io::Result<Self> {
        let mut command = Command::new("sh");
        let scratch = program.scratch.as_deref().unwrap_or(Path::new(""));
        command.arg("-c").arg(SCRIPT).arg("sh").arg(scratch).arg(&program.path).args(&program.args);
        program.set_environment(&mut command);
        // A group of its own: Ctrl-C reaches only the test process, and the child through the pipe.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let missing = || io::Error::other("a pipe that was asked for is missing");
        let watched_pipe = child.stdin.take().ok_or_else(missing)?;
        let log = Log::default();
        log.collect(child.stdout.take().ok_or_else(missing)?);
        log.collect(child.stderr.take().ok_or_else(missing)?);
        Ok(Self { child, watched_pipe, log })
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns its output, which keeps growing.
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// Sends a signal. Does nothing to a process that has ended.
    ///
    /// # Panics
    ///
    /// If the signal cannot be sent.
    pub fn signal(&mut self, signal: Signal) {
        // The process id is not reused before it is reaped, which `has_ended` does.
        if !self.has_ended()
            && let Err(error) = kill_process(Pid::from_child(&self.child), signal)
        {
            panic!("signal {signal:?} cannot be sent to process {}: {error}", self.id());
        }
    }

    /// Stops it (SIGSTOP) and returns when all its threads have stopped: on a busy machine they run
    /// on for a while after the signal.
    ///
    /// # Panics
    ///
    /// If the signal cannot be sent.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        let pid = Pid::from_child(&self.child);
        while !self.has_ended()
            && !matches!(waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED | WaitIdOptions::NOHANG), Ok(Some(_)))
        {
            thread::yield_now();
        }
    }

    /// Returns whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.exit_status().is_some()
    }

    /// Returns its exit status; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it has ended, for `limit` at most.
    pub async fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            let status = self.exit_status();
            if status.is_some() || begun.elapsed() > limit {
                return status;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        // An error means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // Ends the watcher before the process id can be reused. The watcher may be gone already.
        let _ = self.watched_pipe.write_all(b"ended\n");
    }
}

impl Log {
    /// Collects the lines of one output in a thread of its own.
    fn collect(&self, from: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
                log.lock_lines().push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        });
    }

    /// Locks the lines.
    fn lock_lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock_lines().clone()
    }

    /// Returns whether any line so far contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.lock_lines().iter().any(|line| line.contains(text))
    }

    /// Waits until `lines` lines contain `text`, because output arrives with a delay.
    ///
    /// # Panics
    ///
    /// If they do not arrive within ten seconds.
    pub async fn until(&self, text: &str, lines: usize) {
        let begun = Instant::now();
        while self.lock_lines().iter().filter(|line| line.contains(text)).count() < lines {
            assert!(begun.elapsed() < Duration::from_secs(10), "no {lines} lines with {text}:\n{}", self.tail());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the last lines, for an error message.
    pub fn tail(&self) -> String {
        let lines = self.lock_lines();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

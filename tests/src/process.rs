//! Child processes that cannot outlive the test process.
//!
//! A child is killed when its handle is dropped. That is not enough: a static is never dropped, and a test process that is
//! killed drops nothing. So each child is started by a small shell script that leaves a watcher beside it before it becomes
//! the program itself. The watcher reads from a pipe whose other end is ours. When we die, in whatever way, the kernel closes
//! our end, and the watcher kills the child, and removes what it has left on the disk. (`PR_SET_PDEATHSIG` would not do: it goes
//! off when the *thread* ends that started the child, and a test is a thread.)

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

/// `read` fails at the pipe's end; `$$` is the process that becomes the program. A line read means that it has ended.
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

/// How to start a program, as often as one likes.
#[derive(Clone, Debug)]
pub struct Program {
    /// The binary.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables that are set for it.
    pub env: Vec<(OsString, OsString)>,
    /// The beginnings of the names of variables that it does not inherit.
    pub env_removed: &'static [&'static str],
    /// A directory that is of no use without this test process, and is removed where that dies first.
    pub scratch: Option<PathBuf>,
}

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lifeline: ChildStdin,
    log: Log,
}

/// What a process has written to its standard output and standard error, in lines.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Process {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// If there is no shell. A program that is not there shows as a process that has ended.
    pub fn start(program: &Program) -> io::Result<Self> {
        let mut command = Command::new("sh");
        let scratch = program.scratch.as_deref().unwrap_or(Path::new(""));
        command.arg("-c").arg(SCRIPT).arg("sh").arg(scratch).arg(&program.path).args(&program.args);
        for (name, _) in std::env::vars_os() {
            if program.env_removed.iter().any(|start| name.to_string_lossy().starts_with(start)) {
                command.env_remove(name);
            }
        }
        command.envs(program.env.iter().map(|(name, value)| (name, value)));
        // A group of its own: a terminal's Ctrl-C is for the test process, and reaches the child through the pipe.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let missing = || io::Error::other("a pipe that was asked for is missing");
        let lifeline = child.stdin.take().ok_or_else(missing)?;
        let log = Log::default();
        log.collect(child.stdout.take().ok_or_else(missing)?);
        log.collect(child.stderr.take().ok_or_else(missing)?);
        Ok(Self { child, lifeline, log })
    }

    /// Its process identifier.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far, and will write.
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// Sends a signal. Does nothing to a process that has ended.
    ///
    /// # Panics
    ///
    /// If the signal cannot be sent.
    pub fn signal(&mut self, signal: Signal) {
        // Until it is reaped, which `has_ended` would do, the number is not given to another.
        if !self.has_ended()
            && let Err(error) = kill_process(Pid::from_child(&self.child), signal)
        {
            panic!("signal {signal:?} cannot be sent to process {}: {error}", self.id());
        }
    }

    /// Stops it (SIGSTOP), and returns when all its threads stand still: on a busy machine they go on for a while after the signal was sent.
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

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.exit_status().is_some()
    }

    /// How it ended; `None` while it runs.
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
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // Sends the watcher home before the number may be another's. One that is gone does not mind.
        let _ = self.lifeline.write_all(b"ended\n");
    }
}

impl Log {
    fn collect(&self, from: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
                log.lines_held().push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        });
    }

    fn lines_held(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines_held().clone()
    }

    /// Whether any line so far contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.lines_held().iter().any(|line| line.contains(text))
    }

    /// Waits until so many lines contain `text`: what a process has written takes its way here.
    ///
    /// # Panics
    ///
    /// If they do not come within ten seconds.
    pub async fn until(&self, text: &str, lines: usize) {
        let begun = Instant::now();
        while self.lines_held().iter().filter(|line| line.contains(text)).count() < lines {
            assert!(begun.elapsed() < Duration::from_secs(10), "no {lines} lines with {text}:\n{}", self.tail());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The last lines, for a message that says what went wrong.
    pub fn tail(&self) -> String {
        let lines = self.lines_held();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

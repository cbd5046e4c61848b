//! Runs the program as a process.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::command;

/// The longest wait for a running process.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A process, killed on drop.
pub(crate) struct RunningProgram {
    child: Child,
    output: Arc<Mutex<String>>,
}

impl RunningProgram {
    /// Starts the program in `directory` without waiting.
    pub(crate) fn spawn(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(directory, arguments, variables);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), &output);
        collect(child.stderr.take().unwrap(), &output);
        Self { child, output }
    }

    /// Starts the program on a free port and waits until it listens.
    pub(crate) fn start_serving(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let listen = if arguments.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        let running = Self::spawn(directory, &[listen, arguments].concat(), variables);
        running.wait_for("listening on http://");
        running
    }

    /// Returns its output so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until it has written `text` and returns the line.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(line) = self.output().lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(begun.elapsed() < TIMEOUT, "it does not say {text:?}:\n{}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the address on which it listens.
    pub(crate) fn address(&self) -> String {
        let line = self.wait_for("listening on http://");
        line.split_once("http://").unwrap().1.to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < TIMEOUT, "it does not end:\n{}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: impl Read + Send + 'static, into: &Arc<Mutex<String>>) {
    let into = Arc::clone(into);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut into = into.lock().unwrap();
            into.push_str(&line);
            into.push('\n');
        }
    });
}

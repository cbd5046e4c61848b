//! A running process of the program.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The time limit for any step of the process.
const LIMIT: Duration = Duration::from_secs(30);

/// A process that serves, killed on drop.
pub(crate) struct Program {
    child: Child,
    address: SocketAddr,
    _data: TempDir,
}

impl Program {
    /// Starts the program with this standard error and waits until it listens.
    pub(crate) fn start(stderr: impl Into<Stdio>) -> Self {
        Self::start_with(stderr, |command| command)
    }

    /// Starts the program with the changes that `how` makes to the command.
    pub(crate) fn start_with(stderr: impl Into<Stdio>, how: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = command(&data);
        how(&mut command);
        command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        // Closes our copy of `stderr`.
        drop(command);
        let stdout = child.stdout.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            sender.send(line)
        });
        // Built first, so that a process that does not listen is killed.
        let mut program = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), _data: data };
        let line = receiver.recv_timeout(LIMIT).expect("it says where it listens");
        program.address = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
        program
    }

    /// Starts the program with one pipe for both outputs and waits until it accepts connections.
    pub(crate) fn start_with_outputs(stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut command = command(&data);
        command.args(["--listen", &address.to_string()]).stdout(stdout).stderr(stderr);
        let program = Self { child: command.spawn().unwrap(), address, _data: data };
        poll_until("it takes connections", || TcpStream::connect(address).is_ok().then_some(()));
        program
    }

    /// Returns the process's piped standard error, unread.
    pub(crate) fn stderr(&mut self) -> impl Read + use<> {
        self.child.stderr.take().unwrap()
    }

    /// Opens a new connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Returns the whole answer to a GET.
    pub(crate) fn get(&self, path: &str) -> io::Result<String> {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        poll_until("it ends on SIGTERM", || self.child.try_wait().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the command with a data directory of its own and no inherited settings.
pub(crate) fn command(data: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo-app"));
    for (name, _) in std::env::vars_os() {
        if ["DEMO_", "MONGODB_", "REDIS_", "RUST_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
    command.current_dir(data.path()).stdin(Stdio::null());
    command
}

/// Polls `ask` until it returns a value.
pub(crate) fn poll_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

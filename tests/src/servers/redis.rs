//! The Redis server.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::sleep;
use uuid::Uuid;

use super::{free_port, program, programs};
use crate::process::{Process, Program};

/// The time in which a server must be ready.
const START: Duration = Duration::from_secs(20);

/// The number of attempts: another process may take a free port first.
const TRIES: usize = 3;

/// A Redis on the loopback interface, without persistence unless configured, ended on drop.
#[derive(Debug)]
pub struct RedisServer {
    program: Program,
    port: u16,
    process: Process,
    _data: TempDir,
}

impl RedisServer {
    /// Starts a server with additional command-line options, for instance `["--maxmemory", "2mb"]`.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server` and none can be fetched, or it does not start.
    pub async fn start(options: &[&str]) -> Self {
        let binary = program(&programs::REDIS).await;
        let mut log = String::new();
        for _ in 0..TRIES {
            let data = tempfile::tempdir().expect("a temporary directory can be made");
            let port = free_port();
            let mut args = vec!["--port".into(), port.to_string().into(), "--dir".into(), data.path().into()];
            args.extend(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(Into::into));
            args.extend(options.iter().map(Into::into));
            let program = binary.with_args(args, data.path());
            let process = Process::start(&program).expect("there is a shell");
            let mut server = Self { program, port, process, _data: data };
            match server.until_ready().await {
                Ok(()) => return server,
                Err(tail) => log = tail,
            }
        }
        panic!("redis-server does not start:\n{log}");
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`kill`](Self::kill) on the same port with its persisted data, and
    /// waits until it is ready.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process = Process::start(&self.program).expect("there is a shell");
        if let Err(tail) = self.until_ready().await {
            panic!("redis-server does not start again:\n{tail}");
        }
    }

    /// Stops it (SIGSTOP): connections stay open, and nothing is answered.
    pub fn pause(&mut self) {
        self.process.pause();
    }

    /// Resumes a paused server (SIGCONT).
    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Sends one command on a new connection and returns the first line of the answer, for instance
    /// `+OK` or `$3`. Blocks.
    ///
    /// # Panics
    ///
    /// If the server does not answer within five seconds.
    pub fn command(&self, command: &[&str]) -> String {
        send(self.port, command).unwrap_or_else(|error| panic!("Redis does not answer {command:?}: {error}"))
    }

    /// Starts listening to every command that the server runs.
    ///
    /// # Panics
    ///
    /// If the server cannot be reached.
    pub fn monitor(&self) -> Monitor {
        Monitor::start(self.port).unwrap_or_else(|error| panic!("Redis cannot be monitored: {error}"))
    }

    /// Waits until it answers. The error is the end of its log.
    async fn until_ready(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            if matches!(send(self.port, &["PING"]).as_deref(), Ok("+PONG")) {
                return Ok(());
            }
            if self.process.has_ended() || begun.elapsed() > START {
                return Err(self.process.log().tail());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Listens to a Redis's commands, as `MONITOR` prints them, until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    port: u16,
    stream: TcpStream,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Monitor {
    /// Starts `MONITOR` and collects its lines in a thread.
    fn start(port: u16) -> io::Result<Self> {
        let mut stream = connect(port)?;
        stream.write_all(b"MONITOR\r\n")?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        // The `+OK`: every later command is seen.
        lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        stream.set_read_timeout(None)?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&seen);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                collected.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Ok(Self { port, stream, seen })
    }

    /// Returns the commands since the monitor started that contain `text`, one a line.
    ///
    /// # Panics
    ///
    /// If the server cannot be reached.
    pub async fn commands_with(&self, text: &str) -> Vec<String> {
        // When our own command appears, every earlier one has.
        let mark = Uuid::new_v4().to_string();
        send(self.port, &["ECHO", &mark]).unwrap_or_else(|error| panic!("Redis does not answer: {error}"));
        loop {
            {
                let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(end) = seen.iter().position(|line| line.contains(&mark)) {
                    return seen[..end].iter().filter(|line| line.contains(text)).cloned().collect();
                }
            }
            sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // Wakes the reading thread. A server that is gone has done so already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Connects, with a time limit for this and for each read.
fn connect(port: u16) -> io::Result<TcpStream> {
    let limit = Duration::from_secs(5);
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), limit)?;
    stream.set_read_timeout(Some(limit))?;
    Ok(stream)
}

/// Sends one command on a new connection and returns the first line of the answer.
fn send(port: u16, command: &[&str]) -> io::Result<String> {
    let mut stream = connect(port)?;
    let mut request = Vec::new();
    write!(request, "*{}\r\n", command.len())?;
    for part in command {
        write!(request, "${}\r\n{part}\r\n", part.len())?;
    }
    stream.write_all(&request)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

//! Redis.

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

/// How long a server may take until it serves.
const START: Duration = Duration::from_secs(20);

/// Somebody else may take a free port before the server does.
const TRIES: usize = 3;

/// A Redis on the loopback interface that keeps nothing on disk unless told to. Ends when dropped.
#[derive(Debug)]
pub struct RedisServer {
    program: Program,
    port: u16,
    process: Process,
    _data: TempDir,
}

impl RedisServer {
    /// Starts a server with these options of its command line besides, for instance `["--maxmemory", "2mb"]`.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server` and none can be had, or it does not start.
    pub async fn start(options: &[&str]) -> Self {
        let found = program(&programs::REDIS).await;
        let mut said = String::new();
        for _ in 0..TRIES {
            let data = tempfile::tempdir().expect("a temporary directory can be made");
            let port = free_port();
            let mut args = vec!["--port".into(), port.to_string().into(), "--dir".into(), data.path().into()];
            args.extend(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(Into::into));
            args.extend(options.iter().map(Into::into));
            let program = found.serving(args, data.path());
            let process = Process::start(&program).expect("there is a shell");
            let mut server = Self { program, port, process, _data: data };
            match server.until_ready().await {
                Ok(()) => return server,
                Err(tail) => said = tail,
            }
        }
        panic!("redis-server does not start:\n{said}");
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it as a crash would (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after a [`kill`](Self::kill) on the same port, with what it kept on disk, and waits until it serves.
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

    /// Stops it in mid-air (SIGSTOP): connections stay open, and nothing is answered.
    pub fn pause(&mut self) {
        self.process.pause();
    }

    /// Lets a paused server go on (SIGCONT).
    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Sends one command on a connection of its own and returns the first line of the answer, for instance `+OK` or `$3`;
    /// blocks.
    ///
    /// # Panics
    ///
    /// If the server does not answer within five seconds.
    pub fn command(&self, command: &[&str]) -> String {
        send(self.port, command).unwrap_or_else(|error| panic!("Redis does not answer {command:?}: {error}"))
    }

    /// Begins to listen to every command that the server runs.
    ///
    /// # Panics
    ///
    /// If the server cannot be reached.
    pub fn monitor(&self) -> Monitor {
        Monitor::begin(self.port).unwrap_or_else(|error| panic!("Redis cannot be monitored: {error}"))
    }

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

/// Listens to what a Redis is asked, as `MONITOR` prints it. Ends when dropped.
#[derive(Debug)]
pub struct Monitor {
    port: u16,
    stream: TcpStream,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Monitor {
    fn begin(port: u16) -> io::Result<Self> {
        let mut stream = connect(port)?;
        stream.write_all(b"MONITOR\r\n")?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        // The `+OK`: from here on every command is seen.
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

    /// The commands that the server ran since the monitor began and that mention `text`, one line each.
    ///
    /// # Panics
    ///
    /// If the server can no longer be reached.
    pub async fn commands_with(&self, text: &str) -> Vec<String> {
        // Once a command of ours has come by, everything that ran before it has.
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
        // Wakes the thread that reads. A server that is gone has done so already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let limit = Duration::from_secs(5);
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), limit)?;
    stream.set_read_timeout(Some(limit))?;
    Ok(stream)
}

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

//! The MongoDB server, `mongod`.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use mongodb::{Client, options::ClientOptions};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::{free_port, program, programs};
use crate::process::{Process, Program};

/// The time in which a server must be ready.
const START: Duration = Duration::from_mins(1);

/// The number of attempts: another process may take a free port first.
const TRIES: usize = 3;

/// A `mongod` on the loopback interface with its own data, ended on drop.
#[derive(Debug)]
pub struct MongoServer {
    program: Program,
    port: u16,
    replica_set: bool,
    process: Process,
    _data: TempDir,
}

impl MongoServer {
    /// Starts a replica set of one member and waits until it is primary. It removes expired
    /// documents every second.
    ///
    /// # Panics
    ///
    /// If there is no `mongod` and none can be fetched, or it does not start.
    pub async fn start() -> Self {
        Self::launch(true, &[]).await
    }

    /// Starts a replica set of one member with additional command-line options, for instance
    /// `["--keyFile", FILE]`.
    ///
    /// # Panics
    ///
    /// If there is no `mongod` and none can be fetched, or it does not start.
    pub async fn start_with(options: &[&str]) -> Self {
        Self::launch(true, options).await
    }

    /// Starts a member of a replica set that was never initiated, and waits until it answers.
    ///
    /// # Panics
    ///
    /// If there is no `mongod` and none can be fetched, or it does not start.
    pub async fn start_uninitiated() -> Self {
        let mut server = Self::spawn(true, &[]).await;
        let uri = format!("mongodb://127.0.0.1:{}/?directConnection=true&serverSelectionTimeoutMS=1000", server.port);
        let client = Client::with_uri_str(uri).await.expect("the URI is well formed");
        let begun = Instant::now();
        while client.database("admin").run_command(doc! { "hello": 1 }).await.is_err() {
            assert!(!server.process.has_ended() && begun.elapsed() < START, "{}", server.process.log().tail());
        }
        client.shutdown().await;
        server
    }

    /// Starts a server without a replica set.
    ///
    /// # Panics
    ///
    /// If there is no `mongod` and none can be fetched, or it does not start.
    pub async fn start_standalone() -> Self {
        Self::launch(false, &[]).await
    }

    /// Starts it and waits until it is ready. Tries again on another port.
    async fn launch(replica_set: bool, options: &[&str]) -> Self {
        let mut log = String::new();
        for _ in 0..TRIES {
            let mut server = Self::spawn(replica_set, options).await;
            match server.until_ready(true).await {
                Ok(()) => return server,
                Err(tail) => log = tail,
            }
        }
        panic!("mongod does not start:\n{log}");
    }

    /// Starts the process without waiting.
    pub(super) async fn spawn(replica_set: bool, options: &[&str]) -> Self {
        let binary = program(&programs::MONGOD).await;
        let data = tempfile::tempdir().expect("a temporary directory can be made");
        let port = free_port();
        let mut args = vec!["--port".into(), port.to_string().into(), "--dbpath".into(), data.path().into()];
        args.extend(
            "--bind_ip 127.0.0.1 --nounixsocket --wiredTigerCacheSizeGB 0.25 --setParameter ttlMonitorSleepSecs=1 \
             --setParameter diagnosticDataCollectionEnabled=false"
                .split(' ')
                .map(Into::into),
        );
        if replica_set {
            args.extend(["--replSet".into(), "rs0".into(), "--oplogSize".into(), "64".into()]);
        }
        args.extend(options.iter().map(Into::into));
        let program = binary.with_args(args, data.path());
        let process = Process::start(&program).expect("there is a shell");
        Self { program, port, replica_set, process, _data: data }
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its URI.
    pub fn uri(&self) -> String {
        let uri = format!("mongodb://127.0.0.1:{}/", self.port);
        if self.replica_set { uri + "?replicaSet=rs0" } else { uri }
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`kill`](Self::kill), with the same data and port, without waiting.
    ///
    /// # Panics
    ///
    /// If the process cannot be started.
    pub fn respawn(&mut self) {
        self.process.kill();
        self.process = Process::start(&self.program).expect("there is a shell");
    }

    /// Starts it again like [`respawn`](Self::respawn) and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn restart(&mut self) {
        self.respawn();
        if let Err(tail) = self.until_ready(false).await {
            panic!("mongod does not start again:\n{tail}");
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

    /// Waits until it accepts writes; with `initiate` it first initiates the replica set. The error
    /// is the end of its log.
    async fn until_ready(&mut self, initiate: bool) -> Result<(), String> {
        let begun = Instant::now();
        let uri = format!("mongodb://127.0.0.1:{}/?directConnection=true&serverSelectionTimeoutMS=1000", self.port);
        let options = ClientOptions::parse(uri).await.expect("the URI is well formed");
        let client = Client::with_options(options).expect("the options are valid");
        let admin = client.database("admin");
        let mut initiated = !(self.replica_set && initiate);
        let ready = loop {
            if self.process.has_ended() || begun.elapsed() > START {
                break false;
            }
            if !initiated {
                initiated =
                    admin.run_command(doc! { "replSetInitiate": replica_set_config(&[self.port]) }).await.is_ok();
            } else if let Ok(Ok(hello)) = timeout(Duration::from_secs(2), admin.run_command(doc! { "hello": 1 })).await
                && hello.get_bool("isWritablePrimary").unwrap_or(false)
            {
                break true;
            }
            sleep(Duration::from_millis(20)).await;
        };
        // The client lives in this test's runtime, but a shared server outlives it.
        client.shutdown().await;
        if ready { Ok(()) } else { Err(self.process.log().tail()) }
    }
}

/// Returns the configuration of a replica set with fast elections.
pub(super) fn replica_set_config(ports: &[u16]) -> Document {
    let member = |(id, port): (i32, &u16)| doc! { "_id": id, "host": format!("127.0.0.1:{port}") };
    let members: Vec<Document> = (0..).zip(ports).map(member).collect();
    doc! { "_id": "rs0", "members": members, "settings": { "electionTimeoutMillis": 1000 } }
}

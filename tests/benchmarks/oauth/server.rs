//! The servers under test, and how each of them makes authorization codes.

use std::{
    env,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;
use tempfile::TempDir;
use tests::{
    client::{Client as HttpClient, Response},
    node::Node,
    process::{Process, Program},
};

use crate::{
    cpu::processor_time,
    demo::SignIns,
    floor::{ANSWERS, WORKS},
    load::{HOUR, Load, SERVER_CORE},
    requests::{CHALLENGE, Client, Given, REDIRECT_URI},
};

/// How many requests are in flight, where no other number is said.
pub(crate) const IN_FLIGHT: usize = 32;

/// A service under test: one process, or several nodes of the demo application.
pub(crate) struct Server {
    pub(crate) nodes: Vec<SocketAddr>,
    pub(crate) clients: Vec<Client>,
    processes: Vec<u32>,
    codes: Codes,
    _running: Running,
}

/// How codes are made.
enum Codes {
    /// By signing users in on the demo application's page. The number of codes so far.
    Page(usize),
    /// By a route that the peers have for it.
    Route,
    /// Any text is one.
    Any,
}

/// What runs as long as the server does.
enum Running {
    Demo { _nodes: Vec<Node>, _data: Arc<TempDir> },
    Peer { _process: Process },
}

/// Returns the path of this program, which is also some of the servers.
pub(crate) fn exe() -> PathBuf {
    env::current_exe().expect("this process has a binary")
}

impl Server {
    /// Makes a server of nodes of the demo application, which need this data.
    pub(crate) fn of_nodes(nodes: Vec<Node>, data: Arc<TempDir>, clients: Vec<Client>) -> Self {
        let address = |node: &Node| node.url().trim_start_matches("http://").parse().expect("an address");
        Self {
            nodes: nodes.iter().map(address).collect(),
            clients,
            processes: nodes.iter().map(Node::id).collect(),
            codes: Codes::Page(0),
            _running: Running::Demo { _nodes: nodes, _data: data },
        }
    }

    /// Starts a peer, bound to a core, and waits until it listens. It is told its client.
    pub(crate) async fn peer(program: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start(program, args, env, Codes::Route).await
    }

    /// Starts this program as a server that only gives these answers.
    pub(crate) async fn only_answers(answers: &[String; 3]) -> Self {
        Self::answering(answers, &[]).await
    }

    /// Starts this program as a server that signs and commits, and gives these answers.
    pub(crate) async fn signs_and_commits(answers: &[String; 3]) -> Self {
        Self::answering(answers, &[(WORKS, "")]).await
    }

    async fn answering(answers: &[String; 3], env: &[(&str, &str)]) -> Self {
        let answers = serde_json::to_string(answers).expect("text is JSON");
        let env: Vec<_> = [(ANSWERS, &*answers)].into_iter().chain(env.iter().copied()).collect();
        Self::start(exe().to_str().expect("a name in ASCII"), &[], &env, Codes::Any).await
    }

    async fn start(program: &str, args: &[&str], env: &[(&str, &str)], codes: Codes) -> Self {
        let (id, secret) = ("bench", "a-secret-of-256-bits-that-nobody-can-guess");
        let own = [("BENCH_CLIENT_ID", id), ("BENCH_CLIENT_SECRET", secret), ("BENCH_REDIRECT_URI", REDIRECT_URI)];
        let core = SERVER_CORE.to_string();
        let program = Program {
            path: "taskset".into(),
            args: ["-c", &core, program].iter().chain(args).map(Into::into).collect(),
            env: env.iter().chain(&own).map(|(name, value)| (name.into(), value.into())).collect(),
            env_removed: &["NODE_", "PYTHON"],
            scratch: None,
        };
        let process = Process::start(&program).expect("there is a shell");
        let (node, process) = listening(process).await;
        Self {
            nodes: vec![node],
            clients: vec![Client::new(id, secret)],
            processes: vec![process.id()],
            codes,
            _running: Running::Peer { _process: process },
        }
    }

    /// Returns the processor time of its processes, in seconds.
    pub(crate) fn processor_time(&self) -> f64 {
        self.processes.iter().copied().map(processor_time).sum()
    }

    pub(crate) fn load(&self, in_flight: usize, lasting: Duration) -> Load<'_> {
        Load { nodes: &self.nodes, in_flight, lasting }
    }

    /// Makes this number of authorization codes, for each client in turn.
    pub(crate) async fn codes(&mut self, count: usize) -> Vec<Given> {
        let base = format!("http://{}", self.nodes[0]);
        match self.codes {
            Codes::Page(made) => {
                let mut sign_ins = SignIns::begin(&base, &self.clients, made, count).await;
                self.load(IN_FLIGHT, HOUR).run(&mut sign_ins);
                self.codes = Codes::Page(made + count);
                sign_ins.codes
            }
            Codes::Any => (0..count).map(|number| Given { client: 0, text: format!("code-{number}") }).collect(),
            Codes::Route => {
                let request = HttpClient::new(&base).request(Method::POST, "/bench/codes");
                let answer = request.query(&[("count", count)]).query(&[("challenge", CHALLENGE)]).send().await;
                let answer = Response::read(answer.expect("the peer answers")).await.expect("the peer answers");
                let codes: Vec<String> = serde_json::from_str(&answer.text).unwrap_or_else(|_| panic!("{answer:?}"));
                codes.into_iter().map(|text| Given { client: 0, text }).collect()
            }
        }
    }
}

/// Waits until a process says its address.
async fn listening(mut process: Process) -> (SocketAddr, Process) {
    let begun = Instant::now();
    loop {
        let said = process.log().lines();
        if let Some(address) = said.iter().find_map(|line| line.strip_prefix("listening on http://")) {
            return (address.parse().expect("an address"), process);
        }
        let log = process.log().tail();
        assert!(!process.has_ended() && begun.elapsed() < Duration::from_secs(30), "no server:\n{log}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

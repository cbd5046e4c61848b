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
    client::Response,
    node::{Node, run_command},
    process::{Process, Program},
};

use crate::{
    cpu::processor_time,
    databases::Databases,
    limits::ANSWERS,
    load::{Answer, HOUR, Load, Requests, SERVER_CORE},
    report::progress,
    requests::{CHALLENGE, Client, Given, REDIRECT_URI, percent_encoded, post},
};

/// The variable that makes this program the demo application. It is bound to a core unless the
/// value is [`FLOATING`].
pub(crate) const DEMO: &str = "BENCH_OAUTH_DEMO";
pub(crate) const FLOATING: &str = "floating";

/// The users of the demo application. None of them gets more sessions than it allows.
const USERS: usize = 5_000;
const PASSWORD: &str = "correct horse battery staple";

/// How many requests are in flight where nothing is measured.
const IN_FLIGHT: usize = 32;

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

/// The demo application's settings and data.
pub(crate) struct Demo {
    args: Vec<String>,
    data: Arc<TempDir>,
    /// Whether the nodes are bound to no core.
    is_floating: bool,
    pub(crate) client_id: &'static str,
    pub(crate) client_secret: String,
}

impl Demo {
    /// Prepares the demo application on its embedded store, or on this database, with one client.
    pub(crate) async fn prepare(databases: Option<(&Databases, &str)>) -> Self {
        let data = Arc::new(tempfile::tempdir().expect("a temporary directory can be made"));
        let path = data.path().to_str().expect("a temporary directory has a name in ASCII");
        let mut args = vec!["--rate-limit", "off", "--access-ttl", "1day"];
        let keys = format!("{path}/keys");
        let (mongodb, redis) = databases.map(|(of, _)| (of.mongodb.uri(), of.redis.url())).unwrap_or_default();
        match databases {
            // Each node has a data directory of its own.
            Some((_, name)) => args.extend(
                ["--keys-dir", &keys, "--mongodb-uri", &mongodb, "--mongodb-database", name, "--redis-url", &redis],
            ),
            None => args.extend(["--data-dir", path]),
        }
        let mut command = args.clone();
        if databases.is_some() {
            command.extend(["--data-dir", path]);
        }
        let client_id = "bench";
        command.extend(["clients", "create", client_id, "--redirect-uri", REDIRECT_URI, "--json"]);
        let created = run_command(exe(), &command, &[(DEMO, FLOATING)], "").await.json();
        let client_secret = created["client_secret"].as_str().expect("a confidential client has a secret").to_owned();
        let args = args.into_iter().map(str::to_owned).collect();
        Self { args, data, is_floating: false, client_id, client_secret }
    }

    /// Binds the nodes to no core.
    pub(crate) fn floating(self) -> Self {
        Self { is_floating: true, ..self }
    }

    /// Starts this number of nodes, and registers the users. Clients are those of these ids; all
    /// have the same secret.
    pub(crate) async fn start(&self, nodes: usize, client_ids: &[String]) -> Server {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let pinned = if self.is_floating { FLOATING } else { "pinned" };
        let mut running = Vec::new();
        for _ in 0..nodes {
            running.push(Node::start(exe(), &args, &[(DEMO, pinned), ("RUST_LOG", "warn")]).await);
        }
        let address = |node: &Node| node.url().trim_start_matches("http://").parse().expect("an address");
        let server = Server {
            nodes: running.iter().map(address).collect(),
            clients: client_ids.iter().map(|id| Client::new(id, &self.client_secret)).collect(),
            processes: running.iter().map(Node::id).collect(),
            codes: Codes::Page(0),
            _running: Running::Demo { _nodes: running, _data: Arc::clone(&self.data) },
        };
        progress(&format!("registering {USERS} users"));
        server.load(IN_FLIGHT, HOUR).run(&mut Registrations { left: USERS });
        server
    }
}

fn exe() -> PathBuf {
    env::current_exe().expect("this process has a binary")
}

impl Server {
    /// Starts a peer, bound to a core, and waits until it listens. It is told its client.
    pub(crate) async fn peer(program: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start(program, args, env, Codes::Route).await
    }

    /// Starts this program as a server that only gives these answers.
    pub(crate) async fn only_answers(answers: &[String; 3]) -> Self {
        let answers = serde_json::to_string(answers).expect("text is JSON");
        Self::start(exe().to_str().expect("a name in ASCII"), &[], &[(ANSWERS, &answers)], Codes::Any).await
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
                let queries: Vec<String> = self.clients.iter().map(query).collect();
                let mut forms = SignIns::begin(&base, queries, made, count).await;
                self.load(IN_FLIGHT, HOUR).run(&mut forms);
                self.codes = Codes::Page(made + count);
                forms.codes
            }
            Codes::Any => (0..count).map(|number| Given { client: 0, text: format!("code-{number}") }).collect(),
            Codes::Route => {
                let request = tests::client::Client::new(&base).request(Method::POST, "/bench/codes");
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

fn username(number: usize) -> String {
    format!("user-{}", number % USERS)
}

/// Registers users.
struct Registrations {
    left: usize,
}

impl Requests for Registrations {
    fn next(&mut self, request: &mut Vec<u8>) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let body = serde_json::json!({ "username": username(self.left), "password": PASSWORD }).to_string();
        let head = "POST /auth/register HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";
        request.extend_from_slice(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
        Some(0)
    }

    fn answered(&mut self, _client: usize, answer: &Answer<'_>) {
        // Nodes that are started again on a database know the users.
        assert!(matches!(answer.status, 201 | 409), "{}", String::from_utf8_lossy(answer.body));
    }
}

/// Returns the query of a client's authorization request.
fn query(client: &Client) -> String {
    let (id, uri) = (&client.id, percent_encoded(REDIRECT_URI));
    format!(
        "response_type=code&client_id={id}&redirect_uri={uri}&code_challenge={CHALLENGE}&code_challenge_method=S256"
    )
}

/// Sends the form of the demo application's sign-in page, for each user and each client in turn.
struct SignIns {
    queries: Vec<String>,
    cookie: String,
    csrf_token: String,
    at: usize,
    end: usize,
    codes: Vec<Given>,
}

impl SignIns {
    /// Opens the page once: all forms are of one browser.
    async fn begin(base: &str, queries: Vec<String>, at: usize, count: usize) -> Self {
        let path = format!("/oauth/authorize?{}", queries[0]);
        let page = tests::client::Client::new(base).get(&path, None).await.expect("the demo answers");
        let cookie = page.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        let field = page.text.split("name=\"csrf_token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let csrf_token = field.unwrap_or_else(|| panic!("{page:?}")).to_owned();
        Self { queries, cookie, csrf_token, at, end: at + count, codes: Vec::new() }
    }
}

impl Requests for SignIns {
    fn next(&mut self, request: &mut Vec<u8>) -> Option<usize> {
        if self.at == self.end {
            return None;
        }
        let (user, client) = (username(self.at), self.at % self.queries.len());
        self.at += 1;
        let form = format!("csrf_token={}&username={user}&password={}", self.csrf_token, PASSWORD.replace(' ', "+"));
        let path = format!("/oauth/authorize?{}", self.queries[client]);
        post(request, &path, &format!("cookie: {}\r\n", self.cookie), &form);
        Some(client)
    }

    fn answered(&mut self, client: usize, answer: &Answer<'_>) {
        let code = answer.location.split_once("code=").and_then(|(_, rest)| rest.split('&').next());
        let text = code.unwrap_or_else(|| panic!("no code: {} {}", answer.status, answer.location)).to_owned();
        self.codes.push(Given { client, text });
    }
}

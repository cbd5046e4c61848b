//! The demo application as a server under test: its users, and how it makes authorization codes.

use std::{cell::Cell, sync::Arc};

use tempfile::TempDir;
use tests::node::{Node, run_command};

use crate::{
    databases::Databases,
    load::{Answer, HOUR, Requests},
    report::progress,
    requests::{CHALLENGE, Client, Given, REDIRECT_URI, percent_encoded, post},
    server::{IN_FLIGHT, Server, exe},
};

/// The variable that makes this program the demo application. It is bound to a core unless the
/// value is [`FLOATING`].
pub(crate) const DEMO: &str = "BENCH_OAUTH_DEMO";
pub(crate) const FLOATING: &str = "floating";

/// The users of the demo application. None of them gets more sessions than it allows.
const USERS: usize = 5_000;
const PASSWORD: &str = "correct horse battery staple";

/// The demo application's settings and data.
pub(crate) struct Demo {
    args: Vec<String>,
    data: Arc<TempDir>,
    /// Whether the nodes are bound to no core.
    is_floating: bool,
    has_users: Cell<bool>,
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
            Some((_, name)) => args.extend([
                "--keys-dir",
                &keys,
                "--mongodb-uri",
                &mongodb,
                "--mongodb-database",
                name,
                "--redis-url",
                &redis,
            ]),
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
        Self { args, data, is_floating: false, has_users: Cell::new(false), client_id, client_secret }
    }

    /// Binds the nodes to no core.
    pub(crate) fn floating(self) -> Self {
        Self { is_floating: true, ..self }
    }

    /// Starts this number of nodes. The first call registers the users. Clients are those of these ids; all
    /// have the same secret.
    pub(crate) async fn start(&self, nodes: usize, client_ids: &[String]) -> Server {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let pinned = if self.is_floating { FLOATING } else { "pinned" };
        let mut running = Vec::new();
        for _ in 0..nodes {
            running.push(Node::start(exe(), &args, &[(DEMO, pinned), ("RUST_LOG", "warn")]).await);
        }
        let clients = client_ids.iter().map(|id| Client::new(id, &self.client_secret)).collect();
        let server = Server::of_nodes(running, Arc::clone(&self.data), clients);
        if !self.has_users.replace(true) {
            progress(&format!("registering {USERS} users"));
            server.load(IN_FLIGHT, HOUR).run(&mut Registrations { left: USERS });
        }
        server
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
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(answer.body));
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
pub(crate) struct SignIns {
    queries: Vec<String>,
    cookie: String,
    csrf_token: String,
    at: usize,
    end: usize,
    pub(crate) codes: Vec<Given>,
}

impl SignIns {
    /// Opens the page once: all forms are of one browser.
    pub(crate) async fn begin(base: &str, clients: &[Client], at: usize, count: usize) -> Self {
        let queries: Vec<String> = clients.iter().map(query).collect();
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

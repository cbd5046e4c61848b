//! Nodes of the demo on stores of their own.

use std::{path::Path, time::Duration};

use auth_layer::{
    keys::{Algorithm, SigningKey},
    store::mongodb::{MongoOptions, MongoStore},
};
use mongodb::options::ClientOptions;
use tests::{
    client::Client,
    command::CommandOutput,
    node::{Node, run_command},
    servers::{self, MongoServer, RedisServer},
};
use uuid::Uuid;

/// The binary of a node.
pub(crate) const NODE: &str = env!("CARGO_BIN_EXE_demo-node");

/// A password that is good enough for everybody.
pub(crate) const PASSWORD: &str = "correct horse";

/// A grace window for tests that are not about its end. A slow machine must not turn a retry into
/// reuse.
pub(crate) const LONG_GRACE: [&str; 2] = ["--refresh-grace", "10m"];

/// A program that nodes run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeProgram<'a> {
    path: &'a Path,
    env: &'a [(&'a str, &'a str)],
}

impl<'a> NodeProgram<'a> {
    /// This version of the demo, with cheap password hashes. Full hashes would take most of the
    /// time in which the two sides of a race can meet.
    pub(crate) fn cheap_hashes() -> Self {
        Self { path: Path::new(NODE), env: &[("NODE_PASSWORDS", "cheap")] }
    }

    /// This version of the demo, with full password hashes.
    pub(crate) fn full_hashes() -> Self {
        Self::at(Path::new(NODE))
    }

    /// The program at this path.
    pub(crate) fn at(path: &'a Path) -> Self {
        Self { path, env: &[] }
    }

    /// The program with these variables, in place of its own.
    pub(crate) fn with_env(self, env: &'a [(&'a str, &'a str)]) -> Self {
        Self { env, ..self }
    }

    /// Starts a node that runs it.
    pub(crate) async fn start(self, args: &[&str], env: &[(&str, &str)]) -> Node {
        Node::start(self.path, args, &[env, self.env].concat()).await
    }
}

/// A node of this version.
pub(crate) async fn node(args: &[&str], env: &[(&str, &str)]) -> Node {
    NodeProgram::cheap_hashes().start(args, env).await
}

/// The time that a store may take in tests that are not about that. A slow machine must not fail
/// them.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Opens the store in this database, for tests that go around the nodes.
pub(crate) async fn store_in(database: &servers::MongoDatabase) -> MongoStore {
    patient_store(&database.uri, &database.name).await
}

/// Opens the store in this database with time limits of [`PATIENCE`].
pub(crate) async fn patient_store(uri: &str, database: &str) -> MongoStore {
    let mut patient = ClientOptions::parse(uri).await.unwrap();
    patient.server_selection_timeout = Some(PATIENCE);
    // After this time a monitor also takes the server for lost, and ends the calls in progress.
    patient.connect_timeout = Some(PATIENCE);
    let database = mongodb::Client::with_options(patient).unwrap().database(database);
    let options = MongoOptions::default().with_operation_timeout(PATIENCE);
    MongoStore::new(database, options).await.unwrap()
}

/// Returns a name that nobody else has.
pub(crate) fn username() -> String {
    format!("u{}", Uuid::new_v4().simple())
}

/// Nodes of one service.
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<Node>,
    /// The database of a fleet on the shared MongoDB.
    pub(crate) database: Option<servers::MongoDatabase>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    _keys: tempfile::TempDir,
}

impl Fleet {
    /// Starts one node on the embedded store.
    pub(crate) async fn embedded(args: &[&str]) -> Self {
        Self::start(&[NodeProgram::cheap_hashes()], args, &[], None, None).await
    }

    /// Starts nodes on the shared MongoDB, in a database of their own. With `redis` they use the
    /// shared Redis, under keys that begin with the name of the database.
    pub(crate) async fn on_shared_servers(nodes: usize, redis: bool, args: &[&str]) -> Self {
        Self::of_programs(&vec![NodeProgram::cheap_hashes(); nodes], redis, args, None).await
    }

    /// Starts nodes on shared servers that sign with a key of this algorithm.
    pub(crate) async fn signing_with(algorithm: Algorithm, nodes: usize, redis: bool, args: &[&str]) -> Self {
        Self::of_programs(&vec![NodeProgram::cheap_hashes(); nodes], redis, args, Some(algorithm)).await
    }

    /// Starts nodes on shared servers, each with the program at its place. They sign with a key of
    /// this algorithm, or make one.
    pub(crate) async fn of_programs(
        programs: &[NodeProgram<'_>],
        redis: bool,
        args: &[&str],
        algorithm: Option<Algorithm>,
    ) -> Self {
        let database = servers::mongodb().await;
        let mut env = vec![("MONGODB_URI", database.uri.clone()), ("MONGODB_DATABASE", database.name.clone())];
        if redis {
            env.push(("REDIS_URL", servers::redis().await.url));
        }
        Self::start(programs, args, &env, Some(database), algorithm).await
    }

    /// Starts nodes on servers that the caller may break.
    pub(crate) async fn on_servers(
        nodes: usize,
        mongodb: &MongoServer,
        redis: Option<&RedisServer>,
        args: &[&str],
    ) -> Self {
        let mut env = vec![("MONGODB_URI", mongodb.uri())];
        env.extend(redis.map(|redis| ("REDIS_URL", redis.url())));
        Self::start(&vec![NodeProgram::cheap_hashes(); nodes], args, &env, None, None).await
    }

    /// Starts a node for each program, all with the same keys.
    async fn start(
        programs: &[NodeProgram<'_>],
        args: &[&str],
        env: &[(&str, String)],
        database: Option<servers::MongoDatabase>,
        algorithm: Option<Algorithm>,
    ) -> Self {
        let keys = tempfile::tempdir().expect("a temporary directory can be made");
        let mut args = args.to_vec();
        if let Some(algorithm) = algorithm {
            let key = SigningKey::generate_for(algorithm).expect("there is chance");
            let pem = key.to_pkcs8_pem().expect("a key that was made has a form on disk");
            std::fs::write(keys.path().join("key.pem"), pem.as_bytes()).expect("a temporary directory takes files");
        }
        if programs.len() > 1 || algorithm.is_some() {
            args.extend(["--keys-dir", keys.path().to_str().expect("temporary paths are text")]);
        }
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let nodes = futures_util::future::join_all(programs.iter().map(|program| program.start(&args, &env))).await;
        let args = args.into_iter().map(str::to_owned).collect();
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { nodes, database, args, env, _keys: keys }
    }

    /// Runs a command with the settings of the nodes, and this standard input.
    pub(crate) async fn command(&self, words: &[&str], input: &str) -> CommandOutput {
        let args: Vec<&str> = words.iter().copied().chain(self.args.iter().map(String::as_str)).collect();
        let cheap = ("NODE_PASSWORDS", "cheap");
        let env = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([cheap]);
        run_command(NODE, &args, &env.collect::<Vec<_>>(), input).await
    }

    /// Returns a client of the first node and one of the last, which may be the same node.
    pub(crate) fn clients(&self) -> (Client, Client) {
        let client = |node: Option<&Node>| Client::new(node.expect("a fleet has nodes").url());
        (client(self.nodes.first()), client(self.nodes.last()))
    }
}

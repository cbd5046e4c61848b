//! A replica set that can lose its primary.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use mongodb::{Client, options::ClientOptions};
use tokio::time::{sleep, timeout};

use super::mongo::{MongoServer, replica_set_config};

/// The time limit of an election, and of a start.
const PATIENCE: Duration = Duration::from_mins(1);

/// Three `mongod` that hold the same data.
#[derive(Debug)]
pub struct MongoReplicaSet {
    members: Vec<MongoServer>,
}

impl MongoReplicaSet {
    /// Starts the members and waits until a primary has two followers.
    ///
    /// # Panics
    ///
    /// If there is no `mongod` and none can be fetched, or they do not start.
    pub async fn start() -> Self {
        let mut members = Vec::new();
        for _ in 0..3 {
            members.push(MongoServer::spawn(true, &[]).await);
        }
        let ports: Vec<u16> = members.iter().map(MongoServer::port).collect();
        let set = Self { members };
        let begun = Instant::now();
        while run_command(ports[0], doc! { "replSetInitiate": replica_set_config(&ports) }).await.is_none() {
            set.sleep_or_panic(begun).await;
        }
        set.until_healthy().await;
        set
    }

    /// Returns the URI of the set.
    pub fn uri(&self) -> String {
        let hosts: Vec<String> = self.members.iter().map(|member| format!("127.0.0.1:{}", member.port())).collect();
        format!("mongodb://{}/?replicaSet=rs0", hosts.join(","))
    }

    /// Sets the time that a primary without followers takes to notice. Waits until the members
    /// agree on it.
    ///
    /// # Panics
    ///
    /// If the members do not agree.
    pub async fn set_election_timeout(&mut self, time: Duration) {
        let primary = self.primary().await.port();
        let got = run_command(primary, doc! { "replSetGetConfig": 1 }).await.expect("the configuration");
        let mut config = got.get_document("config").expect("a configuration").clone();
        let millis = i64::try_from(time.as_millis()).expect("not so long");
        config.insert("version", config.get_i32("version").expect("a version") + 1);
        config.get_document_mut("settings").expect("settings").insert("electionTimeoutMillis", millis);
        run_command(primary, doc! { "replSetReconfig": config }).await.expect("the new configuration is taken");
    }

    /// Returns the primary, to be killed, paused and restarted. Waits until there is one.
    ///
    /// # Panics
    ///
    /// If none is elected.
    pub async fn primary(&mut self) -> &mut MongoServer {
        let begun = Instant::now();
        loop {
            for at in 0..self.members.len() {
                if self.is_primary(self.members[at].port()).await {
                    return &mut self.members[at];
                }
            }
            self.sleep_or_panic(begun).await;
        }
    }

    /// Waits until the others have elected a primary after this member was lost.
    ///
    /// # Panics
    ///
    /// If they elect none.
    pub async fn until_new_primary(&self, lost: u16) {
        let begun = Instant::now();
        while !self.has_primary(Some(lost)).await {
            self.sleep_or_panic(begun).await;
        }
    }

    /// Returns whether there is a primary, not counting this member.
    pub async fn has_primary(&self, except: Option<u16>) -> bool {
        for member in self.members.iter().filter(|member| Some(member.port()) != except) {
            if self.is_primary(member.port()).await {
                return true;
            }
        }
        false
    }

    /// Returns a member by its port.
    ///
    /// # Panics
    ///
    /// If no member has this port.
    pub fn member(&mut self, port: u16) -> &mut MongoServer {
        self.members.iter_mut().find(|member| member.port() == port).expect("a member's port")
    }

    /// Returns the members except the one on this port.
    pub fn others(&mut self, port: u16) -> impl Iterator<Item = &mut MongoServer> {
        self.members.iter_mut().filter(move |member| member.port() != port)
    }

    /// Waits until all members are there and one is primary.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    pub async fn until_healthy(&self) {
        let begun = Instant::now();
        loop {
            let mut roles = Vec::new();
            for member in &self.members {
                let hello = hello(member.port()).await.unwrap_or_default();
                roles.push((has_role(&hello, "isWritablePrimary"), has_role(&hello, "secondary")));
            }
            let primaries = roles.iter().filter(|(primary, _)| *primary).count();
            if primaries == 1 && roles.iter().all(|(primary, secondary)| *primary || *secondary) {
                return;
            }
            self.sleep_or_panic(begun).await;
        }
    }

    /// Returns whether this member believes itself primary.
    pub async fn is_primary(&self, port: u16) -> bool {
        hello(port).await.is_some_and(|hello| has_role(&hello, "isWritablePrimary"))
    }

    /// Sleeps for a moment. Panics if the wait that began then takes too long.
    async fn sleep_or_panic(&self, begun: Instant) {
        assert!(begun.elapsed() < PATIENCE, "the replica set has no primary: {self:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Returns whether a member has this role.
fn has_role(hello: &Document, role: &str) -> bool {
    hello.get_bool(role).unwrap_or(false)
}

/// Asks a member for its roles. `None` if it does not answer.
async fn hello(port: u16) -> Option<Document> {
    timeout(Duration::from_secs(1), run_command(port, doc! { "hello": 1 })).await.ok()?
}

/// Sends a command to one member, regardless of its role. `None` if it does not answer, or refuses.
async fn run_command(port: u16, command: Document) -> Option<Document> {
    let uri = format!("mongodb://127.0.0.1:{port}/?directConnection=true&serverSelectionTimeoutMS=1000");
    let options = ClientOptions::parse(uri).await.expect("the URI is well formed");
    let client = Client::with_options(options).expect("the options are valid");
    let answer = timeout(Duration::from_secs(20), client.database("admin").run_command(command)).await;
    client.shutdown().immediate(true).await;
    answer.ok()?.ok()
}

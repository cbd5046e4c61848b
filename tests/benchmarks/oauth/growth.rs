//! Measures what a request costs as clients, sessions and nodes become more, on MongoDB and Redis.
//!
//! Nodes, databases and load share the cores, so the figure is the processor time of a request.

use std::{collections::VecDeque, time::Duration};

use auth_layer::{
    Authority, Grant, SessionId, Subject, TokenId, UserId,
    keys::{Keyring, SigningKey},
    store::{
        Admission, Session, TokenKind, TokenRecord, TokenStore,
        mongodb::{MongoOptions, MongoStore},
    },
};
use bson::{Document, doc};
use futures_util::{StreamExt, stream};

use crate::{
    databases::{DatabaseWork, Databases},
    demo::Demo,
    load::{HOUR, Requests},
    report::{head, median, progress, row, thousands},
    requests::{ClientTokens, Exchanges, Given, Introspections, Refreshes, SCOPE},
    server::{IN_FLIGHT, Server},
};

const DATABASE: &str = "growth";

/// The sessions that are refreshed, and the tokens that are introspected, in turn.
const REFRESHED: usize = 2_000;
const TOKENS: usize = 10_000;

/// What is there before anything grows.
const CLIENTS: usize = 10;

/// How many sessions are being written at a time.
const WRITES: usize = 64;

/// What one load has cost.
#[derive(Clone, Copy)]
struct Cost {
    rate: f64,
    requests: f64,
    nodes: f64,
    databases: DatabaseWork,
}

/// A fleet on one database, and how much is in it.
struct Growth {
    databases: Databases,
    demo: Demo,
    rounds: usize,
    lasting: Duration,
    clients: usize,
    sessions: usize,
}

/// Measures growing fleets, with up to a million sessions if `million`.
pub(crate) async fn growth(rounds: usize, lasting: Duration, million: bool) {
    let databases = Databases::start().await;
    let demo = Demo::prepare(Some((&databases, DATABASE))).await.floating();
    let mut growth = Growth { databases, demo, rounds, lasting, clients: 1, sessions: 0 };
    heading("registered clients");
    for (clients, fleets) in [(CLIENTS, &[1, 2, 4][..]), (1_000, &[1, 2]), (10_000, &[1, 2])] {
        growth.register_clients(clients).await;
        for &nodes in fleets {
            growth.measure(nodes, &thousands(as_f64(clients))).await;
        }
    }
    heading("further sessions in the store");
    let sizes = [1_000, 100_000, 1_000_000];
    for &sessions in &sizes[..if million { 3 } else { 2 }] {
        growth.open_sessions(sessions).await;
        for nodes in [1, 2] {
            growth.measure(nodes, &thousands(as_f64(sessions))).await;
        }
    }
}

fn heading(what: &str) {
    head(&[
        what,
        "nodes",
        "requests",
        "a second",
        "µs of all processors",
        "nodes, µs",
        "MongoDB, µs",
        "Redis, µs",
        "MongoDB commands",
        "Redis commands",
    ]);
}

impl Growth {
    /// Registers clients until there are `count`. All have the secret of the first.
    async fn register_clients(&mut self, count: usize) {
        progress(&format!("growth: registering up to {} clients", thousands(as_f64(count))));
        let clients = self.databases.client.database(DATABASE).collection::<Document>("clients");
        let first = clients.find_one(doc! { "_id": self.demo.client_id }).await.expect("MongoDB is there");
        let first = first.expect("the client is registered");
        let further: Vec<Document> = (self.clients..count)
            .map(|number| {
                let mut client = first.clone();
                client.insert("_id", client_id(self.demo.client_id, number));
                client
            })
            .collect();
        if !further.is_empty() {
            clients.insert_many(further).await.expect("the ids are new");
        }
        self.clients = self.clients.max(count);
    }

    /// Opens sessions, each of a user of its own, until there are `count`.
    async fn open_sessions(&mut self, count: usize) {
        progress(&format!("growth: opening up to {} sessions", thousands(as_f64(count))));
        let uri = self.databases.mongodb.uri();
        let store = MongoStore::connect(&uri, DATABASE, MongoOptions::default()).await.expect("MongoDB is there");
        let template = template(&store).await;
        let opened = stream::iter(self.sessions..count).map(|_| open_session(&store, &template));
        opened.buffer_unordered(WRITES).collect::<Vec<()>>().await;
        self.sessions = self.sessions.max(count);
    }

    /// Starts this number of nodes and prints what requests cost.
    async fn measure(&self, nodes: usize, size: &str) {
        progress(&format!("growth: {size}, {nodes} nodes"));
        let ids: Vec<String> = (0..self.clients).map(|number| client_id(self.demo.client_id, number)).collect();
        let mut server = self.demo.start(nodes, &ids).await;
        let codes = server.codes(REFRESHED).await;
        let mut exchanges = Exchanges { clients: &server.clients, codes, sessions: Vec::new() };
        server.load(IN_FLIGHT, HOUR).run(&mut exchanges);
        let sessions: VecDeque<Given> = exchanges.sessions.into();
        let mut tokens = ClientTokens::new(&server.clients, VecDeque::new(), TOKENS);
        tokens.fill(&server);
        let mut introspections = Introspections::new(&server.clients, &tokens.tokens);
        introspections.warm_up(&server);
        self.print(&server, size, "introspection", &mut introspections).await;
        self.print(&server, size, "client credentials token", &mut tokens).await;
        let mut refreshes = Refreshes { clients: &server.clients, tokens: sessions };
        self.print(&server, size, "refresh", &mut refreshes).await;
    }

    async fn print(&self, server: &Server, size: &str, name: &str, requests: &mut (impl Requests + Send)) {
        let mut costs = Vec::new();
        for round in 0..=self.rounds {
            let before = (server.processor_time(), self.databases.work().await);
            let done = server.load(IN_FLIGHT, self.lasting).run(requests);
            let nodes = server.processor_time() - before.0;
            let databases = self.databases.work().await.since(before.1);
            // The first round warms up.
            if round > 0 {
                costs.push(Cost { rate: done.requests / done.seconds, requests: done.requests, nodes, databases });
            }
        }
        let median_of = |what: fn(&Cost) -> f64| median(costs.iter().map(what).collect());
        let micros = |what: fn(&Cost) -> f64| format!("{:.0}", 1e6 * median_of(what));
        row(&[
            size,
            &server.nodes.len().to_string(),
            name,
            &thousands(median_of(|cost| cost.rate)),
            &micros(|cost| (cost.nodes + cost.databases.mongodb + cost.databases.redis) / cost.requests),
            &micros(|cost| cost.nodes / cost.requests),
            &micros(|cost| cost.databases.mongodb / cost.requests),
            &micros(|cost| cost.databases.redis / cost.requests),
            &format!("{:.2}", median_of(|cost| cost.databases.mongodb_commands / cost.requests)),
            &format!("{:.2}", median_of(|cost| cost.databases.redis_commands / cost.requests)),
        ]);
    }
}

/// Returns the id of a client; number 0 is the first.
fn client_id(first: &str, number: usize) -> String {
    if number == 0 { first.to_owned() } else { format!("{first}-{number}") }
}

/// Returns a session as nodes open them.
async fn template(store: &MongoStore) -> Session {
    let keys = Keyring::new(SigningKey::generate().expect("there is randomness"));
    let authority = Authority::builder("http://127.0.0.1:3000", store.clone()).audience("demo-app").keys(keys);
    let authority = authority.build().expect("it can work");
    let user = UserId::generate();
    let sign_in = authority.begin_sign_in(user).await.expect("the store serves");
    let grant = Grant::new("bench").scope(SCOPE.parse().expect("a scope"));
    authority.sign_in(sign_in, grant).await.expect("the store serves");
    authority.sessions(user).await.expect("the store serves").remove(0)
}

/// Opens a session like `template`, with the records of its two tokens.
async fn open_session(store: &MongoStore, template: &Session) {
    let mut session =
        Session { session_id: SessionId::generate(), user_id: Subject::generate(), previous: None, ..template.clone() };
    session.current.access_id = TokenId::generate();
    session.current.refresh_id = TokenId::generate();
    let record = |token_id, kind, expires_at| TokenRecord {
        token_id,
        user_id: session.user_id.clone(),
        session_id: session.session_id,
        kind,
        issued_at: session.current.issued_at,
        expires_at,
        jwt_token: None,
    };
    let records = vec![
        record(session.current.access_id, TokenKind::Access, session.current.access_expires_at),
        record(session.current.refresh_id, TokenKind::Refresh, session.current.refresh_expires_at),
    ];
    assert_eq!(store.open_session(session, records, 0).await.expect("the store serves"), Admission::Admitted);
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("counts here are small"))
}

//! Compares servers: each operation, with one request in flight and with many.

use std::{collections::VecDeque, time::Duration};

use crate::{
    databases::Databases,
    demo::Demo,
    limits::Limits,
    load::{Answer, HOUR, Requests},
    peers,
    report::{progress, round_name},
    requests::{ClientTokens, Exchanges, Given, Introspections, Refreshes},
    server::Server,
    tables,
};

/// The numbers of requests in flight.
pub(crate) const IN_FLIGHT: [usize; 2] = [1, 32];

/// The tokens that are introspected in turn.
const TOKENS: usize = 10_000;

/// The codes of the first round. Later rounds have as many as last the time of a measurement.
const FIRST_CODES: usize = 400;

/// The most codes: they are good for a minute only.
const MOST_CODES: usize = 60_000;

/// How long each limit is measured in a round.
const LIMIT: Duration = Duration::from_millis(500);

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Introspection,
    Introspections,
    Refresh,
    ClientToken,
    Exchange,
}

impl Operation {
    const ALL: [Self; 5] =
        [Self::Introspection, Self::Introspections, Self::Refresh, Self::ClientToken, Self::Exchange];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Introspection => "introspections of one token",
            Self::Introspections => "introspections of 10,000 tokens",
            Self::Refresh => "refreshes",
            Self::ClientToken => "client credentials tokens",
            Self::Exchange => "code exchanges",
        }
    }
}

/// What one load has measured.
#[derive(Clone, Copy)]
pub(crate) struct Measured {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Requests a second of processor time of the server.
    pub(crate) of_core: f64,
    /// Requests a second of processor time of the server and its databases.
    pub(crate) with_databases: f64,
    /// The share of the time in which the server had its core.
    pub(crate) busy: f64,
}

/// A server and what it has issued.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    server: Server,
    pub(crate) uses_databases: bool,
    /// Whether the access tokens can be introspected.
    introspects: bool,
    tokens: VecDeque<String>,
    sessions: VecDeque<Given>,
    /// The codes of the next measurement, by the number of requests in flight.
    codes: [usize; 2],
    /// By operation and number of requests in flight, and then by round.
    pub(crate) measured: [[Vec<Measured>; 2]; 5],
}

/// Compares all servers, or those with `only` in their names.
pub(crate) async fn compare(rounds: usize, lasting: Duration, only: Option<&str>) {
    let databases = Databases::start().await;
    progress("starting the servers");
    let mut contenders = contenders(&databases, only.unwrap_or_default()).await;
    let mut limits = Limits::default();
    for round in 0..=rounds {
        if round > 0 {
            progress(&format!("{}: the limits", round_name(round, rounds)));
            limits.measure(&databases, LIMIT).await;
        }
        // Each round starts elsewhere and reverses, so that a server has no fixed predecessor.
        let count = contenders.len();
        let turns = (0..count).map(|turn| (turn + round) % count);
        let turns: Vec<usize> = if round % 2 == 0 { turns.collect() } else { turns.rev().collect() };
        for turn in turns {
            progress(&format!("{}: {}", round_name(round, rounds), contenders[turn].name));
            contenders[turn].measure_all(&databases, lasting, round > 0).await;
        }
    }
    limits.print();
    for operation in Operation::ALL {
        for at in 0..IN_FLIGHT.len() {
            tables::print(&contenders, operation, at);
        }
    }
}

const EMBEDDED: &str = "auth-layer, embedded store";
const MONGODB: &str = "auth-layer, MongoDB and Redis";
const ANSWERS_ONLY: &str = "axum, answers the same bytes";
const SIGNS_AND_COMMITS: &str = "and signs, and commits one row";

async fn contenders(databases: &Databases, only: &str) -> Vec<Contender> {
    let embedded = Demo::prepare(None).await;
    let mut embedded = Contender::new(EMBEDDED, embedded.start(1, &[embedded.client_id.to_owned()]).await);
    let answers = embedded.sample().await;
    let is_wanted = |name: &str| name.contains(only);
    let mut contenders = Vec::new();
    if is_wanted(EMBEDDED) {
        contenders.push(embedded);
    }
    if is_wanted(ANSWERS_ONLY) {
        contenders.push(Contender::new(ANSWERS_ONLY, Server::only_answers(&answers).await));
    }
    if is_wanted(SIGNS_AND_COMMITS) {
        let mut floor = Contender::new(SIGNS_AND_COMMITS, Server::signs_and_commits(&answers).await);
        // It has no store to ask.
        floor.introspects = false;
        contenders.push(floor);
    }
    if is_wanted(MONGODB) {
        let mongodb = Demo::prepare(Some((databases, "compare"))).await;
        let mut mongodb = Contender::new(MONGODB, mongodb.start(1, &[mongodb.client_id.to_owned()]).await);
        mongodb.uses_databases = true;
        contenders.push(mongodb);
    }
    for (name, format) in [(peers::OPAQUE, "opaque"), (peers::JWT, "jwt")] {
        if is_wanted(name)
            && let Some(server) = peers::oidc_provider(format).await
        {
            let mut peer = Contender::new(name, server);
            // It keeps no record of a JWT.
            peer.introspects = format == "opaque";
            contenders.push(peer);
        }
    }
    if is_wanted(peers::FASTAPI)
        && let Some(server) = peers::fastapi(databases).await
    {
        let mut peer = Contender::new(peers::FASTAPI, server);
        peer.uses_databases = true;
        contenders.push(peer);
    }
    contenders
}

impl Contender {
    fn new(name: &'static str, server: Server) -> Self {
        Self {
            name,
            server,
            uses_databases: false,
            introspects: true,
            tokens: VecDeque::new(),
            sessions: VecDeque::new(),
            codes: [FIRST_CODES; 2],
            measured: Default::default(),
        }
    }

    /// Returns the answers to an introspection, a client credentials request and a code exchange.
    async fn sample(&mut self) -> [String; 3] {
        let codes = self.server.codes(1).await;
        let load = self.server.load(1, HOUR);
        let clients = &self.server.clients;
        let mut tokens = Sample::of(ClientTokens::new(clients, VecDeque::new(), 1));
        load.run(&mut tokens);
        let mut introspection = Sample::of(Introspections::new(clients, &tokens.requests.tokens));
        load.run(&mut introspection);
        let mut exchange = Sample::of(Exchanges { clients, codes, sessions: Vec::new() });
        load.run(&mut exchange);
        [introspection.body, tokens.body, exchange.body]
    }

    /// Measures each operation.
    async fn measure_all(&mut self, databases: &Databases, lasting: Duration, counts: bool) {
        for at in 0..IN_FLIGHT.len() {
            for operation in [Operation::Exchange, Operation::Refresh, Operation::ClientToken] {
                self.measure(databases, operation, at, lasting, counts).await;
            }
            if self.introspects {
                let mut tokens = ClientTokens::new(&self.server.clients, std::mem::take(&mut self.tokens), TOKENS);
                tokens.fill(&self.server);
                self.tokens = tokens.tokens;
                for operation in [Operation::Introspection, Operation::Introspections] {
                    self.measure(databases, operation, at, lasting, counts).await;
                }
            }
        }
    }

    async fn measure(
        &mut self,
        databases: &Databases,
        operation: Operation,
        at: usize,
        lasting: Duration,
        counts: bool,
    ) {
        let codes = match operation {
            Operation::Exchange => self.server.codes(self.codes[at]).await,
            _ => Vec::new(),
        };
        let databases = self.uses_databases.then_some(databases);
        let clients = &self.server.clients;
        let run = |requests: &mut dyn Run| requests.measure(&self.server, databases, IN_FLIGHT[at], lasting);
        let measured = match operation {
            Operation::Introspection => run(&mut Introspections::new(clients, self.tokens.back())),
            Operation::Introspections => {
                let mut requests = Introspections::new(clients, &self.tokens);
                requests.warm_up(&self.server);
                run(&mut requests)
            }
            Operation::ClientToken => {
                let mut requests = ClientTokens::new(clients, std::mem::take(&mut self.tokens), TOKENS);
                let measured = run(&mut requests);
                self.tokens = requests.tokens;
                measured
            }
            Operation::Refresh => {
                let mut requests = Refreshes { clients, tokens: std::mem::take(&mut self.sessions) };
                let measured = run(&mut requests);
                self.sessions = requests.tokens;
                measured
            }
            Operation::Exchange => {
                let mut requests = Exchanges { clients, codes, sessions: Vec::new() };
                let measured = run(&mut requests);
                self.sessions.extend(requests.sessions);
                measured
            }
        };
        if operation == Operation::Exchange {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small and positive")]
            let enough = (measured.rate * lasting.as_secs_f64()) as usize;
            self.codes[at] = enough.clamp(FIRST_CODES, MOST_CODES);
        }
        if counts {
            self.measured[operation as usize][at].push(measured);
        }
    }
}

/// Requests that can be measured.
trait Run {
    fn measure(
        &mut self,
        server: &Server,
        databases: Option<&Databases>,
        in_flight: usize,
        lasting: Duration,
    ) -> Measured;
}

impl<R: Requests + Send> Run for R {
    fn measure(
        &mut self,
        server: &Server,
        databases: Option<&Databases>,
        in_flight: usize,
        lasting: Duration,
    ) -> Measured {
        let times = || (server.processor_time(), databases.map_or(0.0, Databases::processor_time));
        let before = times();
        let done = server.load(in_flight, lasting).run(self);
        let after = times();
        let (own, theirs) = (after.0 - before.0, after.1 - before.1);
        Measured {
            rate: done.requests / done.seconds,
            of_core: done.requests / own,
            with_databases: done.requests / (own + theirs),
            busy: own / done.seconds,
        }
    }
}

/// One request, whose answer is kept.
struct Sample<R> {
    requests: R,
    sent: bool,
    body: String,
}

impl<R> Sample<R> {
    fn of(requests: R) -> Self {
        Self { requests, sent: false, body: String::new() }
    }
}

impl<R: Requests> Requests for Sample<R> {
    fn next(&mut self, request: &mut Vec<u8>) -> Option<usize> {
        if std::mem::replace(&mut self.sent, true) { None } else { self.requests.next(request) }
    }

    fn answered(&mut self, client: usize, answer: &Answer<'_>) {
        self.body = String::from_utf8(answer.body.to_vec()).expect("JSON is text");
        self.requests.answered(client, answer);
    }
}

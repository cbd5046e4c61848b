//! Measures what a check costs over HTTP: requests per second for each way of letting requests in,
//! compared with the bare router. Also measures how good requests fare during a flood of forged
//! tokens.
//!
//! Run it with `cargo bench --profile dist -p benchmarks --bench http`, with wrk on the `PATH`.
//! Each server is a process with one worker thread. The servers take turns under load, round after
//! round.
//!
//! Arguments:
//!
//! - `ways` or `flood` runs only that part.
//! - `--rounds N` measures N rounds after the one that warms up, in place of 7.
//! - `--seconds N` puts each server under load for N seconds a round, in place of 3.
//! - `--plot FILE` draws the figures of `ways` as SVG, and for dark backgrounds beside it.
//! - `--figures FILE` with `--plot` measures nothing and draws the figures of a table that a run
//!   has printed.
//!
//! Paths are relative to this package.

#[path = "../cpu/mod.rs"]
mod cpu;
mod load;
#[path = "../peers/mod.rs"]
mod peers;
#[path = "../plot/mod.rs"]
mod plot;
#[path = "../report/mod.rs"]
mod report;
mod serve;
mod throughput;

use std::{
    collections::HashMap,
    env, fs,
    time::{Duration, Instant},
};

use auth_layer::{TokenId, keys::Algorithm, trust::CheckOrder};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use deadpool_redis::redis;
use tests::{
    process::{Process, Program},
    servers::RedisServer,
};

use self::{
    cpu::processor_time,
    load::{Bearing, Load},
    report::{head, median, number_of, progress, round_name, row, thousands, value_of},
    serve::{Place, Way},
};

const CONNECTIONS: usize = 32;

/// The measured rounds of each server.
#[derive(Clone, Copy)]
struct Rounds {
    count: usize,
    lasting: Duration,
}

/// The servers. A server process gets its index in this list.
const SERVERS: [(Way, Algorithm); 31] = [
    // Each algorithm has its own bare router: a longer token costs more everywhere.
    (Way::Bare, Algorithm::Hs256),
    (Way::Bare, Algorithm::EdDsa),
    (Way::Bare, Algorithm::Rs256),
    (Way::Floor(Place::Inside), Algorithm::Hs256),
    (Way::Floor(Place::Inside), Algorithm::EdDsa),
    (Way::Floor(Place::Inside), Algorithm::Rs256),
    (Way::Lookup(Place::Inside), Algorithm::Hs256),
    (Way::Lookup(Place::Inside), Algorithm::EdDsa),
    (Way::Lookup(Place::Inside), Algorithm::Rs256),
    (Way::Lease(Place::Inside), Algorithm::Hs256),
    (Way::Lease(Place::Inside), Algorithm::EdDsa),
    (Way::Lease(Place::Inside), Algorithm::Rs256),
    (Way::Floor(Place::Around), Algorithm::Hs256),
    (Way::Floor(Place::Around), Algorithm::EdDsa),
    (Way::Floor(Place::Around), Algorithm::Rs256),
    (Way::Lookup(Place::Around), Algorithm::Hs256),
    (Way::Lookup(Place::Around), Algorithm::EdDsa),
    (Way::Lookup(Place::Around), Algorithm::Rs256),
    (Way::Lease(Place::Around), Algorithm::Hs256),
    (Way::Lease(Place::Around), Algorithm::EdDsa),
    (Way::Lease(Place::Around), Algorithm::Rs256),
    (Way::Redis, Algorithm::Hs256),
    (Way::ByHand, Algorithm::Hs256),
    (Way::ByHand, Algorithm::EdDsa),
    (Way::ByHand, Algorithm::Rs256),
    (Way::ByHandAndRedis, Algorithm::Hs256),
    (Way::AxumJwtAuth, Algorithm::Hs256),
    (Way::AxumJwtAuth, Algorithm::EdDsa),
    (Way::Flooded(CheckOrder::RecordFirst, 100), Algorithm::EdDsa),
    (Way::Flooded(CheckOrder::RecordFirst, u32::MAX), Algorithm::EdDsa),
    (Way::Flooded(CheckOrder::SignatureFirst, 100), Algorithm::EdDsa),
];

/// The variables that tell a process which server it is and which Redis it uses.
const SERVER: &str = "BENCH_HTTP_SERVER";
const REDIS: &str = "BENCH_HTTP_REDIS";

fn main() {
    let runtime = |threads| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(threads).enable_all().build().expect("a runtime")
    };
    if let Ok(server) = env::var(SERVER) {
        let (way, algorithm) = SERVERS[server.parse::<usize>().expect("a number")];
        return runtime(1).block_on(serve::serve(way, algorithm, &env::var(REDIS).expect("a Redis")));
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let plot = value_of(&arguments, "--plot");
    if let Some(figures) = value_of(&arguments, "--figures") {
        let table = fs::read_to_string(figures).unwrap_or_else(|error| panic!("`--figures {figures}`: {error}"));
        let plot = plot.expect("`--figures FILE` needs `--plot FILE`");
        return throughput::draw(plot, |name| throughput::figure(&table, name));
    }
    let rounds = Rounds {
        count: number_of(&arguments, "--rounds").map_or(7, |count| count.get().into()),
        lasting: Duration::from_secs(number_of(&arguments, "--seconds").map_or(3, |seconds| seconds.get().into())),
    };
    let wanted = |part: &str| {
        let named = |argument: &String| ["ways", "flood"].contains(&argument.as_str());
        arguments.iter().any(|argument| argument == part) || !arguments.iter().any(named)
    };
    runtime(2).block_on(async {
        let redis = RedisServer::start(&[]).await;
        if wanted("ways") {
            ways(&redis, rounds, plot).await;
        }
        if wanted("flood") {
            flood(&redis, rounds).await;
        }
    });
}

/// A server process, ended on drop.
struct Server {
    id: u32,
    url: String,
    token: String,
    _process: Process,
}

impl Server {
    async fn start(number: usize, redis: &RedisServer) -> Self {
        let program = Program {
            path: env::current_exe().expect("this process has a binary"),
            args: Vec::new(),
            env: vec![(SERVER.into(), number.to_string().into()), (REDIS.into(), redis.url().into())],
            env_removed: &[],
            scratch: None,
        };
        let mut process = Process::start(&program).expect("there is a shell");
        let begun = Instant::now();
        loop {
            let said = process.log().lines();
            let after = |what| said.iter().find_map(|line| line.strip_prefix(what)).map(str::to_owned);
            if let (Some(id), Some(token), Some(url)) = (after("process "), after("token "), after("listening on ")) {
                return Self { id: id.parse().expect("a number"), url, token, _process: process };
            }
            let log = process.log().tail();
            assert!(!process.has_ended() && begun.elapsed() < Duration::from_secs(20), "no server:\n{log}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn good_requests(&self, connections: usize, lasting: Duration) -> f64 {
        let load = Load::start(&self.url, &Bearing::One(&self.token), connections, lasting);
        let (rate, refused) = load.ended().await;
        assert_eq!(refused, 0, "good requests were refused");
        rate
    }
}

/// Returns the name of a server in the table.
fn row_name((way, algorithm): (Way, Algorithm)) -> String {
    format!("{}, {}", way.name(), algorithm.as_str())
}

async fn ways(redis: &RedisServer, rounds: Rounds, plot: Option<&str>) {
    let numbers: Vec<usize> =
        (0..SERVERS.len()).filter(|number| !matches!(SERVERS[*number].0, Way::Flooded(..))).collect();
    let mut servers = Vec::new();
    progress(&format!("starting {} servers", numbers.len()));
    for number in &numbers {
        servers.push(Server::start(*number, redis).await);
    }
    let (mut rates, mut busy) = (vec![Vec::new(); servers.len()], vec![Vec::new(); servers.len()]);
    for round in 0..=rounds.count {
        // Each round starts elsewhere and reverses, so that a way has no fixed predecessor.
        let turns = (0..servers.len()).map(|turn| (turn + round * 5) % servers.len());
        let turns: Vec<usize> = if round % 2 == 0 { turns.collect() } else { turns.rev().collect() };
        for turn in turns {
            progress(&format!("{}: {}", round_name(round, rounds.count), row_name(SERVERS[numbers[turn]])));
            let before = processor_time(servers[turn].id);
            let begun = Instant::now();
            let rate = servers[turn].good_requests(CONNECTIONS, rounds.lasting).await;
            let share = (processor_time(servers[turn].id) - before) / begun.elapsed().as_secs_f64();
            // The first round warms up.
            if round > 0 {
                rates[turn].push(rate);
                busy[turn].push(share);
            }
        }
    }
    // Compared with the bare router in the same round, with the same token: noise affects both.
    let ratios = |rates: &[f64], to: &[f64]| -> Vec<f64> { rates.iter().zip(to).map(|(rate, to)| rate / to).collect() };
    let rates_of = |way, algorithm| {
        let place = numbers.iter().position(|number| SERVERS[*number] == (way, algorithm));
        &*rates[place.expect("it is served")]
    };
    head(&["HTTP, one core", "requests/s", "of bare", "least", "most", "of the lookup", "core busy"]);
    let mut figures = HashMap::new();
    for ((number, rates), busy) in numbers.iter().zip(&rates).zip(busy) {
        let (way, algorithm) = SERVERS[*number];
        let name = row_name(SERVERS[*number]);
        let of_bare = ratios(rates, rates_of(Way::Bare, algorithm));
        let least = of_bare.iter().copied().fold(f64::INFINITY, f64::min);
        let most = of_bare.iter().copied().fold(0.0, f64::max);
        let of_lookup = median(ratios(rates, rates_of(Way::Lookup(way.place()), algorithm)));
        let rate = median(rates.clone());
        row(&[
            &name,
            &thousands(rate),
            &format!("{:.3}", median(of_bare)),
            &format!("{least:.3}"),
            &format!("{most:.3}"),
            &format!("{of_lookup:.3}"),
            &format!("{:.2}", median(busy)),
        ]);
        figures.insert(name, rate);
    }
    if let Some(file) = plot {
        throughput::draw(file, |name| figures[name]);
    }
}

/// Sends good requests on some connections, and good or forged ones on as many or many more.
async fn flood(redis: &RedisServer, rounds: Rounds) {
    for others in [GOOD, 32 * GOOD] {
        flood_on(redis, rounds, others).await;
    }
}

/// The connections that always send good requests.
const GOOD: usize = 16;

async fn flood_on(redis: &RedisServer, rounds: Rounds, others: usize) {
    let lasting = rounds.lasting;
    let title = format!("beside forged tokens on {others} connections");
    head(&[&title, "good requests/s", "of those beside good ones", "forged/s", "lookups/s"]);
    for (number, (way, _)) in SERVERS.iter().enumerate().filter(|(_, (way, _))| matches!(way, Way::Flooded(..))) {
        let server = Server::start(number, redis).await;
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let forged = directory.path().join("forged");
        fs::write(&forged, forge(&server.token, 20_000)).expect("the forged tokens can be written");
        let (mut peaceful, mut flooded, mut forged_rates, mut lookups) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 0..=rounds.count {
            let step = format!("{}: {}", round_name(round, rounds.count), way.name());
            progress(&format!("{step}, beside {others} connections with good tokens"));
            let neighbour = Load::start(&server.url, &Bearing::One(&server.token), others, lasting);
            let beside_good = server.good_requests(GOOD, lasting).await;
            neighbour.ended().await;
            let before = gets(redis).await;
            progress(&format!("{step}, beside {others} connections with forged tokens"));
            let neighbour = Load::start(&server.url, &Bearing::Many(&forged), others, lasting);
            let beside_forged = server.good_requests(GOOD, lasting).await;
            let (rate, refused) = neighbour.ended().await;
            assert!(refused > 0, "forged tokens were let in");
            if round > 0 {
                peaceful.push(beside_good);
                flooded.push(beside_forged);
                forged_rates.push(rate);
                lookups.push((gets(redis).await - before) / lasting.as_secs_f64());
            }
        }
        let kept = median(flooded.iter().zip(&peaceful).map(|(flooded, peaceful)| flooded / peaceful).collect());
        row(&[
            &way.name(),
            &thousands(median(flooded)),
            &format!("{kept:.2}"),
            &thousands(median(forged_rates)),
            &thousands(median(lookups)),
        ]);
    }
}

/// Returns well-formed tokens, one a line. They differ from `token` only in the id and have a wrong
/// signature.
fn forge(token: &str, count: usize) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let payload = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url");
    let mut claims: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
    let mut lines = String::new();
    for _ in 0..count {
        claims["jti"] = TokenId::generate().to_string().into();
        lines += &[parts[0], &URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2]].join(".");
        lines.push('\n');
    }
    lines
}

/// Returns how many `GET`s this Redis has run.
async fn gets(server: &RedisServer) -> f64 {
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis is there");
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.expect("it answers");
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls=")?.split(',').next()?.parse().ok());
    calls.unwrap_or(0.0)
}

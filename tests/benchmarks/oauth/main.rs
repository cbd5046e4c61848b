//! Compares the OAuth endpoints of the demo application with what others would use, and measures
//! what a request costs as clients, sessions and nodes become more.
//!
//! Run it with `cargo bench -p benchmarks --bench oauth`. Each server is one process on one core,
//! and the load has the other. The databases are bound to no core. The servers take turns, round
//! after round.
//!
//! Arguments:
//!
//! - `compare` or `growth` runs only that part.
//! - `--rounds N` measures N rounds after the one that warms up, in place of 5.
//! - `--seconds N` puts each server under each load for N seconds a round, in place of 2.
//! - `--only TEXT` lets `compare` measure only the servers with this text in their names.
//! - `--million` lets `growth` go on to a million sessions.

mod compare;
#[path = "../cpu/mod.rs"]
mod cpu;
mod databases;
mod demo;
mod floor;
mod growth;
mod limits;
mod load;
mod peers;
#[path = "../report/mod.rs"]
mod report;
mod requests;
mod server;
mod tables;

use std::{env, process::ExitCode, time::Duration};

use auth_layer::clock::SystemClock;
use demo_app::PasswordCost;
use mimalloc::MiMalloc;
use tokio::runtime::Builder;

use self::report::{number_of, value_of};

// As in the binary `demo-app`, which this program stands in for.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const PARTS: [&str; 2] = ["compare", "growth"];

fn main() -> ExitCode {
    if let Ok(core) = env::var(demo::DEMO) {
        if core != demo::FLOATING {
            load::pin(load::SERVER_CORE);
        }
        // Passwords are checked only where codes are prepared.
        return demo_app::run_with(SystemClock::new(), PasswordCost::DangerouslyLow);
    }
    let runtime =
        |threads| Builder::new_multi_thread().worker_threads(threads).enable_all().build().expect("a runtime");
    if env::var_os(floor::ANSWERS).is_some() {
        runtime(1).block_on(floor::serve());
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let rounds = number_of(&arguments, "--rounds").map_or(5, |count| count.get().into());
    let lasting = Duration::from_secs(number_of(&arguments, "--seconds").map_or(2, |seconds| seconds.get().into()));
    let is_named = |name: &str| arguments.iter().any(|argument| argument == name);
    let named: Vec<&str> = PARTS.into_iter().filter(|part| is_named(part)).collect();
    for part in if named.is_empty() { PARTS.to_vec() } else { named } {
        match part {
            "compare" => runtime(2).block_on(compare::compare(rounds, lasting, value_of(&arguments, "--only"))),
            _ => runtime(2).block_on(growth::growth(rounds, lasting, is_named("--million"))),
        }
    }
    ExitCode::SUCCESS
}

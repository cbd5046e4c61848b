//! Measures what a check costs in process: each way of letting a request in, less the bare router.
//!
//! Run it with `cargo bench --profile dist -p benchmarks --bench in_process`. Each figure is the
//! processor time of a request through one router, less that of a request through the bare router.
//! The two are timed in turns, so that noise affects both.

mod doors;
mod peers;
#[path = "../../auth-layer/tests/support/prover.rs"]
mod prover;

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use criterion::{Bencher, Criterion};
use rustix::time::{ClockId, clock_gettime};

use self::{
    doors::{ALGORITHMS, Door, Way},
    peers::key::Key,
};

/// The number of requests that are timed together.
const BATCH: u64 = 5;

/// The criterion group of every benchmark here.
const GROUP: &str = "over the bare router";

fn main() {
    let begun = SystemTime::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group(GROUP);
    for algorithm in ALGORITHMS {
        let key = Key::new(algorithm);
        for way in Way::ALL {
            let mut door = way.door(&key, &runtime);
            group.bench_function(name(algorithm.as_str(), way), |bencher| over_bare(bencher, &mut door));
        }
    }
    group.finish();
    criterion.final_summary();
    print_table(begun);
}

fn name(algorithm: &str, way: Way) -> String {
    format!("{algorithm}/{}", way.name())
}

/// Times a router and the bare router in turns and returns the difference.
fn over_bare(bencher: &mut Bencher<'_>, door: &mut Door) {
    let mut bare = door.bare();
    bencher.iter_custom(|requests| {
        let (mut with, mut without) = (Duration::ZERO, Duration::ZERO);
        let mut left = requests;
        while left > 0 {
            let batch = left.min(BATCH);
            with += time(door, batch);
            without += time(&mut bare, batch);
            left -= batch;
        }
        // Criterion refuses zero, and noise can make the difference zero.
        with.saturating_sub(without).max(Duration::from_nanos(requests))
    });
}

/// Returns the processor time of `requests` requests. Building the requests is not timed.
fn time(door: &mut Door, requests: u64) -> Duration {
    let requests: Vec<_> = (0..requests).map(|_| door.request()).collect();
    let begun = processor_time();
    for request in requests {
        door.knock(request);
    }
    processor_time().saturating_sub(begun)
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("it is not negative")
}

/// Prints criterion's results and their ratio to hand-written jsonwebtoken, with the same algorithm
/// and with HS256.
#[expect(clippy::print_stdout, reason = "its purpose")]
fn print_table(begun: SystemTime) {
    let median = |name: &str| median(name, begun);
    let hs256 = median(&name("HS256", Way::ByHand));
    println!(
        "\n| nanoseconds over the bare router | median | of by hand | of by hand with HS256 |\n| --- | ---: | ---: | ---: |"
    );
    for algorithm in ALGORITHMS {
        let by_hand = median(&name(algorithm.as_str(), Way::ByHand));
        for way in Way::ALL {
            let name = name(algorithm.as_str(), way);
            if let (Some(median), Some(by_hand), Some(hs256)) = (median(&name), by_hand, hs256) {
                println!("| {name} | {median:.0} | {:.2} | {:.2} |", median / by_hand, median / hs256);
            }
        }
    }
}

/// Returns the median in nanoseconds if this run has measured it.
fn median(name: &str, begun: SystemTime) -> Option<f64> {
    // Cargo runs benchmarks in the directory of their package.
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("../target"), PathBuf::from);
    let file = target.join("criterion").join(GROUP).join(name.replace('/', "_")).join("new/estimates.json");
    if fs::metadata(&file).and_then(|file| file.modified()).ok()? < begun {
        return None;
    }
    let estimates: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

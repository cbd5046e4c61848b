//! The demo application, built beside the integration tests so that they can start it.
//!
//! `NODE_CLOCK_SKEW` is the error of its clock in seconds. `NODE_PASSWORDS=cheap` makes passwords
//! cheap to hash.

use std::{process::ExitCode, time::Duration};

use auth_layer::clock::{Clock, SystemClock, Timestamp};
use chrono::TimeDelta;
use demo_app::PasswordCost;

/// A clock that is wrong by a fixed amount.
struct SkewedClock {
    clock: SystemClock,
    error: TimeDelta,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        self.clock.now() + self.error
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

fn main() -> ExitCode {
    let seconds = std::env::var("NODE_CLOCK_SKEW").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
    let cheap = std::env::var("NODE_PASSWORDS").is_ok_and(|passwords| passwords == "cheap");
    let passwords = if cheap { PasswordCost::DangerouslyLow } else { PasswordCost::Owasp };
    demo_app::run_with(SkewedClock { clock: SystemClock::new(), error: TimeDelta::seconds(seconds) }, passwords)
}

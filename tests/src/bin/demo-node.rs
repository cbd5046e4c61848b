//! The demo application, built beside the integration tests so that they can start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    demo_app::run()
}

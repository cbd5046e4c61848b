//! The `demo-app` binary.

fn main() -> std::process::ExitCode {
    demo_app::run()
}

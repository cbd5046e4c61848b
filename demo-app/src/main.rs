//! The `demo-app` binary.

use mimalloc::MiMalloc;

// A request allocates some hundred times. glibc takes two to three times as long for that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    demo_app::run()
}

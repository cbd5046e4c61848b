//! The `demo-app` binary.

use mimalloc::MiMalloc;

// A refresh allocates some four hundred times, and glibc takes three times the instructions for it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    demo_app::run()
}

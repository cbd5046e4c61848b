//! The `demo-app` binary.
fn main() {}

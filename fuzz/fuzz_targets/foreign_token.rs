#![no_main]

#[path = "../../auth-layer/tests/support/fuzz_targets.rs"]
#[allow(dead_code, reason = "each target runs one of the functions")]
mod fuzz_targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_targets::foreign_token(input));

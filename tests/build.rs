//! Tells the tests which programs are on the `PATH`, of those that `cargo test` can do without.
//!
//! With `REQUIRE_CLIENTS=1` it counts each as found: a test whose program is missing then fails.

#[path = "src/on_path.rs"]
mod on_path;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use self::on_path::{CHROMIUM, on_path};

/// The oldest version of Node.js that the scripts run on.
const OLDEST_NODE: u32 = 18;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/on_path.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rerun-if-env-changed=REQUIRE_CLIENTS");
    println!("cargo::rustc-check-cfg=cfg(has_node, has_chromium, has_promtool, has_systemd_analyze)");
    let is_required = env::var_os("REQUIRE_CLIENTS").is_some_and(|required| required == "1");
    let node = on_path(&["node"]).filter(|node| is_new_enough(node));
    let found = [
        ("has_node", vec![node, on_path(&["npm"])]),
        ("has_chromium", vec![on_path(&CHROMIUM)]),
        ("has_promtool", vec![on_path(&["promtool"])]),
        ("has_systemd_analyze", vec![on_path(&["systemd-analyze"])]),
    ];
    for (cfg, programs) in found {
        if is_required || programs.iter().all(Option::is_some) {
            println!("cargo::rustc-cfg={cfg}");
        }
        for program in programs {
            watch(program);
        }
    }
}

/// Whether this Node.js is of a version that the scripts run on. It says, for example, `v20.11.0`.
fn is_new_enough(node: &Path) -> bool {
    let version = Command::new(node).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let version = String::from_utf8_lossy(&version);
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    major.is_some_and(|major: u32| major >= OLDEST_NODE)
}

/// Runs this script again when the program changes. A missing one may come into any directory of
/// the `PATH`.
fn watch(program: Option<PathBuf>) {
    let paths = match program {
        Some(program) => vec![program],
        None => env::var_os("PATH").iter().flat_map(env::split_paths).filter(|dir| dir.is_dir()).collect(),
    };
    for path in paths {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

//! Client libraries in other languages.
//!
//! Their packages are pinned in `tests/clients`, installed once and kept in the target directory.
//! A test runs a script from there: it reads a JSON object on its standard input, calls a node with
//! the library, and prints one JSON value. A script that fails fails the test.
//!
//! Python is always there, because it also fetches the servers. Node.js and Chromium may be
//! missing. A test that needs them is ignored then, so that the test command names it:
//!
//! ```text
//! #[cfg_attr(not(has_node), ignore = "Node.js 18 or newer and npm are not on the PATH")]
//! #[cfg_attr(not(all(has_node, has_chromium)), ignore = "Node.js, npm or Chromium is not on the PATH")]
//! ```
//!
//! With `REQUIRE_CLIENTS=1` it runs and fails.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use serde_json::Value;

use crate::{
    command::run_to_end,
    on_path::{CHROMIUM, on_path},
    packages,
    process::Program,
};

/// The time in which a script must end.
const SCRIPT: Duration = Duration::from_mins(1);

/// The same for a script that starts a browser, which takes half a minute on an idle machine.
const BROWSER_SCRIPT: Duration = Duration::from_mins(4);

/// The same for Schemathesis, which makes thousands of requests: a minute on an idle machine.
const SCHEMATHESIS: Duration = Duration::from_mins(4);

/// The prefixes of variables that scripts do not inherit: all nodes are on the loopback interface,
/// and the packages are ours.
const NOT_INHERITED: [&str; 12] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "grpc_proxy",
    "no_grpc_proxy",
    "NODE_",
    "PYTHON",
];

/// Runs a script of `tests/clients/python` with this input, and returns its output.
///
/// # Panics
///
/// If the packages cannot be installed, or if the script fails or takes longer than a minute.
pub async fn python(script: &str, input: &Value) -> Value {
    run_in_python(script, input, SCRIPT).await
}

/// Runs Schemathesis as [`python()`] runs a script. It has four minutes.
///
/// # Panics
///
/// As [`python()`].
pub async fn schemathesis(input: &Value) -> Value {
    run_in_python("with_schemathesis.py", input, SCHEMATHESIS).await
}

async fn run_in_python(script: &str, input: &Value, limit: Duration) -> Value {
    let program = python_program(vec![sources("python").join(script).into()]).await;
    run_to_end(&program, &input.to_string(), limit).await.json()
}

/// Returns Python with these arguments, which finds the packages of `tests/clients/python`.
pub(crate) async fn python_program(args: Vec<OsString>) -> Program {
    let env = vec![
        ("PYTHONPATH".into(), python_packages().await.into()),
        ("PYTHONNOUSERSITE".into(), "1".into()),
        // The scripts share a module, in the source tree.
        ("PYTHONDONTWRITEBYTECODE".into(), "1".into()),
    ];
    program("python3", args, env)
}

/// Returns the folder of the packages of `tests/clients/python`.
pub(crate) async fn python_packages() -> &'static Path {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    installed(&PACKAGES, || packages::python(&sources("python"))).await
}

/// Runs a script of `tests/clients/node` with this input, and returns its output.
///
/// # Panics
///
/// If the packages cannot be installed, or if the script fails or takes longer than a minute.
pub async fn node(script: &str, input: &Value) -> Value {
    run_in_node(script, input, SCRIPT).await
}

/// Runs a script of `tests/clients/node` that starts a browser, as [`node()`] does. It has four
/// minutes.
///
/// The script must drive the browser by a pipe: the browser then ends with the script, even if
/// that is killed.
///
/// # Panics
///
/// As [`node()`].
pub async fn browser(script: &str, input: &Value) -> Value {
    run_in_node(script, input, BROWSER_SCRIPT).await
}

/// Returns the path of Chromium.
///
/// # Panics
///
/// If it is not on the `PATH`.
pub fn chromium() -> PathBuf {
    on_path(&CHROMIUM).unwrap_or_else(|| panic!("install Chromium: none of {CHROMIUM:?} is on the PATH"))
}

async fn run_in_node(script: &str, input: &Value, limit: Duration) -> Value {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    let packages = installed(&PACKAGES, || packages::node(&sources("node"))).await;
    let mut args: Vec<OsString> = Vec::new();
    if is_node_18() {
        // Later versions have it without a flag.
        args.push("--experimental-global-webcrypto".into());
    }
    args.push(packages.join(script).into());
    run_to_end(&program("node", args, Vec::new()), &input.to_string(), limit).await.json()
}

/// Returns whether the Node.js on the `PATH` is of version 18.
fn is_node_18() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        Command::new("node").arg("--version").output().is_ok_and(|output| output.stdout.starts_with(b"v18."))
    })
}

fn program(name: &str, args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> Program {
    Program { path: name.into(), args, env, env_removed: &NOT_INHERITED, scratch: None }
}

/// Returns the folder of what is in this language.
fn sources(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(language)
}

/// Returns the packages, and installs them first if that has not been done.
async fn installed(packages: &'static OnceLock<PathBuf>, install: fn() -> Result<PathBuf, String>) -> &'static Path {
    let installed = move || {
        packages.get_or_init(|| {
            install().unwrap_or_else(|error| panic!("the packages of tests/clients cannot be installed: {error}"))
        })
    };
    let installed = tokio::task::spawn_blocking(installed).await;
    installed.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

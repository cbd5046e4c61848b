//! Programs that run to their end.

use std::{
    fmt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::process::Program;

/// What a program has printed.
#[derive(Clone, Debug)]
pub struct CommandOutput {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl CommandOutput {
    /// Returns its standard output as JSON.
    ///
    /// # Panics
    ///
    /// If it failed, or has printed something else.
    pub fn json(&self) -> Value {
        assert!(self.code == Some(0), "{self}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl fmt::Display for CommandOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, stdout, stderr } = self;
        write!(f, "exit code {code:?}\nstandard output:\n{stdout}\nstandard error:\n{stderr}")
    }
}

/// The prefixes of variables that scripts do not inherit: they would change what the demo and curl
/// do.
const NOT_INHERITED: [&str; 6] = ["DEMO_", "MONGODB_", "REDIS_", "CURL_", "RUST_LOG", "BASH_ENV"];

/// Runs a bash script in this directory, with these variables and to its end.
///
/// # Panics
///
/// If it has not ended within `limit`.
pub async fn run_script(script: &str, directory: &Path, env: &[(&str, &str)], limit: Duration) -> CommandOutput {
    let in_directory = format!("cd '{}' || exit\n{script}", directory.display());
    let program = Program {
        path: "bash".into(),
        args: vec!["-c".into(), in_directory.into()],
        env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        env_removed: &NOT_INHERITED,
        scratch: None,
    };
    run_to_end(&program, "", limit).await
}

/// Runs a program with this standard input and to its end. It is killed when the future is dropped.
///
/// # Panics
///
/// If it cannot be started, or has not ended within `limit`.
pub(crate) async fn run_to_end(program: &Program, input: &str, limit: Duration) -> CommandOutput {
    let Program { path, args, .. } = program;
    let mut command = Command::new(path);
    program.set_environment(&mut command);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = tokio::process::Command::from(command).kill_on_drop(true).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{} cannot be started: {error}", path.display()));
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let ended = timeout(limit, async {
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut to), Some(mut from), Some(mut errors)) = pipes else { unreachable!("each is a pipe") };
        let send = async move {
            // A program that fails early reads nothing.
            let _ = to.write_all(input.as_bytes()).await;
        };
        let ((), from, errors) = tokio::join!(send, from.read_to_end(&mut stdout), errors.read_to_end(&mut stderr));
        from.and(errors)?;
        child.wait().await
    });
    let ended = ended.await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let stderr = text(&stderr);
    let Ok(status) = ended else { panic!("{} {args:?} does not end within {limit:?}:\n{stderr}", path.display()) };
    CommandOutput { code: status.expect("its output can be read").code(), stdout: text(&stdout), stderr }
}

/// Runs a command to its end. The error has the last lines of its output.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.lines().collect();
    Err(format!("{name} said {:?}", lines[lines.len().saturating_sub(5)..].join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program {
            path: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("GIVEN".into(), "yes".into())],
            env_removed: &["CARGO_PKG_"],
            scratch: None,
        }
    }

    #[tokio::test]
    async fn harness_runs_a_program_to_its_end_with_its_input_and_variables() {
        let program = shell(r#"[ -z "$CARGO_PKG_NAME" ] && cat && echo "$GIVEN" && echo why >&2"#);
        let input = "1".repeat(1 << 20);
        let output = run_to_end(&program, &input, Duration::from_secs(30)).await;
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), "why\n"));
        assert_eq!(output.stdout, input + "yes\n");
    }

    #[tokio::test]
    #[should_panic(expected = "standard error:\nwhy")]
    async fn harness_program_that_fails_says_why() {
        run_to_end(&shell("echo why >&2; exit 3"), "", Duration::from_secs(30)).await.json();
    }

    #[tokio::test]
    #[should_panic(expected = "does not end within 200ms:\nwhy")]
    async fn harness_program_that_does_not_end_is_killed_and_says_why() {
        run_to_end(&shell("echo why >&2; exec sleep 600"), "", Duration::from_millis(200)).await;
    }
}

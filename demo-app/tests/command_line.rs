//! Tests of the program's flags and messages.

#[path = "command_line/commands.rs"]
mod commands;
#[path = "command_line/running.rs"]
mod running;
#[path = "command_line/settings.rs"]
mod settings;
#[path = "command_line/signals.rs"]
mod signals;

use std::{
    path::Path,
    process::{Command, Output},
};

/// Builds the program's command with these arguments and variables, and no inherited settings.
fn command(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo-app"));
    for (name, _) in std::env::vars_os() {
        if ["DEMO_", "MONGODB_", "REDIS_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
    command.current_dir(directory).args(arguments).envs(variables.iter().copied());
    command
}

/// Runs the program with arguments and variables that keep it from serving.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    command(directory.path(), arguments, variables).output().unwrap()
}

fn output_text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Arguments, variables, and the expected text.
type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);

#[test]
fn errors_repeat_no_secret() {
    let cases: [Case; 15] = [
        (&[], &[("DEMO_CLIENTS", "svc:pa,s3cret")], "--clients"),
        (&[], &[("DEMO_CLIENTS", "s3cret")], "--clients"),
        (&[], &[("DEMO_CLIENTS", ":s3cret")], "--clients"),
        (&["--clients", "svc:pa,s3cret"], &[], "--clients"),
        (&["--clients", "svc:pa", "s3cret"], &[], "unexpected argument"),
        (&["users", "create", "ada", "s3cret"], &[], "unexpected argument"),
        (&["users", "password", "ada", "--password=s3cret"], &[], "--password"),
        (&["tokens", "show", "eyJhbGciOi.s3cret.x"], &[], "a token itself is not taken"),
        (&["--redis-url", "redis://:a@h", "redis://:s3cret@h"], &[], "unexpected argument"),
        (&["--redis-url", "redis://:a@h", "--", "s3cret"], &[], "unexpected argument"),
        (&["--redis-url", "redis://:s3cret@h"], &[], "--mongodb-uri"),
        (&["--mongo-uri=mongodb://u:s3cret@h"], &[], "--mongo"),
        (&["--mongodb-uri", "mongodb://u:s3cret@h", "--mongodb-uri", "mongodb://u:s3cret@h"], &[], "--mongodb-uri"),
        (&["--mongodb-uri", "mongodb://u:s3cret@h:port/?w=s3cret"], &[], "MongoDB URI"),
        (&[], &[("MONGODB_URI", "mongodb+srv://u:s3cret@h")], "mongodb+srv:// is not supported"),
    ];
    for (arguments, variables, expected) in cases {
        let output = run(arguments, variables);
        let printed = output_text(&output);
        assert!(!output.status.success(), "{arguments:?} {variables:?}");
        assert!(!printed.contains("s3cret"), "{printed}");
        assert!(printed.contains(expected), "{printed}");
    }
}

#[test]
fn errors_show_wrong_values_that_are_not_secret() {
    for (arguments, expected) in [
        (["--access-ttl", "soon"], "'soon'"),
        (["--listen", "nowhere"], "'nowhere'"),
        (["--accesttl", "15m"], "--access-ttl"),
    ] {
        let printed = output_text(&run(&arguments, &[]));
        assert!(printed.contains(expected), "{printed}");
    }
}

#[test]
fn help_states_session_lifetime_and_shows_no_secret() {
    let output = run(&["--help"], &[("DEMO_CLIENTS", "svc:s3cret"), ("MONGODB_URI", "mongodb://u:s3cret@h")]);
    let printed = output_text(&output);
    assert!(output.status.success() && printed.contains("90 days"), "{printed}");
    assert!(!printed.contains("s3cret"), "{printed}");
}

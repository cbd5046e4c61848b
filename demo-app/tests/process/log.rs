//! A log that cannot be written affects no request and no shutdown.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::fd::OwnedFd,
    process::Stdio,
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::program::{Program, command};

/// The number of requests while the log cannot be written.
const REQUESTS: usize = 20;

fn assert_serves_and_exits(mut program: Program) {
    for number in 0..REQUESTS {
        let answer = program.get("/healthz").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "request {number}: {answer:?}");
    }
    let status = program.terminate();
    assert_eq!(status.code(), Some(0), "{status:?}");
}

/// Returns the number of dropped lines in the metrics.
fn dropped(program: &Program) -> u64 {
    let metrics = program.get("/metrics").unwrap();
    assert!(metrics.contains("# HELP log_lines_dropped_total "), "{metrics}");
    let line = metrics.lines().find_map(|line| line.strip_prefix("log_lines_dropped_total "));
    line.unwrap_or_else(|| panic!("no count in {metrics}")).parse().unwrap()
}

/// Returns a full pipe. It stays full while its reader exists and reads nothing.
fn full_pipe() -> (File, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    let mut writer = File::from(writer);
    while writer.write(b"full\n").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader.into(), writer.into())
}

fn dev_full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn log_with_closed_reader_costs_no_request() {
    let mut program = Program::start(Stdio::piped());
    drop(program.stderr());
    assert!(program.get("/healthz").unwrap().starts_with("HTTP/1.1 200"));
    // The first request's line was lost.
    crate::program::poll_until("the loss is counted", || (dropped(&program) > 0).then_some(()));
    assert_serves_and_exits(program);
}

#[test]
fn log_with_stalled_reader_costs_no_request() {
    let (_reader, writer) = full_pipe();
    assert_serves_and_exits(Program::start(writer));
}

#[test]
fn log_and_stdout_with_stalled_reader_cost_no_request() {
    let (_reader, writer) = full_pipe();
    assert_serves_and_exits(Program::start_with_outputs(writer.try_clone().unwrap(), writer));
}

#[test]
fn log_on_full_disk_costs_no_request() {
    let program = Program::start(dev_full());
    assert!(program.get("/healthz").unwrap().starts_with("HTTP/1.1 200"));
    crate::program::poll_until("the loss is counted", || (dropped(&program) > 0).then_some(()));
    assert_serves_and_exits(program);
}

#[test]
fn log_and_stdout_on_full_disk_cost_no_request() {
    assert_serves_and_exits(Program::start_with_outputs(dev_full(), dev_full()));
}

#[test]
fn log_is_complete_at_program_end() {
    let mut program = Program::start(Stdio::piped());
    for _ in 0..REQUESTS {
        program.get("/healthz").unwrap();
    }
    let mut stderr = program.stderr();
    assert!(program.terminate().success());
    let mut log = String::new();
    stderr.read_to_string(&mut log).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("/healthz")).count(), REQUESTS, "{log}");
    assert!(log.lines().any(|line| line.contains("stopping")), "{log}");
}

#[test]
fn log_has_reason_of_failed_start() {
    let data = tempfile::tempdir().unwrap();
    File::create(data.path().join("data")).unwrap();
    let output = command(&data).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("the server cannot start"), "{log}");
}

#[test]
fn log_in_json_is_one_object_per_line() {
    let data = tempfile::tempdir().unwrap();
    File::create(data.path().join("data")).unwrap();
    for json in [true, false] {
        let mut command = command(&data);
        if json {
            command.args(["--log-format", "json"])
        } else {
            command.env("DEMO_LOG_FORMAT", "json")
        };
        let output = command.output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(!log.is_empty());
        for line in log.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
            for field in ["timestamp", "level", "target", "message"] {
                assert!(line[field].is_string(), "{field} in {line}");
            }
        }
    }
}

#[test]
fn log_filter_invalid_is_refused() {
    let data = tempfile::tempdir().unwrap();
    // Keeps the program from serving if it accepts the filter.
    File::create(data.path().join("data")).unwrap();
    for filter in ["demo_app=loud", "info,auth_layer=debug=7", "auth_layer[request{sub=7}]=debug"] {
        let output = command(&data).env("RUST_LOG", filter).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{filter}");
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(printed.starts_with("error: `RUST_LOG`") && printed.contains("info"), "{printed}");
    }
}

#[test]
fn log_filter_empty_is_unset() {
    let mut program = Program::start_with(Stdio::piped(), |command| command.env("RUST_LOG", ""));
    let mut stderr = program.stderr();
    assert!(program.terminate().success());
    let mut log = String::new();
    stderr.read_to_string(&mut log).unwrap();
    assert!(log.contains("listening"), "{log}");
}

#[test]
fn usage_and_help_keep_exit_codes_when_unwritable() {
    let data = tempfile::tempdir().unwrap();
    let wrong = command(&data).arg("--nonsense").stderr(dev_full()).status().unwrap();
    assert_eq!(wrong.code(), Some(2));
    let help = command(&data).arg("--help").stdout(dev_full()).status().unwrap();
    assert_eq!(help.code(), Some(0));
}

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

fn serves_and_ends(mut program: Program) {
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
fn log_whose_reader_has_ended_costs_no_request() {
    let mut program = Program::start(Stdio::piped());
    drop(program.stderr());
    assert!(program.get("/healthz").unwrap().starts_with("HTTP/1.1 200"));
    // The first request's line was lost.
    crate::program::until("the loss is counted", || (dropped(&program) > 0).then_some(()));
    serves_and_ends(program);
}

#[test]
fn log_that_nobody_reads_costs_no_request() {
    let (_reader, writer) = full_pipe();
    serves_and_ends(Program::start(writer));
}

#[test]
fn log_and_standard_output_that_nobody_reads_cost_no_request() {
    let (_reader, writer) = full_pipe();
    serves_and_ends(Program::start_with_both(writer.try_clone().unwrap(), writer));
}

#[test]
fn log_on_a_full_disk_costs_no_request() {
    let program = Program::start(dev_full());
    assert!(program.get("/healthz").unwrap().starts_with("HTTP/1.1 200"));
    crate::program::until("the loss is counted", || (dropped(&program) > 0).then_some(()));
    serves_and_ends(program);
}

#[test]
fn log_and_standard_output_on_a_full_disk_cost_no_request() {
    serves_and_ends(Program::start_with_both(dev_full(), dev_full()));
}

#[test]
fn log_is_whole_when_the_program_has_ended() {
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
fn log_has_the_reason_for_which_the_program_does_not_serve() {
    let data = tempfile::tempdir().unwrap();
    File::create(data.path().join("data")).unwrap();
    let output = command(&data).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("cannot serve"), "{log}");
}

#[test]
fn log_in_json_is_one_object_a_line() {
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
fn log_filter_that_cannot_be_read_is_refused() {
    let data = tempfile::tempdir().unwrap();
    // Keeps the program from serving if it accepts the filter.
    File::create(data.path().join("data")).unwrap();
    for filter in ["demo_app=loud", "info,=", "[["] {
        let output = command(&data).env("RUST_LOG", filter).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{filter}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: `RUST_LOG`") && said.contains("info"), "{said}");
    }
}

#[test]
fn log_filter_that_is_empty_is_an_unset_one() {
    let mut program = Program::start_by(Stdio::piped(), |command| command.env("RUST_LOG", ""));
    let mut stderr = program.stderr();
    assert!(program.terminate().success());
    let mut log = String::new();
    stderr.read_to_string(&mut log).unwrap();
    assert!(log.contains("listening"), "{log}");
}

#[test]
fn usage_and_help_that_cannot_be_written_end_with_their_exit_codes() {
    let data = tempfile::tempdir().unwrap();
    let wrong = command(&data).arg("--nonsense").stderr(dev_full()).status().unwrap();
    assert_eq!(wrong.code(), Some(2));
    let help = command(&data).arg("--help").stdout(dev_full()).status().unwrap();
    assert_eq!(help.code(), Some(0));
}

//! Tests of the shutdown.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};

use super::running::RunningProgram;

#[test]
fn signal_stops_server_and_second_ends_it_at_once() {
    let directory = tempfile::tempdir().unwrap();
    for (twice, code) in [(false, 0), (true, 130)] {
        let mut running = RunningProgram::start_serving(directory.path(), &[], &[]);
        // A request whose body never comes, and which is being read at the shutdown.
        let mut client = TcpStream::connect(running.address()).unwrap();
        let head = "POST /auth/login HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n\
                    content-type: application/json\r\ncontent-length: 9\r\n\r\n";
        client.write_all(head.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&client).read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
        running.signal(Signal::INT);
        running.wait_for("stop");
        if twice {
            running.signal(Signal::INT);
        }
        assert_eq!(running.wait_for_exit().code(), Some(code), "{}", running.output());
    }
}

#[test]
fn signal_sent_twice_ends_stuck_start() {
    let directory = tempfile::tempdir().unwrap();
    // Reading a pipe without a writer blocks for ever.
    std::fs::create_dir(directory.path().join("keys")).unwrap();
    let pipe = directory.path().join("keys/stuck.pem");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut running = RunningProgram::spawn(directory.path(), &["--keys-dir", "keys"], &[]);
    // Opening the other end succeeds once the program reads.
    let writer = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    running.signal(Signal::TERM);
    running.wait_for("the next signal ends the process at once");
    running.signal(Signal::TERM);
    assert_eq!(running.wait_for_exit().code(), Some(143), "{}", running.output());
    drop(writer);
}

//! Tests of the shutdown.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};

use super::running::Running;

#[test]
fn signal_ends_a_server_and_a_second_one_does_so_at_once_while_requests_are_under_way() {
    let directory = tempfile::tempdir().unwrap();
    for (twice, code) in [(false, 0), (true, 130)] {
        let mut running = Running::serving(directory.path(), &[], &[]);
        // A request whose body never comes, and which is being read at the shutdown.
        let mut client = TcpStream::connect(running.address()).unwrap();
        let head = "POST /auth/login HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n\
                    content-type: application/json\r\ncontent-length: 9\r\n\r\n";
        client.write_all(head.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&client).read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
        running.signal(Signal::INT);
        running.until("stop");
        if twice {
            running.signal(Signal::INT);
        }
        assert_eq!(running.ended().code(), Some(code), "{}", running.said());
    }
}

#[test]
fn signal_that_comes_twice_ends_a_start_that_is_stuck() {
    let directory = tempfile::tempdir().unwrap();
    // Reading a pipe without a writer blocks for ever.
    std::fs::create_dir(directory.path().join("keys")).unwrap();
    let pipe = directory.path().join("keys/stuck.pem");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut running = Running::spawn(directory.path(), &["--keys-dir", "keys"], &[]);
    // Opening the other end succeeds once the program reads.
    let writer = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    running.signal(Signal::TERM);
    running.until("the next signal ends the process at once");
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(143), "{}", running.said());
    drop(writer);
}

//! Tests of half-closed connections.

use std::{
    io::{Read, Write},
    net::Shutdown,
    process::Stdio,
};

use crate::program::Program;

const LOGIN: &str = r#"{"username":"nobody","password":"correct horse"}"#;

/// Sends `request`, shuts the writing side and returns the answer.
fn send_half_closed(program: &Program, request: &str) -> String {
    let mut stream = program.connect();
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn half_closed_connection_gets_its_answers() {
    let mut program = Program::start(Stdio::null());
    let get = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let login = format!(
        "POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{LOGIN}",
        LOGIN.len()
    );
    let cases = [
        (get.to_owned(), vec!["HTTP/1.1 200"]),
        // Shorter than the bytes that tell the protocols apart.
        ("GET /x HTTP/1.1\r\n\r\n".to_owned(), vec!["HTTP/1.1 404"]),
        ("GET /healthz HTTP/1.0\r\n\r\n".to_owned(), vec!["HTTP/1.0 200"]),
        // Takes 400 ms, so the client's end arrives before the answer.
        (login.clone(), vec!["HTTP/1.1 401"]),
        (format!("{get}{login}"), vec!["HTTP/1.1 200", "HTTP/1.1 401"]),
    ];
    for (request, expected) in cases {
        let answer = send_half_closed(&program, &request);
        let statuses: Vec<&str> =
            answer.match_indices("HTTP/1.").map(|(start, _)| &answer[start..start + "HTTP/1.1 200".len()]).collect();
        assert_eq!(statuses, expected, "{request}{answer}");
    }
    assert!(program.terminate().success());
}

#[test]
fn half_closed_partial_request_ends_connection() {
    let mut program = Program::start(Stdio::null());
    for request in ["", "GET /healthz HT", "GET /healthz HTTP/1.1\r\nHost: a\r\n"] {
        assert_eq!(send_half_closed(&program, request), "", "{request}");
    }
    let body = "POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{";
    let answer = send_half_closed(&program, body);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(program.terminate().success());
}

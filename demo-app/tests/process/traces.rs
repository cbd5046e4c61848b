//! Traces of requests, as an OpenTelemetry collector gets them.

#[cfg(not(feature = "otel"))]
#[test]
fn traces_are_refused_by_a_program_that_is_built_without_them() {
    let data = tempfile::tempdir().unwrap();
    let mut command = crate::program::command(&data);
    let output =
        command.args(["--listen", "127.0.0.1:0", "--otlp-endpoint", "http://127.0.0.1:4318"]).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{log}");
    assert!(log.contains("`--otlp-endpoint` needs a program") && log.contains("--features otel"), "{log}");
}

#[cfg(feature = "otel")]
mod collected {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::{TcpListener, TcpStream},
        process::Stdio,
        sync::mpsc::{Receiver, channel},
        thread,
        time::Duration,
    };

    use prost::Message;

    use crate::program::Program;

    // The part of OTLP that is looked at: opentelemetry/proto/collector/trace/v1.

    #[derive(Clone, PartialEq, Message)]
    struct ExportTraceServiceRequest {
        #[prost(message, repeated, tag = "1")]
        resource_spans: Vec<ResourceSpans>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct ResourceSpans {
        #[prost(message, optional, tag = "1")]
        resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        scope_spans: Vec<ScopeSpans>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Resource {
        #[prost(message, repeated, tag = "1")]
        attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct ScopeSpans {
        #[prost(message, repeated, tag = "2")]
        spans: Vec<Span>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Span {
        #[prost(bytes = "vec", tag = "1")]
        trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        parent_span_id: Vec<u8>,
        #[prost(string, tag = "5")]
        name: String,
        /// 2 is a server's.
        #[prost(int32, tag = "6")]
        kind: i32,
        #[prost(message, repeated, tag = "9")]
        attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct KeyValue {
        #[prost(string, tag = "1")]
        key: String,
        #[prost(message, optional, tag = "2")]
        value: Option<AnyValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct AnyValue {
        #[prost(oneof = "any_value::Value", tags = "1, 3")]
        value: Option<any_value::Value>,
    }

    mod any_value {
        #[derive(Clone, PartialEq, prost::Oneof)]
        pub(super) enum Value {
            #[prost(string, tag = "1")]
            Text(String),
            #[prost(int64, tag = "3")]
            Number(i64),
        }
    }

    /// Returns an attribute as text; empty if it is not there.
    fn attribute(attributes: &[KeyValue], key: &str) -> String {
        let found = attributes.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_ref()?.value.clone());
        match found {
            Some(any_value::Value::Text(text)) => text,
            Some(any_value::Value::Number(number)) => number.to_string(),
            None => String::new(),
        }
    }

    /// A collector: takes the bodies of `POST /v1/traces`.
    fn collector() -> (String, Receiver<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream.unwrap());
                    while let Some(body) = read_request(&mut stream) {
                        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                        if sender.send(body).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (url, receiver)
    }

    fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_lowercase()),
            }
        }
        assert_eq!(lines[0], "post /v1/traces http/1.1");
        assert!(lines.iter().any(|line| line == "content-type: application/x-protobuf"), "{lines:?}");
        let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        Some(body)
    }

    const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
    const PARENT: u64 = 0xb7ad_6b71_6920_3331;

    /// Sends the head of a request and a body, and returns the answer.
    fn send(program: &Program, head: &str, body: &str) -> String {
        let mut stream = program.connect();
        let length = body.len();
        let more = format!(
            "Host: a\r\nConnection: close\r\nContent-Length: {length}\r\ntraceparent: 00-{TRACE:032x}-{PARENT:016x}-01"
        );
        write!(stream, "{head}\r\n{more}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// What a collector has got.
    struct Collected {
        resource: Vec<KeyValue>,
        spans: Vec<Span>,
        /// Everything, in lower case.
        text: String,
    }

    /// Runs the program with these flags and returns the spans of the requests that `talk` sends.
    /// The last of them come at its end.
    fn collect(flags: &[&str], requests: usize, talk: impl FnOnce(&Program)) -> Collected {
        let (url, bodies) = collector();
        let mut program = Program::start_with(Stdio::null(), |command| {
            command.args(["--otlp-endpoint", &url]).args(flags).env_remove("OTEL_SERVICE_NAME")
        });
        talk(&program);
        assert!(program.terminate().success());
        let (mut resource, mut spans, mut all) = (Vec::new(), Vec::new(), Vec::new());
        while spans.len() < requests {
            let body = bodies.recv_timeout(Duration::from_secs(30)).expect("each request has a span");
            for sent in ExportTraceServiceRequest::decode(&*body).unwrap().resource_spans {
                resource = sent.resource.unwrap().attributes;
                spans.extend(sent.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
            all.extend(body);
        }
        Collected { resource, spans, text: String::from_utf8_lossy(&all).to_lowercase() }
    }

    #[test]
    fn traces_have_a_span_for_each_request_and_no_secret() {
        let requests = [
            "GET /me?access_token=s3cret HTTP/1.1\r\nAuthorization: Bearer s3cret",
            "GET /nowhere/s3cret HTTP/1.1",
            "S3CRET /healthz HTTP/1.1",
        ];
        let Collected { resource, spans, text } = collect(&[], requests.len(), |program| {
            for request in requests {
                send(program, request, "");
            }
        });
        assert_eq!(attribute(&resource, "service.name"), "demo-app");
        let expected = [
            ("GET /me", "GET", "/me", "401"),
            ("GET", "GET", "", "404"),
            ("HTTP /healthz", "_OTHER", "/healthz", "405"),
        ];
        assert_eq!(spans.len(), expected.len());
        for (name, method, route, status) in expected {
            let span = spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:#?}"));
            assert_eq!(span.kind, 2);
            let found = ["http.request.method", "http.route", "http.response.status_code"];
            assert_eq!(found.map(|key| attribute(&span.attributes, key)), [method, route, status], "{name}");
            assert!(!attribute(&span.attributes, "request_id").is_empty());
            // A stranger can neither join a trace nor have one recorded.
            assert_ne!(span.trace_id, TRACE.to_be_bytes());
            assert!(span.parent_span_id.is_empty(), "{span:?}");
        }
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[test]
    fn traces_name_user_and_session_and_hold_no_token() {
        let json = "Content-Type: application/json";
        let user = r#"{"username":"ada","password":"correct horse"}"#;
        let mut answer = serde_json::Value::Null;
        let mut token = String::new();
        let collected = collect(&[], 3, |program| {
            send(program, &format!("POST /auth/register HTTP/1.1\r\n{json}"), user);
            let login = send(program, &format!("POST /auth/login HTTP/1.1\r\n{json}"), user);
            answer = serde_json::from_str(login.split("\r\n\r\n").nth(1).unwrap()).unwrap();
            answer["access_token"].as_str().unwrap().clone_into(&mut token);
            let me = send(program, &format!("GET /me HTTP/1.1\r\nAuthorization: Bearer {token}"), "");
            answer = serde_json::from_str(me.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        });
        let span = collected.spans.iter().find(|span| span.name == "GET /me").unwrap();
        for claim in ["sub", "sid"] {
            assert_eq!(attribute(&span.attributes, claim), answer["claims"][claim].as_str().unwrap(), "{span:#?}");
        }
        for part in token.split('.').chain(["correct horse"]) {
            assert!(!collected.text.contains(&part.to_lowercase()), "{}", collected.text);
        }
    }

    #[test]
    fn traces_of_a_trusted_proxy_go_on() {
        let Collected { spans, .. } = collect(&["--trusted-proxy", "127.0.0.1"], 1, |program| {
            send(program, "GET /healthz HTTP/1.1", "");
        });
        assert_eq!(spans[0].trace_id, TRACE.to_be_bytes());
        assert_eq!(spans[0].parent_span_id, PARENT.to_be_bytes());
    }

    #[test]
    fn traces_whose_collector_is_away_cost_no_request_and_no_line_of_the_log() {
        let mut program = Program::start_with(Stdio::piped(), |command| {
            // Nobody listens on port 1.
            command.args(["--otlp-endpoint", "http://127.0.0.1:1"])
        });
        let mut stderr = program.stderr();
        assert!(program.get("/healthz").unwrap().starts_with("HTTP/1.1 200"));
        assert!(program.terminate().success());
        let mut log = String::new();
        stderr.read_to_string(&mut log).unwrap();
        let line = log.lines().find(|line| line.contains("/healthz")).unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains("request{request_id=") && !line.contains("otel."), "{line}");
        assert!(log.contains("BatchSpanProcessor"), "the log says that no span is taken: {log}");
    }
}

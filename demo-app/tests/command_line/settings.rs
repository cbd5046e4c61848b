//! Tests of settings: refusals, sources and messages.

use std::fs;

use serde_json::{Value, json};

use super::{command, output_text, run, running::RunningProgram};

#[test]
fn settings_invalid_are_refused_with_flag_name() {
    for (flag, value) in [
        ("--access-ttl", "0"),
        ("--access-ttl", "11years"),
        ("--refresh-ttl", "10000years"),
        ("--refresh-ttl", "600000000000000years"),
        ("--refresh-ttl", "5m"),
        ("--issuer", ""),
        ("--issuer", "auth.example"),
        ("--audience", ""),
        ("--password-grant", "yes"),
        ("--dpop", "yes"),
        ("--dpop-nonce", "on"),
        ("--cors-origin", "*"),
        ("--refresh-grace", "10000years"),
        ("--local-cache", "10000years"),
        ("--redis-ttl", "10000years"),
        ("--redis-ttl", "0"),
        ("--key-publish-delay", "10000years"),
        ("--mongodb-uri", ""),
        ("--mongodb-database", "a b"),
        ("--mongodb-database", ""),
        ("--redis-url", ""),
        ("--tls-cert", "server.pem"),
        ("--tls-key", "server.key"),
        ("--trusted-proxy", "0.0.0.0/0"),
        ("--proxy-header", "x-real-ip"),
        ("--data-dir", ""),
        ("--keys-dir", ""),
        ("--embedded-cache", "0"),
        ("--embedded-cache", "18446744073709551615"),
        ("--clients", ""),
        ("--config", ""),
        ("--config", "missing.toml"),
        ("--rate-limit", ""),
        ("--log-format", "xml"),
        ("--max-sessions", "0"),
        ("--max-sessions", ""),
        ("--metrics-listen", "nowhere"),
        ("--metrics-listen", ""),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut refused = RunningProgram::spawn(directory.path(), &["--listen", "127.0.0.1:0", flag, value], &[]);
        refused.wait_for(flag);
        assert!(!refused.wait_for_exit().success(), "{flag} {value:?}: {}", refused.output());
    }
}

#[test]
fn settings_in_empty_variables_are_unset() {
    let directory = tempfile::tempdir().unwrap();
    let names = [
        "DEMO_LISTEN",
        "DEMO_TLS_CERT",
        "DEMO_TLS_KEY",
        "DEMO_TRUSTED_PROXY",
        "DEMO_PROXY_HEADER",
        "DEMO_DATA_DIR",
        "MONGODB_URI",
        "MONGODB_DATABASE",
        "REDIS_URL",
        "DEMO_KEYS_DIR",
        "DEMO_REDIS_TTL",
        "DEMO_ISSUER",
        "DEMO_AUDIENCE",
        "DEMO_KEY_PUBLISH_DELAY",
        "DEMO_CLIENTS",
        "DEMO_ACCESS_TTL",
        "DEMO_REFRESH_TTL",
        "DEMO_REFRESH_GRACE",
        "DEMO_LOCAL_CACHE",
        "DEMO_EMBEDDED_CACHE",
        "DEMO_RATE_LIMIT",
        "DEMO_PASSWORD_GRANT",
        "DEMO_DPOP",
        "DEMO_DPOP_NONCE",
        "DEMO_OTLP_ENDPOINT",
        "DEMO_LOG_FORMAT",
        "DEMO_MAX_SESSIONS",
        "DEMO_METRICS_LISTEN",
        "DEMO_CONFIG",
    ];
    let running = RunningProgram::start_serving(directory.path(), &[], &names.map(|name| (name, "")));
    let line = running.wait_for("issuer=");
    assert!(line.contains("http://127.0.0.1:3000") && line.contains("demo-app"), "{line}");
    assert!(directory.path().join("data/tokens.redb").exists());
    let help = output_text(&run(&["--help"], &[("REDIS_URL", "")]));
    assert!(help.contains("[env: REDIS_URL"), "{help}");
}

#[test]
fn settings_precedence_is_flag_variable_file_default() {
    let directory = tempfile::tempdir().unwrap();
    let file = r#"
        # Names are those of the flags.
        issuer = "https://file.example"
        audience = "of-file"
        local-cache = 0
        rate-limit = "off"
        clients = ["a:s3cret", "b:s3cret"]
        data-dir = "elsewhere"
    "#;
    fs::write(directory.path().join("demo.toml"), file).unwrap();
    let variables =
        [("DEMO_CONFIG", "demo.toml"), ("DEMO_AUDIENCE", "of-variable"), ("DEMO_ISSUER", "https://variable.example")];
    let running = RunningProgram::start_serving(directory.path(), &["--issuer", "https://flag.example"], &variables);
    let line = running.wait_for("issuer=");
    let expected = ["https://flag.example", "of-variable", "lease=\"off\"", "rate_limit=\"off\"", "named_clients=2"];
    for expected in expected {
        assert!(line.contains(expected), "{expected}: {line}");
    }
    assert!(directory.path().join("elsewhere/tokens.redb").exists());
    assert!(!running.output().contains("s3cret"));
}

#[test]
fn settings_file_errors_name_file_and_problem_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("demo.toml");
    let path = path.to_str().unwrap();
    for (text, expected) in [
        ("acces-ttl = \"15m\"", "acces-ttl"),
        ("access_ttl = \"15m\"", "access_ttl"),
        ("config = \"other.toml\"", "config"),
        ("help = \"yes\"", "help"),
        ("[listen]\nport = 1", "listen"),
        ("access-ttl = 1.5", "access-ttl"),
        ("access-ttl = \"0\"", "--access-ttl"),
        ("rate-limit = \"maybe\"", "--rate-limit"),
        ("issuer = \"\"", "--issuer"),
        ("listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]", "--listen"),
        ("\nredis-url = redis://:s3cret@h", "line 2"),
        ("clients = [\"s3cret\"]", "--clients"),
        ("redis-url = [\"redis://:s3cret@h\", 1.5]", "redis-url"),
        ("redis-url = \"redis://:s3cret@h\"", "--mongodb-uri"),
    ] {
        fs::write(path, text).unwrap();
        let output = run(&["--config", path], &[]);
        let printed = output_text(&output);
        assert!(!output.status.success() && printed.contains(expected), "{text}: {printed}");
        // An error that depends on other settings does not name the file.
        assert!(printed.contains("demo.toml") || printed.contains("`--redis-url` needs"), "{text}: {printed}");
        assert!(!printed.contains("s3cret"), "{printed}");
    }
}

#[test]
fn settings_are_logged_in_one_line_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let running = RunningProgram::start_serving(directory.path(), &["--clients", "a:s3cret"], &[]);
    let line = running.wait_for("version=");
    for expected in [
        env!("CARGO_PKG_VERSION"),
        "store=\"embedded, in ./data; no MongoDB is configured\"",
        "redis=\"none\"",
        "lease=\"1s\"",
        "issuer=\"http://127.0.0.1:3000\"",
        "audience=\"demo-app\"",
        "active_key=",
        "waiting_keys=\"none\"",
        "other_keys=\"none\"",
        "rate_limit=\"on\"",
    ] {
        assert!(line.contains(expected), "{expected}: {line}");
    }
    assert!(!running.output().contains("s3cret"));
}

#[test]
fn settings_stray_words_are_located_and_not_repeated() {
    for (arguments, expected) in [
        (&["s3cret"][..], "word 1"),
        (&["--redis-url", "redis://:a@h", "s3cret"], "--redis-url that has spaces"),
        (&["--issuer", "https://a", "-s3cret"], "word 3"),
        (&["s3cret", "s3cret"], "a word"),
        (&["keys", "list", "s3cret"], "word 3"),
        (&["--data-dir", "x", "kys"], "a similar command, `keys`"),
    ] {
        let output = run(arguments, &[]);
        let printed = output_text(&output);
        assert!(!output.status.success() && printed.contains(expected), "{arguments:?}: {printed}");
        assert!(!printed.contains("s3cret") && !printed.contains("[hidden]"), "{printed}");
    }
}

#[test]
fn listen_without_port_or_with_unknown_host_is_refused() {
    for listen in ["", "localhost", "no-such-host.invalid:0"] {
        for (flag, main) in [("--listen", &[][..]), ("--metrics-listen", &["--listen", "127.0.0.1:0"])] {
            let printed = output_text(&run(&[main, &[flag, listen]].concat(), &[]));
            assert!(printed.contains(flag), "{flag}: {printed}");
        }
    }
}

#[test]
fn listen_accepts_host_name() {
    let directory = tempfile::tempdir().unwrap();
    let running = RunningProgram::start_serving(directory.path(), &["--listen", "localhost:0"], &[]);
    let address = running.address();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    std::net::TcpStream::connect(address).unwrap();
}

#[test]
fn data_dir_that_is_a_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("data");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let printed = output_text(&run(&["--data-dir", path.to_str().unwrap()], &[]));
        assert!(printed.contains("--data-dir") && printed.contains("is a file"), "{printed}");
        assert!(printed.contains(path.to_str().unwrap()), "{printed}");
    }
}

#[test]
fn data_dir_in_use_is_refused_with_file_name() {
    let directory = tempfile::tempdir().unwrap();
    let _first = RunningProgram::start_serving(directory.path(), &[], &[]);
    let mut second = RunningProgram::spawn(directory.path(), &["--listen", "127.0.0.1:0"], &[]);
    assert_eq!(second.wait_for_exit().code(), Some(1));
    let line = second.wait_for("in use by another process");
    assert!(line.contains("./data/tokens.redb") && line.contains("--data-dir"), "{line}");
}

#[test]
fn settings_are_shown_with_their_sources_and_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let file = r#"
        access-ttl = "5m"
        clients = ["job:s3cret"]
        mongodb-uri = "mongodb://ada:s3cret@a,b/?replicaSet=rs0"
    "#;
    fs::write(directory.path().join("demo.toml"), file).unwrap();
    let variables = [("DEMO_CONFIG", "demo.toml"), ("REDIS_URL", "redis://:s3cret@h:1,redis://i:2"), ("DEMO_DPOP", "")];
    let show = |arguments: &[&str]| {
        let output = command(directory.path(), arguments, &variables).output().unwrap();
        let text = output_text(&output);
        assert!(output.status.success() && !text.contains("s3cret"), "{text}");
        text
    };
    let shown: Value = serde_json::from_str(&show(&["config", "show", "--json", "--max-sessions", "3"])).unwrap();
    let shown = shown["settings"].as_array().unwrap();
    let setting = |name: &str| shown.iter().find(|setting| setting["name"] == name).unwrap().clone();
    for (name, values, origin, variable) in [
        ("max-sessions", json!(["3"]), "flag", "DEMO_MAX_SESSIONS"),
        ("redis-url", json!(["redis://[hidden]@h:1", "redis://i:2"]), "variable", "REDIS_URL"),
        ("config", json!(["demo.toml"]), "variable", "DEMO_CONFIG"),
        ("access-ttl", json!(["5m"]), "file", "DEMO_ACCESS_TTL"),
        ("clients", json!(["job:[hidden]"]), "file", "DEMO_CLIENTS"),
        ("mongodb-uri", json!(["rs0/a:27017,b:27017"]), "file", "MONGODB_URI"),
        ("dpop", json!(["off"]), "default", "DEMO_DPOP"),
        ("keys-dir", json!([]), "default", "DEMO_KEYS_DIR"),
    ] {
        assert_eq!(
            setting(name),
            json!({ "name": name, "values": values, "origin": origin, "variable": variable }),
            "{name}"
        );
    }
    let table = show(&["config", "show"]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["SETTING", "VALUE", "FROM"]);
    assert_eq!(lines.len(), 1 + shown.len());
    assert!(lines.contains(&vec!["access-ttl", "5m", "file"]), "{table}");
    assert!(lines.contains(&vec!["keys-dir", "(not", "set)", "default"]), "{table}");
}

#[test]
fn settings_that_do_not_work_together_are_shown_too() {
    let output = run(&["config", "show", "--refresh-ttl", "1m"], &[]);
    let text = output_text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("The program would not start: `--refresh-ttl` is shorter"), "{text}");
}

#[test]
fn completions_know_commands_and_flags_of_each_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = output_text(&run(&["completions", shell], &[]));
        for word in ["rotate", "mongodb-uri", "password-grant"] {
            assert!(text.contains(word), "{shell} has no {word}");
        }
    }
}

#[test]
fn openapi_is_printed_for_the_issuer_without_a_store() {
    let output = run(&["openapi", "--issuer", "https://auth.example/tenant"], &[]);
    let description: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(description["servers"][0]["url"], "https://auth.example/tenant");
    let flows = &description["components"]["securitySchemes"]["oauth2"]["flows"];
    assert_eq!(flows["authorizationCode"]["tokenUrl"], "https://auth.example/tenant/oauth/token");
    assert!(description["paths"].get("/auth/login").is_some());
}

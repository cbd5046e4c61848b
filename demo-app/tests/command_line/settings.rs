//! Tests of settings: refusals, sources and messages.

use std::fs;

use super::{run, running::Running, said};

#[test]
fn settings_that_cannot_work_are_refused_with_the_flag_s_name() {
    for (flag, value) in [
        ("--access-ttl", "0"),
        ("--access-ttl", "11years"),
        ("--refresh-ttl", "10000years"),
        ("--refresh-ttl", "600000000000000years"),
        ("--refresh-ttl", "5m"),
        ("--issuer", ""),
        ("--audience", ""),
        ("--refresh-grace", "10000years"),
        ("--local-cache", "10000years"),
        ("--redis-ttl", "10000years"),
        ("--redis-ttl", "0"),
        ("--key-publish-delay", "10000years"),
        ("--mongodb-uri", ""),
        ("--mongodb-database", "a b"),
        ("--mongodb-database", ""),
        ("--redis-url", ""),
        ("--data-dir", ""),
        ("--keys-dir", ""),
        ("--clients", ""),
        ("--config", ""),
        ("--config", "missing.toml"),
        ("--rate-limit", ""),
        ("--log-format", "xml"),
        ("--max-sessions", "0"),
        ("--max-sessions", ""),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut refused = Running::spawn(directory.path(), &["--listen", "127.0.0.1:0", flag, value], &[]);
        refused.until(flag);
        assert!(!refused.ended().success(), "{flag} {value:?}: {}", refused.said());
    }
}

#[test]
fn settings_in_empty_variables_count_as_unset() {
    let directory = tempfile::tempdir().unwrap();
    let names = [
        "DEMO_LISTEN",
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
        "DEMO_RATE_LIMIT",
        "DEMO_LOG_FORMAT",
        "DEMO_MAX_SESSIONS",
        "DEMO_CONFIG",
    ];
    let running = Running::serving(directory.path(), &[], &names.map(|name| (name, "")));
    let line = running.until("issuer=");
    assert!(line.contains("http://127.0.0.1:3000") && line.contains("demo-app"), "{line}");
    assert!(directory.path().join("data/tokens.redb").exists());
    let help = said(&run(&["--help"], &[("REDIS_URL", "")]));
    assert!(help.contains("[env: REDIS_URL"), "{help}");
}

#[test]
fn settings_come_from_the_flag_then_the_variable_then_the_file_then_the_default() {
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
    let running = Running::serving(directory.path(), &["--issuer", "https://flag.example"], &variables);
    let line = running.until("issuer=");
    for expected in ["https://flag.example", "of-variable", "lease=\"off\"", "rate_limit=\"off\""] {
        assert!(line.contains(expected), "{expected}: {line}");
    }
    running.until("count=2");
    assert!(directory.path().join("elsewhere/tokens.redb").exists());
    assert!(!running.said().contains("s3cret"));
}

#[test]
fn settings_file_that_is_wrong_is_named_with_what_is_wrong_in_it_and_no_secret_is_repeated() {
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
        let said = said(&output);
        assert!(!output.status.success() && said.contains(expected), "{text}: {said}");
        // An error that depends on other settings does not name the file.
        assert!(said.contains("demo.toml") || said.contains("--redis-url needs"), "{text}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn settings_are_said_in_one_line_at_the_start_and_a_forgotten_mongodb_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::serving(directory.path(), &["--clients", "a:s3cret"], &[]);
    let line = running.until("version=");
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
    assert!(!running.said().contains("s3cret"));
}

#[test]
fn settings_that_are_stray_words_are_placed_and_not_repeated() {
    for (arguments, expected) in [
        (&["s3cret"][..], "word 1"),
        (&["--redis-url", "redis://:a@h", "s3cret"], "--redis-url that has spaces"),
        (&["--issuer", "a", "-s3cret"], "word 3"),
        (&["s3cret", "s3cret"], "a word"),
    ] {
        let output = run(arguments, &[]);
        let said = said(&output);
        assert!(!output.status.success() && said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains("s3cret") && !said.contains("[hidden]"), "{said}");
    }
}

#[test]
fn listen_without_a_port_or_at_a_host_that_is_none_is_refused() {
    for listen in ["", "localhost", "no-such-host.invalid:0"] {
        let said = said(&run(&["--listen", listen], &[]));
        assert!(said.contains("--listen"), "{said}");
    }
}

#[test]
fn listen_takes_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::serving(directory.path(), &["--listen", "localhost:0"], &[]);
    let address = running.address();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    std::net::TcpStream::connect(address).unwrap();
}

#[test]
fn data_dir_that_is_a_file_is_said_to_be_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("data");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let said = said(&run(&["--data-dir", path.to_str().unwrap()], &[]));
        assert!(said.contains("--data-dir") && said.contains("is a file"), "{said}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
    }
}

#[test]
fn data_dir_that_another_process_serves_from_is_said_with_the_file_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Running::serving(directory.path(), &[], &[]);
    let mut second = Running::spawn(directory.path(), &["--listen", "127.0.0.1:0"], &[]);
    assert_eq!(second.ended().code(), Some(1));
    let line = second.until("in use by another process");
    assert!(line.contains("./data/tokens.redb") && line.contains("--data-dir"), "{line}");
}

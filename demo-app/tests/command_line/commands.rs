//! Tests of the operator's commands, on the embedded store.

use std::{
    io::Write,
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value;

use super::{command, output_text, running::RunningProgram};

/// Runs the program to its end, with this standard input.
fn run_in(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = command(directory, arguments, &[]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that fails early reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs a command that must succeed and returns its JSON.
fn json_of(directory: &Path, arguments: &[&str], input: &str) -> Value {
    let output = run_in(directory, &[arguments, &["--json"]].concat(), input);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", output_text(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output_text(&output)))
}

/// Runs a command that must fail and returns its error, one line.
fn error_of(directory: &Path, arguments: &[&str], input: &str) -> String {
    let output = run_in(directory, arguments, input);
    let printed = output_text(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {printed}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {printed}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: ") && error.lines().count() == 1, "{arguments:?}: {printed}");
    error
}

const PASSWORD: &str = "correct horse\n";

#[test]
fn audit_events_of_commands_are_on_standard_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut secret = String::new();
    for (words, input, event) in [
        (&["users", "create", "ada"][..], PASSWORD, "user_created"),
        (&["users", "role", "ada", "admin"], "", "user_role"),
        (&["users", "password", "ada"], "battery staple\n", "user_password"),
        (&["users", "disable", "ada"], "", "user_disabled"),
        (&["users", "enable", "ada"], "", "user_enabled"),
        (&["users", "revoke", "ada"], "", "user_revoked"),
        (&["clients", "create", "job", "--json"], "", "client_created"),
        (&["clients", "delete", "job"], "", "client_deleted"),
        (&["keys", "rotate"], "", "key_change"),
    ] {
        let output = run_in(directory.path(), words, input);
        assert!(output.status.success(), "{words:?}: {}", output_text(&output));
        let log = String::from_utf8(output.stderr).unwrap();
        let events: Vec<&str> = log.lines().filter(|line| line.contains(" audit: ")).collect();
        assert_eq!(events.len(), 1, "{words:?}: {log}");
        assert!(events[0].contains(&format!(r#"event="{event}" outcome="granted""#)), "{words:?}: {log}");
        if event == "client_created" {
            let client: Value = serde_json::from_slice(&output.stdout).unwrap();
            client["client_secret"].as_str().unwrap().clone_into(&mut secret);
            assert!(!log.contains(&secret), "{log}");
        }
        assert!(!log.contains("correct horse") && !log.contains("battery staple"), "{log}");
        assert!(words[0] != "users" || events[0].contains(r#"username="ada""#), "{words:?}: {log}");
    }
    assert!(!secret.is_empty());
}

#[test]
fn commands_have_help_and_wrong_usage_exits_with_2() {
    let directory = tempfile::tempdir().unwrap();
    for noun in ["keys", "users", "clients", "tokens"] {
        let help = run_in(directory.path(), &[noun, "--help"], "");
        let printed = output_text(&help);
        assert!(help.status.success() && printed.contains("Commands:") && printed.contains("--json"), "{printed}");
        for words in [&[noun][..], &[noun, "nothing"], &[noun, "list", "--nothing"]] {
            let output = run_in(directory.path(), words, "");
            assert_eq!(output.status.code(), Some(2), "{words:?}: {}", output_text(&output));
        }
    }
    assert_eq!(run_in(directory.path(), &["users", "role", "ada", "chief"], "").status.code(), Some(2));
    let uri = "javascript:alert(1)";
    assert_eq!(run_in(directory.path(), &["clients", "create", "a", "--redirect-uri", uri], "").status.code(), Some(2));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is made");
}

#[test]
fn commands_take_settings_as_the_server_does() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("demo.toml"), "keys-dir = \"of-file\"\ndata-dir = \"elsewhere\"\n").unwrap();
    for (words, variables, expected) in [
        (&["keys", "generate", "--config", "demo.toml"][..], &[][..], "of-file"),
        (&["--config", "demo.toml", "keys", "generate"], &[("DEMO_KEYS_DIR", "of-variable")], "of-variable"),
        (&["keys", "generate", "--keys-dir", "of-flag"], &[("DEMO_KEYS_DIR", "of-variable")], "of-flag"),
        (&["keys", "--data-dir", "data", "generate"], &[], "data/keys"),
    ] {
        let output = command(directory.path(), words, variables).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", output_text(&output));
        assert!(directory.path().join(expected).join("keys.json").exists(), "{words:?}");
    }
    let error = error_of(directory.path(), &["keys", "list", "--refresh-ttl", "5m"], "");
    assert!(error.contains("--refresh-ttl"), "{error}");
}

#[test]
fn commands_on_nothing_say_so_and_make_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for words in [
        &["users", "list"][..],
        &["users", "disable", "ada"],
        &["users", "password", "ada"],
        &["clients", "list"],
        &["clients", "delete", "job"],
        &["tokens", "list", "ada"],
        &["tokens", "show", "0190a000-0000-7000-8000-000000000001"],
        &["tokens", "purge"],
        &["keys", "list"],
        &["keys", "rotate"],
        &["keys", "retire", "x"],
    ] {
        let error = error_of(directory.path(), words, PASSWORD);
        assert!(error.contains("-dir ./data"), "{words:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is made");
}

#[test]
fn commands_beside_a_running_node_are_refused_and_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    json_of(directory.path(), &["users", "create", "ada"], PASSWORD);
    json_of(directory.path(), &["clients", "create", "job"], "");
    let running = RunningProgram::start_serving(directory.path(), &[], &[]);
    for words in [
        &["users", "create", "bob"][..],
        &["users", "list"],
        &["users", "disable", "ada"],
        &["clients", "create", "other"],
        &["clients", "delete", "job"],
        &["tokens", "purge"],
    ] {
        let error = error_of(directory.path(), words, PASSWORD);
        assert!(error.contains("./data/tokens.redb is in use by another process"), "{words:?}: {error}");
    }
    json_of(directory.path(), &["keys", "list"], "");
    drop(running);
    let users = json_of(directory.path(), &["users", "list"], "");
    assert_eq!((users.as_array().unwrap().len(), &users[0]["disabled"]), (1, &Value::Bool(false)));
    assert_eq!(json_of(directory.path(), &["clients", "list"], "").as_array().unwrap().len(), 2);
}

#[test]
fn users_created_before_the_first_start_can_sign_in() {
    let directory = tempfile::tempdir().unwrap();
    let created = json_of(directory.path(), &["users", "create", "Root", "--role", "admin"], PASSWORD);
    assert_eq!((&created["username"], &created["role"]), (&"Root".into(), &"admin".into()));
    assert_eq!(json_of(directory.path(), &["keys", "list"], "")[0]["state"], "signing", "the first key is made");
    let running = RunningProgram::start_serving(directory.path(), &[], &[]);
    running.wait_for("active_key=");
}

#[test]
fn users_rules_are_those_of_registration() {
    let directory = tempfile::tempdir().unwrap();
    for (name, password, expected) in [
        ("a b", PASSWORD, "the username must be 3 to 64"),
        ("ada", "short\n", "the password must be 8 to 256"),
        ("ada", "", "the password must be 8 to 256"),
        ("ada", "password1\n", "the password is too common"),
        ("ada", "correct\nhorse\n", "one line"),
    ] {
        let error = error_of(directory.path(), &["users", "create", name], password);
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is made");
    json_of(directory.path(), &["users", "create", "Ada"], PASSWORD);
    let error = error_of(directory.path(), &["users", "create", "aDA"], PASSWORD);
    assert!(error.contains("`aDA` is taken"), "{error}");
}

#[test]
fn users_are_changed_by_name_and_listed_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for name in ["zoe", "Bob", "ada"] {
        json_of(path, &["users", "create", name], PASSWORD);
    }
    let listed = |member: &str| -> Vec<Value> {
        let users = json_of(path, &["users", "list"], "");
        users.as_array().unwrap().iter().map(|user| user[member].clone()).collect()
    };
    assert_eq!(listed("username"), ["ada", "Bob", "zoe"]);
    assert_eq!(json_of(path, &["users", "disable", "BOB"], "")["disabled"], true);
    assert_eq!(listed("disabled"), [false, true, false]);
    assert_eq!(json_of(path, &["users", "enable", "bob"], "")["disabled"], false);
    assert_eq!(json_of(path, &["users", "role", "bob", "admin"], "")["role"], "admin");
    assert_eq!(listed("role"), ["user", "admin", "user"]);
    assert_eq!(json_of(path, &["users", "role", "bob", "user"], "")["role"], "user");
    json_of(path, &["users", "password", "bob"], "battery staple\n");
    json_of(path, &["users", "revoke", "bob"], "");
    let table = run_in(path, &["users", "list"], "");
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("USERNAME  USER ID") && table.lines().count() == 4, "{table}");
    for words in [&["users", "disable", "eve"][..], &["users", "role", "eve", "admin"], &["tokens", "list", "eve"]] {
        let error = error_of(path, words, "");
        assert!(error.contains("no user `eve`"), "{error}");
    }
}

#[test]
fn clients_are_created_listed_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let uri = "https://job.example/cb";
    let created = json_of(path, &["clients", "create", "job", "--redirect-uri", uri, "--scope", "profile orders"], "");
    let secret = created["client_secret"].as_str().unwrap();
    assert_eq!((&created["client_id"], secret.len()), (&"job".into(), 43), "256 bits");
    let public = json_of(path, &["clients", "create", "spa", "--public"], "");
    assert!(public.get("client_secret").is_none(), "{public}");
    let listed = run_in(path, &["clients", "list", "--clients", "flag:s3cret"], "");
    let listed = String::from_utf8(listed.stdout).unwrap();
    for expected in ["demo-app   public", "flag       confidential", "job        confidential", uri, "profile orders"] {
        assert!(listed.contains(expected), "{expected}: {listed}");
    }
    assert!(!listed.contains(secret) && !listed.contains("s3cret"), "{listed}");
    let stored = std::fs::read(path.join("data/users.redb")).unwrap();
    assert!(!stored.windows(secret.len()).any(|window| window == secret.as_bytes()), "only its hash is stored");

    for (words, expected) in [
        (&["clients", "create", "job"][..], "`job` is taken"),
        (&["clients", "create", "demo-app"], "`demo-app` is taken"),
        (&["clients", "create", "flag", "--clients", "flag:s3cret"], "`flag` is taken"),
        (&["clients", "create", "caf\u{e9}"], "printable ASCII"),
        (&["clients", "create", "0190a000-0000-7000-8000-000000000001"], "must not be a UUID"),
        (&["clients", "delete", "demo-app"], "built in"),
        (&["clients", "delete", "flag", "--clients", "flag:s3cret"], "`--clients`"),
        (&["clients", "delete", "nobody"], "no client `nobody`"),
    ] {
        let error = error_of(path, words, "");
        assert!(error.contains(expected), "{words:?}: {error}");
    }
    assert_eq!(json_of(path, &["clients", "delete", "job"], "")["sessions_ended"], 0);
    let error = error_of(path, &["clients", "delete", "job"], "");
    assert!(error.contains("no client `job`"), "{error}");
}

#[test]
fn keys_commands_work_on_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let first = json_of(path, &["keys", "generate", "--algorithm", "es256"], "");
    assert_eq!((&first["state"], &first["algorithm"]), (&"signing".into(), &"ES256".into()));
    let kid = first["kid"].as_str().unwrap();
    let error = error_of(path, &["keys", "retire", kid, "--now"], "");
    assert!(error.contains("no other key can sign"), "{error}");
    let rotation = json_of(path, &["keys", "rotate"], "");
    assert_eq!((&rotation["new"]["state"], &rotation["new"]["algorithm"]), (&"waiting".into(), &"ES256".into()));
    assert_eq!((&rotation["old"]["kid"], &rotation["old"]["state"]), (&kid.into(), &"signing".into()));
    assert!(rotation["old"]["retired_at"].is_string(), "{rotation}");
    let error = error_of(path, &["keys", "rotate"], "");
    assert!(error.contains("a rotation is under way"), "{error}");
    let table = String::from_utf8(run_in(path, &["keys", "list"], "").stdout).unwrap();
    assert!(table.starts_with("KID") && table.contains("waiting") && table.contains("signing"), "{table}");
    assert_eq!(json_of(path, &["keys", "retire", kid, "--now"], "")["state"], "retired");
    let error = error_of(path, &["keys", "retire", "nobody"], "");
    assert!(error.contains("has no key nobody"), "{error}");

    // A file that is missing is an error, and the list is printed all the same.
    std::fs::remove_file(path.join("data/keys").join(rotation["new"]["file"].as_str().unwrap())).unwrap();
    let output = run_in(path, &["keys", "list", "--json"], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap().as_array().unwrap().len(), 2);
    assert!(String::from_utf8(output.stderr).unwrap().contains("restore the files"));
}

/// Runs `doctor` and returns whether it found no failure, and its findings as "check outcome text".
fn doctor(directory: &Path, arguments: &[&str]) -> (bool, Vec<String>) {
    let output = run_in(directory, &[&["doctor", "--json"], arguments].concat(), "");
    let findings: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output_text(&output)));
    let line = |finding: &Value| ["check", "outcome", "text"].map(|name| finding[name].as_str().unwrap()).join(" ");
    (output.status.success(), findings["findings"].as_array().unwrap().iter().map(line).collect())
}

#[test]
fn doctor_finds_a_new_directory_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (healthy, findings) = doctor(directory.path(), &[]);
    assert!(healthy, "{findings:#?}");
    let expected =
        ["settings ok", "keys warning there is no key yet", "data directory warning ./data holds no database"];
    assert_eq!(findings.len(), expected.len(), "{findings:#?}");
    for (finding, expected) in findings.iter().zip(expected) {
        assert!(finding.starts_with(expected), "{finding}");
    }
    assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none(), "something was created");
}

#[test]
fn doctor_finds_a_used_directory_healthy_beside_a_server_too() {
    let directory = tempfile::tempdir().unwrap();
    let running = RunningProgram::start_serving(directory.path(), &[], &[]);
    let expect = |data: &str| {
        let (healthy, findings) = doctor(directory.path(), &[]);
        assert!(healthy && findings.iter().all(|finding| finding.contains(" ok ")), "{findings:#?}");
        assert!(findings.iter().any(|finding| finding.contains(data)), "{findings:#?}");
    };
    expect("is in use by a running server");
    drop(running);
    expect("can be opened and written");
    let output = run_in(directory.path(), &["doctor"], "");
    assert!(output_text(&output).starts_with("CHECK"), "{}", output_text(&output));
}

#[cfg(unix)]
#[test]
fn doctor_fails_where_a_node_would_not_start_or_keep_its_promises() {
    use std::{fs, os::unix::fs::PermissionsExt};

    let directory = tempfile::tempdir().unwrap();
    let _ = json_of(directory.path(), &["users", "create", "ada"], PASSWORD);
    let data = directory.path().join("data");
    let key = data.join("keys/first.pem");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let expect = |arguments: &[&str], text: &str| {
        let (healthy, findings) = doctor(directory.path(), arguments);
        assert!(!healthy, "{findings:#?}");
        let failures: Vec<&String> = findings.iter().filter(|finding| finding.contains(" failure ")).collect();
        assert!(failures.len() == 1 && failures[0].contains(text), "{findings:#?}");
    };
    expect(&["--refresh-ttl", "1m"], "`--refresh-ttl` is shorter");
    mode(&key, 0o644);
    expect(&[], "run `chmod 600`");
    mode(&key, 0o600);
    mode(&data.join("keys"), 0o777);
    expect(&[], "run `chmod 700`");
    mode(&data.join("keys"), 0o700);
    fs::write(data.join("keys/other.pem"), "no key").unwrap();
    mode(&data.join("keys/other.pem"), 0o600);
    expect(&[], "`other.pem`");
    fs::remove_file(data.join("keys/other.pem")).unwrap();
    fs::rename(data.join("keys"), data.join("away")).unwrap();
    expect(&[], "a new key would sign everybody out");
    fs::rename(data.join("away"), data.join("keys")).unwrap();
    fs::rename(data.join("users.redb"), data.join("away")).unwrap();
    expect(&[], "lacks `users.redb`");
    fs::rename(data.join("away"), data.join("users.redb")).unwrap();
    assert!(doctor(directory.path(), &[]).0);

    let output = run_in(directory.path(), &["doctor", "--refresh-ttl", "1m"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(output_text(&output).contains("error: checks that failed: 1"), "{}", output_text(&output));
}

const ARGON2: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA";
const BCRYPT: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

#[test]
fn users_are_imported_with_a_report_of_what_is_refused_and_why() {
    let directory = tempfile::tempdir().unwrap();
    let id = "018f2a3e-7b1c-7def-8abc-0123456789ab";
    let csv = format!(
        "username, password_hash, role, user_id, note\n\
         ada,\"{ARGON2}\", admin, {id}, kept\n\
         bob, {BCRYPT},,,\n\
         ada, {BCRYPT},,,\n\
         x, {BCRYPT},,,\n\
         eve, 5f4dcc3b5aa765d61d8327deb882cf99,,,\n\
         mallory, {BCRYPT}, root,,\n\
         trent, {BCRYPT}\n\
         victor, {BCRYPT},, {id},\n"
    );
    std::fs::write(directory.path().join("users.csv"), csv).unwrap();
    let import = |file: &str| {
        let output = run_in(directory.path(), &["users", "import", file, "--json"], "");
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output_text(&output)));
        (output.status.code(), report)
    };
    for (imported, unchanged) in [(2, 0), (0, 2)] {
        let (code, report) = import("users.csv");
        assert_eq!(code, Some(1));
        assert_eq!((&report["imported"], &report["unchanged"]), (&imported.into(), &unchanged.into()), "{report:#}");
        let refused: Vec<(u64, &str)> = report["refused"]
            .as_array()
            .unwrap()
            .iter()
            .map(|refused| (refused["line"].as_u64().unwrap(), refused["reason"].as_str().unwrap()))
            .collect();
        let expected = [
            (4, "the username is taken"),
            (5, "the username must be 3 to 64"),
            (6, "the password's hash is not an argon2 or bcrypt hash"),
            (7, "unknown variant `root`"),
            (8, "it has 2 fields"),
            (9, "the user id is taken"),
        ];
        assert_eq!(refused.len(), expected.len(), "{report:#}");
        for (refused, expected) in refused.iter().zip(expected) {
            assert!(refused.0 == expected.0 && refused.1.starts_with(expected.1), "{refused:?}");
        }
    }
    let users = json_of(directory.path(), &["users", "list"], "");
    let names: Vec<&str> = users.as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap()).collect();
    assert_eq!(names, ["ada", "bob"]);
    assert_eq!((&users[0]["user_id"], &users[0]["role"]), (&id.into(), &"admin".into()));

    let lines = format!(
        "{{\"username\":\"carol\",\"password_hash\":\"{BCRYPT}\",\"extra\":1}}\n\n{{\"username\":\"dan\"}}\nnot JSON\n"
    );
    std::fs::write(directory.path().join("users.jsonl"), &lines).unwrap();
    let (code, report) = import("users.jsonl");
    assert_eq!((code, &report["imported"]), (Some(1), &1.into()));
    assert_eq!(report["refused"][0]["reason"], "missing field `password_hash`");
    assert_eq!(report["refused"][1]["line"], 4);
    let output =
        run_in(directory.path(), &["users", "import", "-", "--format", "jsonl"], lines.lines().next().unwrap());
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    assert!(output_text(&output).contains("imported 0, already there 1"), "{}", output_text(&output));

    assert!(error_of(directory.path(), &["users", "import", "-"], "").contains("add `--format csv`"));
    assert!(error_of(directory.path(), &["users", "import", "none.csv"], "").contains("`none.csv` cannot be read"));
}

//! The commands of the README and the guide run as they are written, and print what is written
//! below them.
//!
//! The blocks of a page are one bash script, in a directory of its own beside a node on MongoDB and
//! Redis. A comment directly below a command is its output; `…` stands for anything. Four things
//! differ from a reader's terminal:
//!
//! - curl finds port 3000 of the page at the port of the node (`~/.curlrc`).
//! - `demo-app` and `cargo run -p demo-app --` run the program of these tests, with its password on
//!   standard input. Where it would serve, it only reads its settings: the node serves already.
//! - Placeholders are filled in: [`PAGES`] names them.
//! - A few blocks are not run: [`NOT_RUN`] says why.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use auth_layer::{
    Authority,
    keys::{Keyring, SigningKey},
    store::MemoryStore,
};
use futures_util::future::join_all;
use tests::{command::run_script, servers};
use tokio::net::TcpListener;

use super::{
    first_service,
    markdown::{Block, Page},
    tried_pages,
};
use crate::fleet::{NODE, node};

/// Blocks that are not run: the page, the first line, and the reason.
const NOT_RUN: [(&str, &str, &str); 3] = [
    (
        "README.md",
        "cargo run --release -p demo-app     # serves on http://127.0.0.1:3000; nothing else is needed",
        "the first line serves, and the second one is this run of the tests",
    ),
    (
        "README.md",
        "mkdir -p data/mongo",
        "it starts servers on their usual ports; the tests start the same servers on free ones",
    ),
    (
        "README.md",
        "grpcurl -plaintext 127.0.0.1:3000 describe demo.v1.Identity",
        "grpcurl is not a program of the tests; `grpc_reflection_*` and others make these calls",
    ),
];

/// How the commands of a page are run.
struct Commands {
    page: &'static str,
    /// The arguments of the node, which the page names.
    args: &'static [&'static str],
    /// Placeholders, and what they are replaced by.
    filled: &'static [(&'static str, &'static str)],
}

const PAGES: [Commands; 7] = [
    Commands {
        page: "README.md",
        args: &[],
        filled: &[
            ("keys retire KID", "keys retire \"$(first_key)\""),
            ("tokens show ID", "tokens show \"$(session)\""),
            ("tokens revoke ID", "tokens revoke \"$(session)\""),
            ("CODE=…", "CODE=$(code)"),
        ],
    },
    Commands { page: "docs/guide/src/cookies.md", args: &[], filled: &[] },
    Commands { page: "docs/guide/src/first-service.md", args: &[], filled: &[] },
    Commands { page: "docs/guide/src/keys.md", args: &[], filled: &[("KID=…", "KID=$(first_key)")] },
    Commands {
        page: "docs/guide/src/migrating/fastapi.md",
        args: &["--password-grant", "on", "--clients", "items:0123456789abcdef0123456789abcdef"],
        filled: &[("cdef &\n", "cdef\n"), ("\"HASH\"", HASH)],
    },
    Commands { page: "docs/guide/src/single-use.md", args: &[], filled: &[] },
    Commands { page: "docs/guide/src/upgrading.md", args: &[], filled: &[] },
];

/// A hash of a password, in quotes.
const HASH: &str = "\"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$IxpgYoOPtpJIPqQ4pJYGhA\"";

/// The time that the commands of a page may take.
const LIMIT: Duration = Duration::from_mins(5);

/// What the script of each page begins with.
const PRELUDE: &str = r#"
set -euo pipefail
cd "$PLACE"
mkdir -p data
printf 'username,password_hash\nimported,%s\n' "$HASH" >users.csv
exec >"$PLACE/output"

# Prints the id of the first key.
first_key() {
    demo-app keys list --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[0]["kid"])'
}

# Signs in and prints the id of the session.
session() {
    curl -s -o /dev/null $BASE/auth/login -H "$JSON" -d '{"username":"ada","password":"correct horse"}'
    demo-app tokens list ada --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[0]["session_id"])'
}

# Signs in on the page of the last URL that was printed, and prints the code.
code() {
    local url page field
    url=$(grep -o 'http://[^ ]*/oauth/authorize?[^ ]*' "$PLACE/output" | tail -n 1)
    page=$(curl -s -c cookies "$url")
    field=$(sed -n 's/.*name="csrf_token" value="\([^"]*\)".*/\1/p' <<<"$page")
    curl -s -o /dev/null -w '%{redirect_url}' -b cookies -d username=ada --data-urlencode 'password=correct horse' \
        --data-urlencode "csrf_token=$field" "$url" | sed 's/.*[?&]code=\([^&]*\).*/\1/'
}
"#;

/// Runs a command of the demo, or reads the settings of a node.
const DEMO_APP: &str = r#"#!/usr/bin/env bash
set -euo pipefail
case "${1:---serve}" in
-*) "$DEMO_NODE" "$@" config show 2>&1 >/dev/null | { ! grep 'would not start' >&2; } ;;
*) "$DEMO_NODE" "$@" <<<'correct horse' ;;
esac
"#;

/// Runs `demo-app` with what follows `--`.
const CARGO: &str = r#"#!/usr/bin/env bash
[[ "$*" == 'run --release -p demo-app -- '* ]] || exit 64
shift 5
exec demo-app "$@"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn docs_commands_run_and_print_what_is_written() {
    let pages = tried_pages();
    let mut not_run = NOT_RUN.to_vec();
    let mut scripts = Vec::new();
    for page in &pages {
        let mut blocks: Vec<&Block> = page.blocks.iter().filter(|block| block.language() == "sh").collect();
        blocks.retain(|block| {
            let listed = not_run.iter().position(|(name, line, _)| *name == page.name && *line == block.first_line());
            listed.map(|listed| not_run.remove(listed)).is_none()
        });
        if !blocks.is_empty() {
            let commands = PAGES.iter().find(|commands| commands.page == page.name);
            scripts.push((page, blocks, commands.unwrap_or_else(|| panic!("PAGES lacks {}", page.name))));
        }
    }
    assert!(not_run.is_empty(), "these blocks are in no page: {not_run:?}");
    assert_eq!(scripts.len(), PAGES.len(), "each page of PAGES has commands");
    let faults = join_all(scripts.iter().map(async |(page, blocks, commands)| run(page, blocks, commands).await)).await;
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Runs the commands of a page. Returns what is wrong.
async fn run(page: &Page, blocks: &[&Block], commands: &Commands) -> Option<String> {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path();
    let mut script = PRELUDE.to_owned();
    for (number, block) in blocks.iter().enumerate() {
        let mut text = block.text.clone();
        for (placeholder, value) in commands.filled {
            text = text.replace(placeholder, value);
        }
        script.extend(["\nprintf '\\n", &mark(number), "\\n'\n", &text]);
    }
    for (placeholder, _) in commands.filled {
        assert!(blocks.iter().any(|block| block.text.contains(placeholder)), "{}: no {placeholder}", page.name);
    }
    for arg in commands.args {
        assert!(blocks.iter().any(|block| block.text.contains(arg)), "{}: no {arg}", page.name);
    }

    let (database, redis) = (servers::mongodb().await, servers::redis().await);
    let data = directory.join("data");
    let env = [("MONGODB_URI", &*database.uri), ("MONGODB_DATABASE", &*database.name), ("REDIS_URL", &*redis.url)];
    let data_dir = ["--data-dir", data.to_str().unwrap()];
    let node = node(&[&data_dir, commands.args].concat(), &env).await;
    let first_service = serve_first_service().await;
    let curlrc = format!(
        "noproxy = \"*\"\nmax-time = 30\nconnect-to = \"127.0.0.1:3000:{}\"\nconnect-to = \"127.0.0.1:8080:{first_service}\"\n",
        node.url().trim_start_matches("http://"),
    );
    fs::write(directory.join(".curlrc"), curlrc).unwrap();
    for (name, text) in [("demo-app", DEMO_APP), ("cargo", CARGO)] {
        let program = directory.join(name);
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let home = directory.to_str().unwrap();
    let own = [
        ("PATH", path.as_str()),
        ("HOME", home),
        ("PLACE", home),
        ("DEMO_NODE", NODE),
        ("HASH", HASH),
        ("NODE_PASSWORDS", "cheap"),
    ];
    let output = run_script(&script, directory, &[&env[..], &own].concat(), LIMIT).await;
    let printed = fs::read_to_string(directory.join("output")).unwrap_or_default();
    if output.code != Some(0) {
        return Some(format!("{}: {output}\nit printed:\n{printed}", page.name));
    }
    blocks.iter().enumerate().find_map(|(number, block)| {
        let of_block = printed.split(&mark(number)).nth(1)?.split("== block").next()?;
        let missing = missing_output(&block.text, of_block)?;
        Some(format!("{}:{}: `{missing}` is not printed, but:\n{of_block}", page.name, block.line))
    })
}

/// What a script prints before the block of this number.
fn mark(number: usize) -> String {
    format!("== block {number} ==")
}

/// Serves the example of the page "A first service in five minutes" on a free port, until the
/// runtime ends. Returns its address.
async fn serve_first_service() -> String {
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let authority = Authority::builder("http://127.0.0.1:8080", MemoryStore::new()).audience("my-api").keys(keys);
    let app = first_service::app(authority.build().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Returns the first written output that was not printed after the outputs before it.
fn missing_output<'a>(block: &'a str, printed: &str) -> Option<&'a str> {
    let mut rest = printed;
    let mut is_below_command = false;
    for line in block.lines() {
        let Some(output) = line.strip_prefix("# ") else {
            is_below_command = !line.is_empty();
            continue;
        };
        if !is_below_command {
            continue;
        }
        for part in output.split('…').filter(|part| !part.is_empty()) {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return Some(output),
            }
        }
    }
    None
}

#[test]
fn docs_written_output_is_compared() {
    let block = "# prose\ncurl a\n# {\"id\":\"…\",\"b\":1}\n# 204\n\n# prose\ncurl b   # prose\n# x: y\n";
    assert_eq!(missing_output(block, "{\"id\":\"7\",\"b\":1}204\r\nx: y\r\n"), None);
    assert_eq!(missing_output(block, "204 {\"id\":\"7\",\"b\":1} x: y"), Some("204"));
    assert_eq!(missing_output(block, "{\"id\":\"7\"}204 x: y"), Some("{\"id\":\"…\",\"b\":1}"));
}

//! `docs/rfc/*.toml` has a test or a reason for each rule of an RFC, and `docs/attacks.md` a test
//! for each attack. One test compares both with the sources.

use std::{
    collections::BTreeSet,
    env,
    fmt::{self, Write},
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// What precedes the tables in `docs/rfc.md`.
const INTRODUCTION: &str = "\
# Rules of the RFCs

One row for each rule that applies to the service as authorization server, as resource server or as
issuer of JWTs, in our words. Its last cell names the test that proves it, or says why there is
none. The level `text` marks a rule that its RFC states without a keyword, in prose or grammar.

`rfc_tables_are_complete` renders this page from `docs/rfc/*.toml` and compares it. After a change
there, `BLESS=1 cargo test -p tests --test it rfc_` writes it anew.
";

/// The rules of one RFC: a file in `docs/rfc`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    title: String,
    /// Which rules have no row.
    left_out: String,
    #[serde(rename = "rule")]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// A number such as `4.1.3`, or the letter of an appendix.
    section: String,
    level: Level,
    gist: String,
    /// The name of the test that proves the rule.
    test: Option<String>,
    /// Why no test proves the rule.
    exception: Option<String>,
}

/// The keywords of RFC 2119 and RFC 8174.
#[derive(Deserialize)]
enum Level {
    #[serde(rename = "MUST")]
    Must,
    #[serde(rename = "MUST NOT")]
    MustNot,
    #[serde(rename = "REQUIRED")]
    Required,
    #[serde(rename = "SHOULD")]
    Should,
    #[serde(rename = "SHOULD NOT")]
    ShouldNot,
    #[serde(rename = "RECOMMENDED")]
    Recommended,
    #[serde(rename = "NOT RECOMMENDED")]
    NotRecommended,
    /// The RFC states the rule without a keyword.
    #[serde(rename = "text")]
    Text,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::MustNot => "MUST NOT",
            Self::Required => "REQUIRED",
            Self::Should => "SHOULD",
            Self::ShouldNot => "SHOULD NOT",
            Self::Recommended => "RECOMMENDED",
            Self::NotRecommended => "NOT RECOMMENDED",
            Self::Text => "text",
        })
    }
}

#[test]
fn rfc_tables_are_complete() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut faults = Vec::new();
    let tables = read_tables(&root.join("docs/rfc"), &mut faults);
    let tests = test_names(root);
    check_rules(&tables, &tests, &mut faults);
    check_comments(root, &tables, &mut faults);
    check_attacks(&fs::read_to_string(root.join("docs/attacks.md")).unwrap(), &tests, &mut faults);

    let page = root.join("docs/rfc.md");
    let rendered = render(&tables);
    if env::var_os("BLESS").is_some_and(|bless| bless == "1") {
        fs::write(&page, &rendered).unwrap();
    }
    if fs::read_to_string(&page).unwrap_or_default() != rendered {
        faults.push("docs/rfc.md is not the rendering of docs/rfc: run this test with BLESS=1".to_owned());
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Reads the tables, each with the number of its RFC. A file that cannot be read is a fault.
fn read_tables(directory: &Path, faults: &mut Vec<String>) -> Vec<(u32, Table)> {
    let mut tables = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(number) = name.strip_suffix(".toml").and_then(|number| number.parse().ok()) else {
            faults.push(format!("docs/rfc/{name}: name the file <number of the RFC>.toml"));
            continue;
        };
        match toml::from_str(&fs::read_to_string(directory.join(&name)).unwrap()) {
            Ok(table) => tables.push((number, table)),
            Err(error) => faults.push(format!("docs/rfc/{name}: {error}")),
        }
    }
    tables.sort_by_key(|(number, _)| *number);
    tables
}

fn check_rules(tables: &[(u32, Table)], tests: &BTreeSet<String>, faults: &mut Vec<String>) {
    for (number, table) in tables {
        for rule in &table.rules {
            let fault = match (&rule.test, &rule.exception) {
                (Some(_), Some(_)) => "has a test and an exception".to_owned(),
                (None, None) => "has neither test nor exception".to_owned(),
                (Some(name), None) if !tests.contains(name) => format!("there is no test `{name}`"),
                _ if !is_section(&rule.section) => "a section is a number or a letter".to_owned(),
                _ => continue,
            };
            faults.push(format!("docs/rfc/{number}.toml, §{}, {:?}: {fault}", rule.section, rule.gist));
        }
    }
}

/// Finds comments of the form `//= RFC 9449 §4.3` whose section has no row.
fn check_comments(root: &Path, tables: &[(u32, Table)], faults: &mut Vec<String>) {
    let sections: BTreeSet<(u32, &str)> = tables
        .iter()
        .flat_map(|(number, table)| table.rules.iter().map(|rule| (*number, rule.section.as_str())))
        .collect();
    for path in ["auth-layer/src", "demo-app/src"].into_iter().flat_map(|source| rust_files(&root.join(source))) {
        let text = fs::read_to_string(&path).unwrap();
        for (line, comment) in text.lines().enumerate() {
            let Some(named) = comment.trim_start().strip_prefix("//=") else { continue };
            let fault = match section_of(named) {
                None => "write the comment as `//= RFC <number> §<section>`",
                Some(section) if !sections.contains(&section) => "its section has no row in docs/rfc",
                Some(_) => continue,
            };
            let path = path.strip_prefix(root).unwrap().display();
            faults.push(format!("{path}:{}: `{}`: {fault}", line + 1, comment.trim()));
        }
    }
}

/// Reads ` RFC 9449 §4.3`.
fn section_of(comment: &str) -> Option<(u32, &str)> {
    let (number, section) = comment.strip_prefix(" RFC ")?.split_once(" §")?;
    is_section(section).then_some((number.parse().ok()?, section))
}

/// Whether a text is a section such as `4.1.3`, or an appendix such as `B`.
fn is_section(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_letter = |part: &str| matches!(part.as_bytes(), [letter] if letter.is_ascii_uppercase());
    let mut parts = text.split('.');
    parts.next().is_some_and(|first| is_number(first) || is_letter(first)) && parts.all(is_number)
}

/// Finds attacks whose last cell names no test, or one that does not exist.
fn check_attacks(page: &str, tests: &BTreeSet<String>, faults: &mut Vec<String>) {
    let is_row =
        |line: &&str| line.starts_with("| ") && !["| issue |", "| --- |"].iter().any(|head| line.starts_with(head));
    for row in page.lines().filter(is_row) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let names: Vec<&str> = cells.last().unwrap().split('`').skip(1).step_by(2).collect();
        let attack = cells[0].trim();
        if cells.len() != 5 || names.is_empty() {
            faults.push(format!("docs/attacks.md, {attack}: a row has five cells, and tests in the last one"));
        }
        for name in names.into_iter().filter(|name| !tests.contains(*name)) {
            faults.push(format!("docs/attacks.md, {attack}: there is no test `{name}`"));
        }
    }
}

fn render(tables: &[(u32, Table)]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for (number, Table { title, left_out, rules }) in tables {
        write!(page, "\n## RFC {number}: {title}\n\nNot here: {left_out}\n\n").unwrap();
        page.push_str("| section | level | rule | test or reason |\n| --- | --- | --- | --- |\n");
        for Rule { section, level, gist, test, exception } in rules {
            let proof = match (test, exception) {
                (Some(test), _) => format!("`{test}`"),
                (None, reason) => reason.clone().unwrap_or_default(),
            };
            let [gist, proof] = [gist, &proof].map(|text| text.replace('|', "\\|"));
            writeln!(page, "| {section} | {level} | {gist} | {proof} |").unwrap();
        }
    }
    page
}

/// Returns the names of all tests in the workspace.
fn test_names(root: &Path) -> BTreeSet<String> {
    let files = ["auth-layer", "demo-app", "tests"].into_iter().flat_map(|member| rust_files(&root.join(member)));
    files.flat_map(|path| tests_in(&fs::read_to_string(path).unwrap())).collect()
}

/// Returns the functions that follow `#[test]` or `#[tokio::test]`.
fn tests_in(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        is_test |= ["#[test]", "#[tokio::test]", "#[tokio::test("].iter().any(|start| line.starts_with(start));
        let Some(rest) = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")) else { continue };
        if std::mem::take(&mut is_test) {
            names.extend(rest.split(['(', '<']).next().map(str::to_owned));
        }
    }
    names
}

/// Returns the Rust sources in a directory, in order.
fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            // A member of another workspace, such as fuzz targets, builds in its own directory.
            if !path.ends_with("target") {
                files.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn rfc_checks_find_each_fault() {
    let source = "#[test]\nfn one() {}\n    #[tokio::test(start_paused = true)]\n    #[ignore = \"slow\"]\n    \
        async fn two() {}\nfn helper() {}\n#[test]\nfn three(text in any::<String>()) {}\n";
    assert_eq!(tests_in(source), ["one", "two", "three"]);
    for good in ["4", "4.1.3", "B", "A.1"] {
        assert!(is_section(good), "{good}");
    }
    for bad in ["", "4.", ".1", "4.B", "b", "4.1-2", "§4"] {
        assert!(!is_section(bad), "{bad}");
    }
    assert_eq!(section_of(" RFC 9449 §4.3"), Some((9449, "4.3")));
    for bad in ["RFC 9449 §4.3", " RFC9449 §4.3", " RFC 9449 4.3", " RFC 9449 §4.3 and more"] {
        assert_eq!(section_of(bad), None, "{bad}");
    }

    let table = |rule: &str| {
        let text = format!("title = \"T\"\nleft_out = \"L\"\n[[rule]]\nsection = \"1\"\ngist = \"G|\"\n{rule}");
        toml::from_str::<Table>(&text).map(|table| vec![(1, table)])
    };
    let tests = BTreeSet::from(["one".to_owned()]);
    let faults = |rule: &str| {
        let mut faults = Vec::new();
        check_rules(&table(rule).unwrap(), &tests, &mut faults);
        faults
    };
    assert_eq!(faults("level = \"MUST\"\ntest = \"one\""), [""; 0]);
    assert_eq!(faults("level = \"text\"\nexception = \"E.\""), [""; 0]);
    for (rule, fault) in [
        ("", "neither test nor exception"),
        ("test = \"two\"", "no test `two`"),
        ("test = \"one\"\nexception = \"E.\"", "a test and an exception"),
    ] {
        let found = faults(&format!("level = \"MUST\"\n{rule}"));
        assert!(found.len() == 1 && found[0].contains(fault), "{found:?}");
    }
    assert!(table("level = \"must\"\ntest = \"one\"").is_err());
    assert!(table("level = \"MUST\"\ntest = \"one\"\nnote = \"N\"").is_err());
    assert!(render(&table("level = \"MUST\"\ntest = \"one\"").unwrap()).ends_with("| 1 | MUST | G\\| | `one` |\n"));

    let attacks = "| issue | project | what | here | tests |\n| --- | --- | --- | --- | --- |\n\
        | a | b | c | d | `one` |\n| e | f | g | h | `two` |\n| i | j | k | l | none |\n| m | n | `one` |\n";
    let mut faults = Vec::new();
    check_attacks(attacks, &tests, &mut faults);
    assert_eq!(
        faults.iter().map(|fault| &fault[..18]).collect::<Vec<_>>(),
        ["docs/attacks.md, e", "docs/attacks.md, i", "docs/attacks.md, m"]
    );
}

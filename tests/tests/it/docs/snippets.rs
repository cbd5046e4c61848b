//! Blocks of other languages than `sh` can be read by what they are for.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;
use tests::{command::run_script, node::run_command};

use super::{GUIDE, markdown::Block, root, tried_pages};
use crate::fleet::NODE;

/// The languages of blocks. The commands of `sh` are run elsewhere, `rust` is a doctest, and nobody
/// reads `text`.
const LANGUAGES: [&str; 6] = ["js", "python", "rust", "sh", "text", "toml"];

/// The time that a program may take to read a snippet.
const LIMIT: Duration = Duration::from_mins(1);

/// The first line of a file for the demo's `--config`.
const DEMO_CONFIG: &str = "# demo-app.toml";

fn blocks(language: &str) -> Vec<(String, Block)> {
    let pages = tried_pages().into_iter();
    let blocks = pages.flat_map(|page| page.blocks.into_iter().map(move |block| (page.name.clone(), block)));
    let blocks: Vec<_> = blocks.filter(|(_, block)| block.language() == language).collect();
    assert!(!blocks.is_empty(), "blocks are found");
    blocks
}

#[test]
fn docs_blocks_name_a_language_that_is_tried() {
    for page in tried_pages() {
        for block in &page.blocks {
            let place = format!("{}:{}", page.name, block.line);
            assert!(LANGUAGES.contains(&block.language()), "{place}: {:?}", block.info);
            // Only the code of other crates is not compiled.
            let is_ignored = block.info.contains("ignore");
            assert!(!is_ignored || page.name.starts_with(&format!("{GUIDE}/migrating/")), "{place}: {:?}", block.info);
        }
    }
}

/// A page that is not in the list would not be compiled.
#[test]
fn docs_rust_blocks_are_doctests() {
    let library = fs::read_to_string(root().join("auth-layer/src/lib.rs")).unwrap();
    for page in tried_pages() {
        if page.blocks.iter().any(|block| block.language() == "rust") {
            let listed = format!("include_str!(\"../../{}\")", page.name);
            assert!(library.contains(&listed), "auth-layer/src/lib.rs lacks {listed}");
        }
    }
}

#[test]
fn guide_shows_the_first_service_as_it_is_in_the_examples() {
    let example = fs::read_to_string(root().join("auth-layer/examples/first_service.rs")).unwrap();
    let (_, code) = example.split_once("\n\n").unwrap();
    let page = fs::read_to_string(root().join(GUIDE).join("first-service.md")).unwrap();
    assert!(page.contains(&code.replace("pub(crate) ", "")), "copy the example to the page");
}

#[tokio::test]
async fn docs_toml_is_read_by_the_demo_or_is_toml() {
    let directory = tempfile::tempdir().unwrap();
    let mut configurations = 0;
    for (page, block) in blocks("toml") {
        let place = format!("{page}:{}", block.line);
        if let Err(error) = block.text.parse::<toml::Table>() {
            panic!("{place}: {error}");
        }
        if block.first_line().starts_with(DEMO_CONFIG) {
            let file = directory.path().join("demo-app.toml");
            fs::write(&file, &block.text).unwrap();
            let args = ["config", "show", "--json", "--config", file.to_str().unwrap()];
            let shown = run_command(NODE, &args, &[], "").await;
            assert!(!shown.stderr.contains("would not start"), "{place}: {shown}");
            let settings = shown.json();
            let from_file = |setting: &&Value| setting["origin"] == "file";
            let read = settings["settings"].as_array().unwrap().iter().filter(from_file).count();
            assert_eq!(read, block.text.parse::<toml::Table>().unwrap().len(), "{place}: {settings}");
            configurations += 1;
        }
    }
    assert!(configurations >= 3, "files for the demo are found");
}

/// Fails unless this program accepts each block of a language.
async fn read_by(language: &str, file: &str, program: &str) {
    let directory = tempfile::tempdir().unwrap();
    for (page, block) in blocks(language) {
        let file = directory.path().join(file);
        fs::write(&file, &block.text).unwrap();
        let output = run_script(&format!("{program} '{}'", file.display()), Path::new("."), &[], LIMIT).await;
        assert!(output.code == Some(0), "{page}:{}: {output}", block.line);
    }
}

#[tokio::test]
async fn docs_python_can_be_compiled() {
    read_by("python", "snippet.py", "python3 -m py_compile").await;
}

#[tokio::test]
#[cfg_attr(not(has_node), ignore = "Node.js 18 or newer and npm are not on the PATH")]
async fn docs_javascript_can_be_parsed() {
    read_by("js", "snippet.mjs", "node --check").await;
}

/// Returns the numbers with a decimal point, a comma or three digits.
fn figures(text: &str) -> impl Iterator<Item = &str> {
    let numbers = text.split(|letter: char| !letter.is_ascii_digit() && !matches!(letter, '.' | ','));
    numbers.map(|number| number.trim_matches(['.', ','])).filter(|number| number.len() >= 3)
}

#[test]
fn guide_figures_are_those_of_the_benchmarks() {
    let pages = super::pages();
    let prose = |name: &str| pages.iter().find(|page| page.name == name).unwrap().prose.as_str();
    let measured: Vec<&str> = figures(prose("docs/benchmarks.md")).collect();
    let quoted: Vec<&str> = figures(prose("docs/guide/src/tuning.md")).collect();
    assert!(quoted.len() > 15, "{quoted:?}");
    for figure in quoted {
        assert!(measured.contains(&figure), "tuning.md has {figure}, which docs/benchmarks.md lacks");
    }
}

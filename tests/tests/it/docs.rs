//! The documents: README, the guide and the others. Their links lead somewhere, their commands run
//! and their snippets can be read. The Rust blocks are doctests of `auth-layer`.

mod commands;
#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../../../auth-layer/examples/first_service.rs"]
mod first_service;
mod links;
mod markdown;
mod snippets;

use std::{
    fs,
    path::{Path, PathBuf},
};

use self::markdown::Page;

/// The folder of the guide's pages.
const GUIDE: &str = "docs/guide/src";

/// Returns the root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Returns the documents: those at the root, and those in these folders.
fn pages() -> Vec<Page> {
    let mut paths: Vec<PathBuf> = entries(root()).into_iter().filter(|path| is_page(path)).collect();
    for directory in ["auth-layer", "deploy", "docs"] {
        collect_pages(&root().join(directory), &mut paths);
    }
    paths.iter().map(|path| Page::read(root(), path)).collect()
}

/// Returns the README and the pages of the guide, whose commands and snippets are run.
fn tried_pages() -> Vec<Page> {
    pages().into_iter().filter(|page| page.name == "README.md" || page.name.starts_with(GUIDE)).collect()
}

fn collect_pages(directory: &Path, pages: &mut Vec<PathBuf>) {
    for path in entries(directory) {
        if path.is_dir() {
            collect_pages(&path, pages);
        } else if is_page(&path) {
            pages.push(path);
        }
    }
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// Returns what a directory holds, in order.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

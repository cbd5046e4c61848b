//! Links lead somewhere.

use std::collections::BTreeMap;

use reqwest::Url;

use super::{GUIDE, markdown::Page, pages, root};

/// The hosts of links to other sites. A new one is a decision: nobody tries whether it answers.
const HOSTS: [&str; 6] =
    ["127.0.0.1", "blog.teddykatz.com", "docs.rs", "github.com", "keepachangelog.com", "semver.org"];

#[test]
fn docs_links_lead_to_files_and_headings() {
    let pages = pages();
    let by_name: BTreeMap<&str, &Page> = pages.iter().map(|page| (page.name.as_str(), page)).collect();
    let mut faults = Vec::new();
    for page in &pages {
        for link in &page.links {
            if let Err(fault) = check(page, &link.to, &by_name) {
                faults.push(format!("{}:{}: `{}`: {fault}", page.name, link.line, link.to));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(pages.len() > 40 && by_name["README.md"].links.len() > 40, "links are found");
}

fn check(page: &Page, to: &str, pages: &BTreeMap<&str, &Page>) -> Result<(), String> {
    if to.contains("://") {
        let url = Url::parse(to).map_err(|error| error.to_string())?;
        let host = url.host_str().unwrap_or_default();
        return if HOSTS.contains(&host) {
            Ok(())
        } else {
            Err(format!("`{host}` is not among the hosts of this test"))
        };
    }
    let (path, anchor) = to.split_once('#').map_or((to, None), |(path, anchor)| (path, Some(anchor)));
    let target = if path.is_empty() { page.name.clone() } else { resolve(&page.name, path)? };
    if !root().join(&target).exists() {
        return Err("there is no such file".to_owned());
    }
    match (anchor, pages.get(target.as_str())) {
        (None, _) => Ok(()),
        (Some(anchor), Some(page)) if page.anchors.contains(anchor) => Ok(()),
        (Some(_), Some(_)) => Err("there is no such heading".to_owned()),
        (Some(_), None) => Err("it names a heading, and is no document".to_owned()),
    }
}

/// Returns the path from the root that `path` means on a page.
fn resolve(page: &str, path: &str) -> Result<String, String> {
    let mut steps: Vec<&str> = page.split('/').collect();
    steps.pop();
    for step in path.trim_end_matches('/').split('/') {
        match step {
            ".." => drop(steps.pop().ok_or("it leaves the repository")?),
            "." => {}
            step => steps.push(step),
        }
    }
    Ok(steps.join("/"))
}

#[test]
fn docs_broken_links_are_found() {
    let page = Page::parse("docs/page.md".to_owned(), "# Here\n".to_owned());
    let pages = BTreeMap::from([("docs/page.md", &page)]);
    for good in ["#here", "page.md", "page.md#here", "../README.md", "design", "https://docs.rs/tower"] {
        assert_eq!(check(&page, good, &pages), Ok(()), "{good}");
    }
    for (bad, fault) in [
        ("#there", "no such heading"),
        ("none.md", "no such file"),
        ("../../README.md", "leaves the repository"),
        ("../LICENSE-MIT#here", "no document"),
        ("https://none.example/", "not among the hosts"),
        ("https://", "host"),
    ] {
        let found = check(&page, bad, &pages).unwrap_err();
        assert!(found.contains(fault), "{bad}: {found}");
    }
}

/// mdBook shows only what the summary lists.
#[test]
fn guide_summary_lists_each_page_once() {
    let summary = format!("{GUIDE}/SUMMARY.md");
    let (summaries, others): (Vec<Page>, Vec<Page>) = guide().partition(|page| page.name == summary);
    let mut listed: Vec<String> = summaries[0].links.iter().map(|link| format!("{GUIDE}/{}", link.to)).collect();
    listed.sort();
    let mut names: Vec<String> = others.into_iter().map(|page| page.name).collect();
    names.sort();
    assert_eq!(listed, names);
}

#[test]
fn guide_pages_begin_with_their_answer() {
    for page in guide().filter(|page| !page.name.ends_with("SUMMARY.md")) {
        let mut lines = page.text.lines();
        let (title, answer) = (lines.next().unwrap_or_default(), lines.nth(1).unwrap_or_default());
        assert!(title.starts_with("# ") && answer.starts_with("**"), "{}: {title:?}, {answer:?}", page.name);
    }
}

fn guide() -> impl Iterator<Item = Page> {
    pages().into_iter().filter(|page| page.name.starts_with(GUIDE))
}

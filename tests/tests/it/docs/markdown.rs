//! Reads a document.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A document: what it links to and what it shows.
pub(super) struct Page {
    /// Its path from the root, with slashes.
    pub(super) name: String,
    pub(super) text: String,
    /// What a link to the page may name after its `#`.
    pub(super) anchors: BTreeSet<String>,
    pub(super) links: Vec<Link>,
    pub(super) blocks: Vec<Block>,
    /// Its text without code.
    pub(super) prose: String,
}

/// A link or a picture.
pub(super) struct Link {
    pub(super) line: usize,
    pub(super) to: String,
}

/// A fenced block.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) line: usize,
    /// What follows the fence, such as `rust,no_run`.
    pub(super) info: String,
    pub(super) text: String,
}

impl Block {
    /// Returns its language.
    pub(super) fn language(&self) -> &str {
        self.info.split(',').next().unwrap_or_default()
    }

    pub(super) fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

impl Page {
    pub(super) fn read(root: &Path, path: &Path) -> Self {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        Self::parse(name, fs::read_to_string(path).unwrap())
    }

    pub(super) fn parse(name: String, text: String) -> Self {
        let mut page = Self {
            name,
            anchors: BTreeSet::new(),
            links: vec![],
            blocks: vec![],
            prose: String::new(),
            text: String::new(),
        };
        let mut heading: Option<String> = None;
        let mut of_same_text = BTreeMap::new();
        let mut block: Option<Block> = None;
        for (event, range) in Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = text[..range.start].matches('\n').count() + 1;
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(Link { line, to: dest_url.into_string() });
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    page.links.extend(addresses(&html).map(|to| Link { line, to: to.to_owned() }));
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap());
                    let before = of_same_text.entry(anchor.clone()).or_insert(0);
                    page.anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
                    *before += 1;
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    block = Some(Block { line, info: info.into_string(), text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Text(words) => match (&mut block, &mut heading) {
                    (Some(block), _) => block.text.push_str(&words),
                    (None, Some(heading)) => heading.push_str(&words),
                    (None, None) => page.prose.push_str(&words),
                },
                Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                Event::End(_) | Event::SoftBreak => page.prose.push('\n'),
                _ => {}
            }
        }
        Self { text, ..page }
    }
}

/// Returns the addresses in the attributes of HTML.
fn addresses(html: &str) -> impl Iterator<Item = &str> {
    [" src=\"", " srcset=\"", " href=\""]
        .into_iter()
        .flat_map(move |start| html.split(start).skip(1).filter_map(|rest| rest.split('"').next()))
}

/// Returns the anchor of a heading, as GitHub and GitLab make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_')).collect()
}

#[test]
fn docs_page_is_read_with_its_anchors_links_and_blocks() {
    let text = "# The demo's `call`s\n\n[a](b.md#c) ![d](e.svg)\n\n| t |\n| --- |\n| [f](#g) |\n\n## Twice\n## Twice\n\n\
        <img src=\"h.png\" alt=\"i\">\n\n1. In a list\n\n   ```sh\n   echo j\n   ```\n\n```rust,no_run\nfn k() {}\n```\n";
    let page = Page::parse("page.md".to_owned(), text.to_owned());
    assert_eq!(page.anchors.iter().map(String::as_str).collect::<Vec<_>>(), ["the-demos-calls", "twice", "twice-1"]);
    let links: Vec<(usize, &str)> = page.links.iter().map(|link| (link.line, link.to.as_str())).collect();
    assert_eq!(links, [(3, "b.md#c"), (3, "e.svg"), (7, "#g"), (12, "h.png")]);
    let blocks: Vec<(&str, &str)> = page.blocks.iter().map(|block| (block.language(), block.text.as_str())).collect();
    assert_eq!(blocks, [("sh", "echo j\n"), ("rust", "fn k() {}\n")]);
    assert!(page.prose.contains("In a list") && !page.prose.contains("echo"), "{}", page.prose);
}

//! Finds the names of metrics in queries. `promtool` checks their grammar.

use std::collections::BTreeSet;

use serde_json::Value;

/// Words of the language that stand where a metric may.
const WORDS: [&str; 12] =
    ["and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool", "inf"];

/// Words that a list of labels follows.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The expressions of a file of rules, and the names that it records.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) expressions: Vec<String>,
    pub(super) recorded: BTreeSet<String>,
}

/// Reads the rules. Each expression is on one line, in single quotes.
pub(super) fn rules(text: &str) -> Rules {
    let mut rules = Rules::default();
    for line in text.lines().map(|line| line.trim().trim_start_matches("- ")) {
        if let Some(expression) = line.strip_prefix("expr:") {
            let quoted = expression.trim().strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            rules.expressions.push(quoted.unwrap_or_else(|| panic!("not on one line: {line}")).to_owned());
        } else if let Some(name) = line.strip_prefix("record:") {
            rules.recorded.insert(name.trim().to_owned());
        }
    }
    rules
}

/// Returns the queries of a dashboard: those of its panels, and those of its variables.
pub(super) fn dashboard_queries(dashboard: &Value) -> Vec<String> {
    let mut queries = Vec::new();
    collect(dashboard, &mut queries);
    queries
}

fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(query) if name == "expr" || (name == "query" && query.contains('(')) => {
                        queries.push(query.clone());
                    }
                    member => collect(member, queries),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, queries)),
        _ => {}
    }
}

/// Returns the names of metrics in a query.
pub(super) fn metric_names(query: &str) -> BTreeSet<String> {
    let plain = without_texts_and_selectors(query);
    let mut names = BTreeSet::new();
    let mut rest = plain.as_str();
    while let Some(start) = rest.find(|character: char| character.is_ascii_alphabetic() || character == '_') {
        // A digit before it: a number with a unit or an exponent.
        let is_unit = rest[..start].ends_with(|character: char| character.is_ascii_digit());
        let word = &rest[start..];
        let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        let opens = after.trim_start().starts_with('(');
        // Such as `sum` in `sum by (job) (…)`.
        let aggregates = ["by ", "without "].iter().any(|next| after.trim_start().starts_with(next));
        rest = after;
        if opens && BEFORE_LABELS.contains(&word) {
            rest = after.split_once(')').map_or("", |(_, rest)| rest);
        } else if opens && word == "label_values" {
            let arguments = after.split_once(')').map_or("", |(arguments, _)| arguments).trim_start_matches(['(', ' ']);
            names.extend(arguments.split_once(',').map(|(metric, _)| metric.trim().to_owned()));
            rest = after.split_once(')').map_or("", |(_, rest)| rest);
        } else if !opens && !aggregates && !is_unit && !WORDS.contains(&word) {
            names.insert(word.to_owned());
        }
    }
    names
}

/// Leaves out `{…}`, `[…]` and `"…"`.
fn without_texts_and_selectors(query: &str) -> String {
    let (mut plain, mut depth, mut in_text) = (String::new(), 0_u32, false);
    for character in query.chars() {
        match character {
            '"' => in_text = !in_text,
            _ if in_text => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ if depth == 0 => plain.push(character),
            _ => {}
        }
    }
    plain
}

#[test]
fn metrics_in_queries_are_found() {
    let names = |query| metric_names(query).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(names(r#"sum by (job) (rate(a_total{b="c_total"}[5m])) / job:d:rate5m > 0.05"#), "a_total job:d:rate5m");
    assert_eq!(names("histogram_quantile(0.99, sum by (le) (rate(a_bucket[5m])))"), "a_bucket");
    assert_eq!(names("time() - max(a_seconds) > 180 * 86400 and on (job) b offset 5m"), "a_seconds b");
    assert_eq!(names("label_values(a_info{x=\"y\"}, instance)"), "a_info");
    assert_eq!(names("1e3 + 2"), "");
}

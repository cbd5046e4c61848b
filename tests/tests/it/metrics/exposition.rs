//! Reads Prometheus' text format.

use std::collections::{BTreeMap, BTreeSet};

/// The series of one metric.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) help: String,
    pub(super) kind: String,
    /// The labels of all its series, without a bucket's bound.
    pub(super) labels: BTreeSet<String>,
}

impl Family {
    /// Returns the names that its series have.
    pub(super) fn series_names(&self, name: &str) -> Vec<String> {
        match self.kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).to_vec(),
            _ => vec![name.to_owned()],
        }
    }
}

/// Returns the metrics that have at least one series, by name.
pub(super) fn families(text: &str) -> BTreeMap<String, Family> {
    let mut described: BTreeMap<String, Family> = BTreeMap::new();
    let mut shown = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
            let family = described.entry(name.to_owned()).or_default();
            match word {
                "HELP" => rest.clone_into(&mut family.help),
                "TYPE" => rest.clone_into(&mut family.kind),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap_or_else(|error| panic!("{error}: {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let is_histogram = |base: &&str| described.get(*base).is_some_and(|family| family.kind == "histogram");
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).filter(is_histogram);
        let base = base.unwrap_or(name);
        let family = described.get_mut(base).unwrap_or_else(|| panic!("{line} comes before its type"));
        // No value of ours has a comma or a quote in it.
        let names = labels.trim_end_matches('}').split(',').filter_map(|label| Some(label.split_once('=')?.0));
        family.labels.extend(names.filter(|name| *name != "le").map(str::to_owned));
        shown.insert(base.to_owned());
    }
    described.retain(|name, _| shown.contains(name));
    described
}

//! What differs between two subjects: their descriptions as named entries, compared by name.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::artifact::FieldChange;
use crate::cli::facts::Facts;
use crate::tensor::TensorSpec;

/// More changes than this in one section are only counted, unless all are asked for.
const MOST_CHANGES: usize = 24;

/// A part of a description, in the order in which differences are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Section {
    Facts,
    Inputs,
    Outputs,
    Profiles,
    Operators,
    Layers,
    Files,
}

impl Section {
    fn name(self) -> &'static str {
        match self {
            Self::Facts => "facts",
            Self::Inputs => "inputs",
            Self::Outputs => "outputs",
            Self::Profiles => "profiles",
            Self::Operators => "operators",
            Self::Layers => "layers",
            Self::Files => "files",
        }
    }
}

/// One thing that a description says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) section: Section,
    pub(super) name: String,
    pub(super) said: Said,
}

/// A value, as programs and as people read it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) value: Value,
    pub(super) text: String,
}

/// One thing that is said differently, or of one side only.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) section: Section,
    pub(super) name: String,
    pub(super) a: Option<Said>,
    pub(super) b: Option<Said>,
}

/// What differs between two subjects.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Diff {
    /// By section, in the order of `a`, with what only `b` has behind.
    pub(super) changes: Vec<Change>,
    /// How many entries are the same.
    pub(super) alike: BTreeMap<Section, usize>,
    /// What differs in the cache keys, where both are known.
    pub(super) key_fields: Vec<FieldChange>,
    /// Whether every byte is the same.
    pub(super) identical: bool,
}

/// Collects entries; a name that a section has already gets a number.
#[derive(Debug, Default)]
pub(super) struct Entries {
    entries: Vec<Entry>,
    seen: HashMap<(Section, String), usize>,
}

impl Entries {
    pub(super) fn add(
        &mut self,
        section: Section,
        name: impl Into<String>,
        value: impl Into<Value>,
        text: impl Into<String>,
    ) {
        let mut name = name.into();
        let seen = self.seen.entry((section, name.clone())).or_default();
        *seen += 1;
        if *seen > 1 {
            name = format!("{name} #{seen}");
        }
        let said = Said { value: value.into(), text: text.into() };
        self.entries.push(Entry { section, name, said });
    }

    /// Adds facts, but for that of the file: files are compared by content.
    pub(super) fn add_facts(&mut self, facts: &Facts) {
        for fact in facts.iter().filter(|fact| fact.label != "file") {
            self.add(Section::Facts, fact.label, fact.value.clone(), &fact.text);
        }
    }

    pub(super) fn add_tensors(&mut self, inputs: &[TensorSpec], outputs: &[TensorSpec]) {
        for (section, tensors) in [(Section::Inputs, inputs), (Section::Outputs, outputs)] {
            for tensor in tensors {
                let text = format!("{} {}", tensor.dtype, tensor.dims_text());
                self.add(section, &tensor.name, text.clone(), text);
            }
        }
    }
}

/// Compares two descriptions.
pub(super) fn compare(a: Entries, b: Entries) -> Diff {
    let key = |entry: &Entry| (entry.section, entry.name.clone());
    let mut others: HashMap<_, Said> =
        b.entries.iter().map(|entry| (key(entry), entry.said.clone())).collect();
    let mut diff = Diff::default();
    let mut known = HashSet::new();
    for entry in a.entries {
        known.insert(key(&entry));
        match others.remove(&key(&entry)) {
            Some(other) if other.value == entry.said.value => {
                *diff.alike.entry(entry.section).or_default() += 1;
            }
            other => diff.changes.push(Change {
                section: entry.section,
                name: entry.name,
                a: Some(entry.said),
                b: other,
            }),
        }
    }
    let added = b.entries.into_iter().filter(|entry| !known.contains(&key(entry)));
    diff.changes.extend(added.map(|entry| Change {
        section: entry.section,
        name: entry.name,
        a: None,
        b: Some(entry.said),
    }));
    diff.changes.sort_by_key(|change| change.section);
    diff
}

impl Diff {
    /// The fields of its JSON line.
    pub(super) fn record(&self) -> Value {
        let value = |said: &Option<Said>| said.as_ref().map(|said| said.value.clone());
        let change = |change: &Change| {
            serde_json::json!({
                "section": change.section, "name": change.name,
                "a": value(&change.a), "b": value(&change.b),
            })
        };
        serde_json::json!({
            "identical": self.identical,
            "changes": self.changes.iter().map(change).collect::<Vec<_>>(),
            "alike": self.alike,
            "key_fields": self.key_fields,
        })
    }

    /// The same for people.
    pub(super) fn text(&self, all: bool) -> String {
        let mut text = String::new();
        if self.identical {
            text += "identical: every byte is the same\n";
        } else if self.changes.is_empty() {
            text += "every byte is the same, but not every file's permissions\n";
        }
        if !self.key_fields.is_empty() {
            text += "\ncache key\n";
        }
        for change in &self.key_fields {
            let _ = writeln!(text, "  ~ {change}");
        }
        for changes in self.changes.chunk_by(|a, b| a.section == b.section) {
            let section = changes[0].section;
            let alike = self.alike.get(&section).copied().unwrap_or(0);
            let _ = writeln!(text, "\n{}: {}", section.name(), counts(changes, alike));
            let most = if all { usize::MAX } else { MOST_CHANGES };
            let shown = &changes[..changes.len().min(most)];
            let width = shown.iter().map(|change| change.name.chars().count()).max().unwrap_or(0);
            for change in shown {
                let _ = writeln!(text, "  {}", change.text(width.min(40)));
            }
            if shown.len() < changes.len() {
                let more = changes.len() - shown.len();
                let _ = writeln!(text, "  and {more} more; `--layers` shows all");
            }
        }
        text.trim_start_matches('\n').to_owned()
    }
}

/// `1 added, 2 removed, 3 changed, 50 alike`, without what there is none of.
fn counts(changes: &[Change], alike: usize) -> String {
    let count = |kind: fn(&Change) -> bool| changes.iter().filter(|change| kind(change)).count();
    let counted = [
        (count(|change| change.a.is_none()), "added"),
        (count(|change| change.b.is_none()), "removed"),
        (count(|change| change.a.is_some() && change.b.is_some()), "changed"),
        (alike, "alike"),
    ];
    let counted = counted.iter().filter(|(count, _)| *count > 0);
    counted.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

impl Change {
    fn text(&self, width: usize) -> String {
        let name = &self.name;
        let line = match (&self.a, &self.b) {
            (
                Some(Said { value: Value::Object(a), .. }),
                Some(Said { value: Value::Object(b), .. }),
            ) if self.section == Section::Layers => {
                format!("~ {name:width$}  {}", fields(a, b))
            }
            (Some(a), Some(b)) if a.text == b.text => {
                format!("~ {name:width$}  {} on both sides, but not the same", a.text)
            }
            (Some(a), Some(b)) => {
                let by = a.growth_to(b).map_or(String::new(), |by| format!(" ({by:+.1} %)"));
                format!("~ {name:width$}  {} -> {}{by}", a.text, b.text)
            }
            (Some(a), None) => format!("- {name:width$}  {}", a.text),
            (None, Some(b)) => format!("+ {name:width$}  {}", b.text),
            (None, None) => String::new(),
        };
        line.trim_end().to_owned()
    }
}

/// The fields that differ: `precision FP32 -> FP16, format LINEAR -> CHW32`.
fn fields(a: &Map<String, Value>, b: &Map<String, Value>) -> String {
    let shown = |field: Option<&Value>| match field {
        Some(Value::String(text)) => text.clone(),
        _ => "?".to_owned(),
    };
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differing = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    let texts =
        differing.map(|name| format!("{name} {} -> {}", shown(a.get(name)), shown(b.get(name))));
    texts.collect::<Vec<_>>().join(", ")
}

impl Said {
    /// Of numbers and of files: by how many percent `other` is more.
    fn growth_to(&self, other: &Self) -> Option<f64> {
        let amount = |said: &Self| said.value.as_f64().or(said.value["bytes"].as_f64());
        let (from, to) = (amount(self)?, amount(other)?);
        (from > 0.0).then(|| (to - from) / from * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn layers(layers: &[(&str, &str)]) -> Entries {
        let mut entries = Entries::default();
        for (name, what) in layers {
            entries.add(Section::Layers, *name, *what, *what);
        }
        entries
    }

    fn names(diff: &Diff) -> Vec<(&str, bool, bool)> {
        let name = |change: &Change| (change.a.is_some(), change.b.is_some());
        let each = diff.changes.iter();
        each.map(|change| (change.name.as_str(), name(change).0, name(change).1)).collect()
    }

    #[test]
    fn entries_are_added_removed_changed_or_alike_by_name_wherever_they_stand() {
        let diff = compare(
            layers(&[("a", "x"), ("b", "x"), ("c", "x")]),
            layers(&[("d", "x"), ("c", "y"), ("a", "x")]),
        );
        let expected = [("b", true, false), ("c", true, true), ("d", false, true)];
        assert_eq!(names(&diff), expected);
        assert_eq!(diff.alike, BTreeMap::from([(Section::Layers, 1)]));
    }

    #[test]
    fn a_name_that_comes_again_is_compared_with_its_like() {
        let diff = compare(
            layers(&[("reformat", "x"), ("reformat", "y")]),
            layers(&[("reformat", "x"), ("reformat", "z"), ("reformat", "y")]),
        );
        assert_eq!(names(&diff), [("reformat #2", true, true), ("reformat #3", false, true)]);
    }

    #[test]
    fn equal_descriptions_have_no_changes() {
        let same = || layers(&[("a", "x"), ("b", "y")]);
        assert_eq!(compare(same(), same()).changes, []);
        let diff = Diff { identical: true, ..compare(same(), same()) };
        assert_eq!(diff.text(false), "identical: every byte is the same\n");
        assert_eq!(compare(Entries::default(), Entries::default()), Diff::default());
    }

    #[test]
    fn differences_are_shown_by_section_with_how_much_numbers_grew() {
        let mut a = layers(&[("conv1", "FP32"), ("conv2", "FP32")]);
        a.add(Section::Facts, "memory", 2048, "2.0 KiB");
        a.add(Section::Facts, "build", 2.0, "2.00 s");
        a.add(Section::Files, "engine.plan", json!({ "bytes": 10, "digest": "1" }), "10 B");
        let mut b = layers(&[("conv1", "FP16"), ("conv3", "FP16"), ("conv2", "FP32")]);
        b.add(Section::Facts, "memory", 1024, "1.0 KiB");
        b.add(Section::Facts, "build", 2.0, "2.00 s");
        b.add(Section::Files, "engine.plan", json!({ "bytes": 10, "digest": "2" }), "10 B");
        let mut diff = compare(a, b);
        diff.key_fields.push(FieldChange {
            field: "settings.backend".to_owned(),
            old: None,
            new: Some("tensorrt".to_owned()),
        });
        insta::assert_snapshot!(diff.text(false), @r"
        cache key
          ~ settings.backend: default -> tensorrt

        facts: 1 changed, 1 alike
          ~ memory  2.0 KiB -> 1.0 KiB (-50.0 %)

        layers: 1 added, 1 changed, 1 alike
          ~ conv1  FP32 -> FP16
          + conv3  FP16

        files: 1 changed
          ~ engine.plan  10 B on both sides, but not the same
        ");
        let record = diff.record();
        assert_eq!(record["changes"].as_array().unwrap().len(), 4);
        assert_eq!(record["changes"][0]["a"], 2048);
        assert_eq!(record["alike"], json!({ "facts": 1, "layers": 1 }));
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let many: Vec<String> = (0..30).map(|at| format!("layer{at}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "x")).collect();
        let diff = compare(layers(&many), Entries::default());
        assert!(diff.text(false).ends_with("  and 6 more; `--layers` shows all\n"));
        assert_eq!(diff.text(true).lines().count(), 31);
    }
}

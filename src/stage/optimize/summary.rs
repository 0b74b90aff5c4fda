//! [`Changes`]: what `optimize` did to a model, for `optimize.json` and, as a table, for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::onnx::passes::PassReport;
use crate::onnx::{Model, OnnxError};
use crate::tensor::TensorSpec;

/// What is written beside the model, as [`Changes::FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    format: u32,
    /// What each pass did.
    pub passes: Vec<PassReport>,
    opset: Counts,
    /// How many samples the model takes at once, where that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<Change<String>>,
    /// Names, where they changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inputs: Option<Change<Vec<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outputs: Option<Change<Vec<String>>>,
    /// Nodes, bodies included.
    pub nodes: Counts,
    /// By operator; only those whose number changed.
    operators: BTreeMap<String, Counts>,
    parameter_bytes: Counts,
}

/// A number before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub before: u64,
    pub after: u64,
}

/// What something was, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Change<T> {
    before: T,
    after: T,
}

impl<T: PartialEq + Clone> Change<T> {
    fn between(before: &T, after: &T) -> Option<Self> {
        (before != after).then(|| Self { before: before.clone(), after: after.clone() })
    }
}

/// What is compared of a model.
#[derive(Debug, Clone)]
pub(super) struct Inventory {
    opset: u64,
    /// Axis 0 of the inputs.
    pub(super) batch: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    operators: BTreeMap<String, usize>,
    parameter_bytes: u64,
}

impl Inventory {
    pub(super) fn of(model: &Model) -> Result<Self, OnnxError> {
        let summary = model.summary()?;
        let names = |tensors: &[TensorSpec]| tensors.iter().map(|one| one.name.clone()).collect();
        let signature = &summary.signature;
        Ok(Self {
            batch: batch(&signature.inputs),
            inputs: names(&signature.inputs),
            outputs: names(&signature.outputs),
            opset: model.opset().and_then(|opset| u64::try_from(opset).ok()).unwrap_or(0),
            operators: summary.operators,
            parameter_bytes: summary.parameter_bytes,
        })
    }

    fn count(&self, operator: &str) -> u64 {
        self.operators.get(operator).map_or(0, |count| *count as u64)
    }

    fn nodes(&self) -> u64 {
        self.operators.values().map(|count| *count as u64).sum()
    }
}

/// Axis 0 of the inputs, which is the same for all as a rule.
fn batch(inputs: &[TensorSpec]) -> String {
    let axes = inputs.iter().filter_map(|input| input.dims.as_ref()?.first());
    let mut sizes: Vec<String> = axes.map(ToString::to_string).collect();
    sizes.dedup();
    listed(&sizes)
}

impl Changes {
    /// The file beside the model.
    pub const FILE: &str = "optimize.json";

    pub(super) fn between(before: &Inventory, after: &Inventory, passes: Vec<PassReport>) -> Self {
        let names: BTreeSet<&String> =
            before.operators.keys().chain(after.operators.keys()).collect();
        let counts =
            |name: &String| Counts { before: before.count(name), after: after.count(name) };
        Self {
            format: 1,
            passes,
            opset: Counts { before: before.opset, after: after.opset },
            batch: Change::between(&before.batch, &after.batch),
            inputs: Change::between(&before.inputs, &after.inputs),
            outputs: Change::between(&before.outputs, &after.outputs),
            nodes: Counts { before: before.nodes(), after: after.nodes() },
            operators: names
                .into_iter()
                .map(|name| (name.clone(), counts(name)))
                .filter(|(_, counts)| counts.before != counts.after)
                .collect(),
            parameter_bytes: Counts {
                before: before.parameter_bytes,
                after: after.parameter_bytes,
            },
        }
    }
}

/// Operators shown; the rest is counted.
const MOST_OPERATORS: usize = 24;
/// Names of inputs and outputs shown; the rest is counted.
const MOST_NAMES: usize = 8;
/// Longer names are cut.
const WIDEST_NAME: usize = 40;

/// A table that fits 80 columns, and below it lines of any length.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![("opset".to_owned(), plain(self.opset))];
        rows.push(("nodes".to_owned(), plain(self.nodes)));
        for (name, counts) in self.operators.iter().take(MOST_OPERATORS) {
            let name: String = name.chars().take(WIDEST_NAME).collect();
            rows.push((format!("  {name}"), plain(*counts)));
        }
        let more = self.operators.len().saturating_sub(MOST_OPERATORS);
        if more > 0 {
            rows.push((format!("  and {more} more operators"), [String::new(), String::new()]));
        }
        let bytes = self.parameter_bytes;
        rows.push(("weights".to_owned(), [size(bytes.before), size(bytes.after)]));
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        writeln!(f, "{:width$}  {:>10}  {:>10}", "", "before", "after")?;
        for (name, [before, after]) in &rows {
            writeln!(f, "{}", format!("{name:width$}  {before:>10}  {after:>10}").trim_end())?;
        }
        if let Some(Change { before, after }) = &self.batch {
            writeln!(f, "batch {before} -> {after}")?;
        }
        for (what, change) in [("inputs", &self.inputs), ("outputs", &self.outputs)] {
            if let Some(Change { before, after }) = change {
                writeln!(f, "{what} {} -> {}", listed(before), listed(after))?;
            }
        }
        let told = self.passes.iter().filter(|pass| pass.changes > 0);
        let told: Vec<String> =
            told.map(|pass| format!("{} {}", pass.name, pass.changes)).collect();
        let told = if told.is_empty() { "nothing to do".to_owned() } else { told.join(", ") };
        write!(f, "passes: {told}")
    }
}

/// The first of the names.
fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(MOST_NAMES)].join(", ");
    match names.len().saturating_sub(MOST_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn plain(counts: Counts) -> [String; 2] {
    [counts.before.to_string(), counts.after.to_string()]
}

/// An amount of memory in the unit in which it is easy to read.
fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1024 => return format!("{bytes} B"),
        1024..0x10_0000 => (1024, "KiB"),
        _ => (0x10_0000, "MiB"),
    };
    let tenths = u128::from(bytes) * 10 / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

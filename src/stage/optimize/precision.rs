//! `optimize.precision`: its settings, and what is told of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::onnx::precision::{self, Half, Io, Lowered, Settings};
use crate::onnx::{Model, NodePatterns};
use crate::stage::convert::write_json;
use crate::stage::{CheckContext, Problem, StageContext, StageError};

use super::{Counts, Optimize, keep, magnitudes};

/// The type that a model computes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As it is.
    #[default]
    Fp32,
    /// IEEE half precision: 11 significant bits, up to 65504.
    Fp16,
    /// bfloat16: 8 significant bits, the range of float32.
    Bf16,
}

impl Precision {
    fn half(self) -> Option<Half> {
        match self {
            Self::Fp32 => None,
            Self::Fp16 => Some(Half::Float16),
            Self::Bf16 => Some(Half::BFloat16),
        }
    }
}

/// Of which type the inputs and outputs are that were float32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IoTypes {
    /// float32, as they were.
    #[default]
    Keep,
    /// That of `precision`.
    Convert,
}

impl From<IoTypes> for Io {
    fn from(types: IoTypes) -> Self {
        match types {
            IoTypes::Keep => Self::Keep,
            IoTypes::Convert => Self::Convert,
        }
    }
}

/// What is written beside the model, as `precision.json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    format: u32,
    #[serde(flatten)]
    lowered: &'a Lowered,
    parameter_bytes: Counts,
}

impl Optimize {
    /// Whether inputs and outputs change their type.
    pub(super) fn converts_io(&self) -> bool {
        self.precision.half().is_some() && self.io.value == IoTypes::Convert
    }

    /// Adds the settings that are not at their default.
    pub(super) fn precision_settings(&self, settings: &mut Map<String, Value>) {
        if !self.precision.is_default() {
            settings.insert("precision".into(), json!(self.precision));
        }
        if !self.io.is_default() {
            settings.insert("io".into(), json!(self.io));
        }
        if !self.keep_fp32.is_empty() {
            settings.insert("keep_fp32".into(), json!(self.keep_fp32));
        }
        if let Some(search) = &self.search {
            settings.insert("search".into(), json!(search));
        }
        if !self.backend.is_default() {
            settings.insert("backend".into(), json!(self.backend));
        }
        if !self.raw.is_empty() {
            settings.insert("raw".into(), json!(self.raw));
        }
    }

    /// Settings that mean nothing without a lower precision.
    pub(super) fn precision_problems(&self, cx: &CheckContext<'_>) -> Vec<Problem> {
        if self.precision.half().is_some() {
            // With `outputs`, the model gives others than it did.
            let known = cx.model.filter(|_| self.outputs.is_empty());
            let outputs = known.map(|model| model.outputs.as_slice());
            return self.search.iter().flat_map(|search| search.problems(outputs)).collect();
        }
        let io = (!self.io.is_default()).then_some(("io", self.io.span));
        let keep = self.keep_fp32.first().map(|first| ("keep_fp32", first.span));
        let data = self.data.as_ref().map(|data| ("data", data.span));
        let needless = |(name, span)| Problem {
            code: "optimize::precision",
            message: format!("`{name}` says how to lower the precision, which is not asked for"),
            span,
            label: "has no effect".into(),
            help: Some(format!("add `precision: fp16` or `precision: bf16`, or remove `{name}`")),
        };
        let search = self.search.as_ref().map(|search| ("search", search.objective.span));
        [io, keep, data, search].into_iter().flatten().map(needless).collect()
    }

    /// Lowers the model, if that is asked for; the answer is what to tell of it.
    pub(super) fn lower(
        &self,
        model: &mut Model,
        cx: &StageContext<'_>,
    ) -> Result<Option<String>, StageError> {
        let Some(half) = self.precision.half() else { return Ok(None) };
        cx.progress.report("lowering", 0, None);
        let keep = NodePatterns::new(self.keep_fp32.iter().map(|pattern| pattern.value.clone()));
        self.check_patterns(model, &keep)?;
        let observed = match &self.data {
            Some(place) => Some(magnitudes::observe(self, place.span, model, cx)?),
            None => None,
        };
        let already = precision::nodes_in_16_bits(model);
        let before = model.summary()?.parameter_bytes;
        let io = self.io.value.into();
        let settings = Settings { half, io, keep: &keep, observed: observed.as_ref() };
        let searched = match &self.search {
            Some(search) => Some(keep::search(self, search, &settings, model, cx)?),
            None => None,
        };
        let found = searched.iter().flat_map(|outcome| &outcome.kept);
        let keep = keep.and(found.map(String::as_str));
        let lowered = precision::lower(model, &Settings { keep: &keep, ..settings })?;
        for note in notes(&lowered, &already, searched.is_some()) {
            tracing::warn!(stage = cx.name, "{note}");
        }
        let after = model.summary()?.parameter_bytes;
        let parameter_bytes = Counts { before, after };
        let report = Report { format: 1, lowered: &lowered, parameter_bytes };
        write_json(&cx.out.join("precision.json"), &report)?;
        let searched = searched.map_or(String::new(), |outcome| format!("\n{}", outcome.summary));
        Ok(Some(told(&lowered, parameter_bytes) + &searched))
    }

    /// A pattern that means no node is a slip of the pen.
    fn check_patterns(&self, model: &Model, keep: &NodePatterns) -> Result<(), StageError> {
        let Some((at, help)) = keep.slip(&model.graph) else { return Ok(()) };
        let pattern = &self.keep_fp32[at];
        let message = format!(
            "`{pattern}` is no operator and no node of the model, as the other rewrites leave it"
        );
        Err(StageError::Setting { message, span: pattern.span, help: Some(help) })
    }
}

/// What is not as asked for. `already` counts the nodes that were in 16 bits before.
fn notes(
    lowered: &Lowered,
    already: &BTreeMap<&'static str, usize>,
    is_searched: bool,
) -> Vec<String> {
    let asked = lowered.precision.name();
    let are = |nodes: usize| if nodes == 1 { "node computes" } else { "nodes compute" };
    let others = already.iter().filter(|(name, _)| **name != asked || lowered.counts.low == 0);
    let mut notes: Vec<String> = others
        .map(|(name, &nodes)| format!("{nodes} {} in {name} already and stay so", are(nodes)))
        .collect();
    if lowered.counts.low == 0 {
        let kept: Vec<String> =
            lowered.kept().iter().map(|(reason, nodes)| format!("{nodes} {reason}")).collect();
        let why = match kept.as_slice() {
            [] => "none is in float32".to_owned(),
            _ if is_searched => {
                format!("what `search` keeps leaves none ({})", kept.join(", "))
            }
            _ => format!("all float32 nodes stay so ({})", kept.join(", ")),
        };
        notes.push(format!("no node was lowered to {asked}: {why}; `precision` has no effect"));
    }
    notes
}

/// A few lines for people.
fn told(lowered: &Lowered, bytes: Counts) -> String {
    let mut text = format!(
        "{} nodes compute in {}, {} in float32; {} casts; weights {} -> {} bytes",
        lowered.counts.low,
        lowered.precision.name(),
        lowered.counts.float32,
        lowered.casts,
        bytes.before,
        bytes.after
    );
    if let Some(change) = &lowered.opset {
        let _ = write!(text, "\n  opset {} -> {}", change.before, change.after);
        if let Some(why) = &change.refused {
            let _ = write!(text, ", which is not all: {why}");
        }
    }
    for (reason, nodes) in lowered.kept() {
        let _ = write!(text, "\n  {nodes:>5} in float32: {reason}");
    }
    text
}

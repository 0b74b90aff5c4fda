//! `optimize.precision`: its settings, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value, json};

use crate::onnx::precision::{self, Half, Io, Lowered, Settings};
use crate::onnx::{Model, NodePatterns};
use crate::stage::convert::write_json;
use crate::stage::{CheckContext, Listing, Problem, StageContext, StageError};

use super::{Counts, Optimize, Told, keep, magnitudes};

/// The type that a model computes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
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

impl<'de> Deserialize<'de> for Precision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PrecisionVisitor;
        impl de::Visitor<'_> for PrecisionVisitor {
            type Value = Precision;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one of: fp32, fp16, bf16")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Precision, E> {
                match text {
                    "fp32" => Ok(Precision::Fp32),
                    "fp16" => Ok(Precision::Fp16),
                    "bf16" => Ok(Precision::Bf16),
                    _ if ["fp8", "int8"].iter().any(|eight| text.starts_with(eight)) => {
                        Err(E::custom(format!(
                            "`{text}` is none of fp32, fp16 and bf16: FP8 and INT8 are made by \
                             `calibrate`, in a stage of its own"
                        )))
                    }
                    _ => Err(E::unknown_variant(text, &["fp32", "fp16", "bf16"])),
                }
            }
        }
        deserializer.deserialize_str(PrecisionVisitor)
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

/// What is written beside the model, as [`Told::FILE`].
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
        let found = searched.iter().flat_map(|outcome| &outcome.kept).map(String::as_str);
        let found: BTreeSet<&str> = found.collect();
        let keep = keep.and(found.iter().copied());
        let mut lowered = precision::lower(model, &Settings { keep: &keep, ..settings })?;
        lowered.kept_instead(&found, "search", "`search` keeps it");
        for note in notes(&lowered, &already, searched.is_some()) {
            tracing::warn!(stage = cx.name, "{note}");
        }
        let after = model.summary()?.parameter_bytes;
        let parameter_bytes = Counts { before, after };
        let report = Report { format: 1, lowered: &lowered, parameter_bytes };
        write_json(&cx.out.join(Told::FILE), &report)?;
        let searched = searched.map_or(String::new(), |outcome| format!("\n{}", outcome.summary));
        Ok(Some(format!("{}{searched}", Told::of(&lowered).text(Listing::Short))))
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
            kept(lowered).iter().map(|(reason, nodes)| format!("{nodes} {reason}")).collect();
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

/// What keeps nodes in float32, and how many: the most frequent first.
fn kept(lowered: &Lowered) -> Vec<(&'static str, usize)> {
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for node in lowered.nodes.iter().filter(|node| node.precision == Some("float32")) {
        *counts.entry(node.reason).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

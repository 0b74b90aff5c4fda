//! Problems with the settings of `validate` that show without running anything.

use crate::source::{Span, Spanned};
use crate::stage::problems::{Problems, Range};
use crate::stage::{CheckContext, FromRef, Problem};
use crate::tensor::TensorSpec;
use crate::times::FEWEST_BLOCKS;

use super::settings::{Compare, Latency, Limits, Validate};

impl Problems {
    fn compare(&mut self, compare: &Compare, place: Span, outputs: Option<&[TensorSpec]>) {
        let common = compare.common();
        self.limits(&common);
        if common.set().next().is_none()
            && compare.outputs.values().all(|limits| limits.set().next().is_none())
        {
            let help = "set for example `compare: { max_relative_error: 0.01 }`";
            self.add("validate::no_limit", "`compare` sets no limit", place, help);
        }
        for (name, limits) in &compare.outputs {
            self.limits(limits);
            let span = limits.set().next().map_or(place, |(_, limit)| limit.span);
            self.name(name, span, outputs);
        }
    }

    fn limits(&mut self, limits: &Limits) {
        for (name, limit) in limits.set() {
            let range = match name {
                "cosine" => Range::Cosine,
                "snr_db" => Range::Any,
                _ => Range::NotNegative,
            };
            self.limit(name, Some(limit), range);
        }
        self.limit("floor", limits.floor.as_ref(), Range::NotNegative);
    }

    fn latency(&mut self, latency: &Latency, from: &Spanned<FromRef>) {
        self.count("latency.batch", &latency.batch);
        self.count("latency.runs", &latency.runs);
        for (name, _, limit) in latency.percentiles() {
            self.limit(name, Some(limit), Range::Above0);
        }
        self.limit("min_throughput", latency.min_throughput.as_ref(), Range::Above0);
        if !latency.sets_limit() {
            let help =
                "set `p50_ms`, `p95_ms`, `p99_ms`, `min_throughput` or `at_least_as_fast_as`";
            self.add("validate::no_limit", "`latency` sets no limit", from.span, help);
        }
        let Some(other) = &latency.at_least_as_fast_as else { return };
        if other == from {
            let message = "`at_least_as_fast_as` names what is tested itself";
            let help = "name the stage of the engine that it replaces";
            self.add("validate::same_engine", message, other.span, help);
        }
        if (1..FEWEST_BLOCKS).contains(&latency.runs.value) {
            let message = format!(
                "`latency.runs` is {}, `at_least_as_fast_as` needs {FEWEST_BLOCKS} or more to tell \
                 a difference from noise",
                latency.runs
            );
            self.add("validate::runs", message, latency.runs.span, "leave it at 100");
        }
    }
}

/// Everything wrong with the settings.
pub(super) fn problems(validate: &Validate, cx: &CheckContext<'_>) -> Vec<Problem> {
    let mut problems = Problems::default();
    let outputs = cx.model.map(|model| model.outputs.as_slice());
    let place = validate.from.span;
    problems.count("batch", &validate.batch);
    for (name, raw) in &validate.raw {
        if raw.sample_bytes().is_none() {
            let message = format!("raw array `{name}` has samples without bytes, or too many");
            problems.add("validate::raw_shape", message, raw.shape.span, "");
        }
    }
    if validate.compare.is_none() && validate.accuracy.is_none() && validate.latency.is_none() {
        let help = "add `compare`, `accuracy` or `latency`";
        problems.add("validate::no_gate", "nothing is validated", place, help);
    }
    if let Some(compare) = &validate.compare {
        if validate.reference.is_none() {
            let help = "add `reference:` with a model's stage or recorded outputs";
            let message = "`compare` needs a `reference`";
            problems.add("validate::no_reference", message, place, help);
        }
        problems.compare(compare, place, outputs);
    }
    if let Some(accuracy) = &validate.accuracy {
        problems.accuracy(accuracy, validate.reference.is_some(), outputs);
    }
    if let Some(latency) = &validate.latency {
        problems.latency(latency, &validate.from);
    }
    problems.found
}

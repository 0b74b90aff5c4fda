//! Problems with the settings of `validate` that show without running anything.

use crate::source::{Span, Spanned};
use crate::stage::{CheckContext, FromRef, Problem};
use crate::suggest::did_you_mean;
use crate::tensor::TensorSpec;
use crate::times::FEWEST_BLOCKS;

use super::settings::{Accuracy, Compare, Latency, Limits, Validate};

/// What a limit may be.
#[derive(Clone, Copy)]
enum Range {
    NotNegative,
    Above0,
    Fraction,
    Cosine,
    Any,
}

impl Range {
    fn text(self) -> &'static str {
        match self {
            Self::NotNegative => "a number from 0",
            Self::Above0 => "a number above 0",
            Self::Fraction => "a fraction from 0 to 1",
            Self::Cosine => "a number from -1 to 1",
            Self::Any => "a number",
        }
    }

    fn contains(self, value: f64) -> bool {
        value.is_finite()
            && match self {
                Self::NotNegative => value >= 0.0,
                Self::Above0 => value > 0.0,
                Self::Fraction => (0.0..=1.0).contains(&value),
                Self::Cosine => (-1.0..=1.0).contains(&value),
                Self::Any => true,
            }
    }
}

fn problem(code: &'static str, message: String, span: Span, help: Option<String>) -> Problem {
    Problem { code, message, span, label: "here".into(), help }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, code: &'static str, message: impl Into<String>, span: Span, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.0.push(problem(code, message.into(), span, help));
    }

    fn limit(&mut self, name: &str, limit: Option<&Spanned<f64>>, range: Range) {
        if let Some(limit) = limit
            && !range.contains(limit.value)
        {
            let message = format!("`{name}` is {limit}, expected {}", range.text());
            let help = match range {
                Range::Fraction if limit.value > 1.0 && limit.value <= 100.0 => {
                    format!("write {} % as {}", limit.value, limit.value / 100.0)
                }
                _ => String::new(),
            };
            self.add("validate::limit", message, limit.span, &help);
        }
    }

    fn count(&mut self, name: &str, count: &Spanned<usize>) {
        if count.value == 0 {
            self.add("validate::count", format!("`{name}` is 0"), count.span, "");
        }
    }

    fn name(&mut self, name: &str, span: Span, outputs: Option<&[TensorSpec]>) {
        let Some(outputs) = outputs else { return };
        let names = outputs.iter().map(|output| output.name.as_str());
        if !names.clone().any(|output| output == name) {
            let help = did_you_mean(name, names, "outputs");
            self.add("validate::output", format!("the model has no output `{name}`"), span, &help);
        }
    }

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

    fn accuracy(&mut self, accuracy: &Accuracy, has_reference: bool) {
        self.limit("at_least", accuracy.at_least.as_ref(), Range::Fraction);
        self.limit("max_drop", accuracy.max_drop.as_ref(), Range::Fraction);
        match (&accuracy.at_least, &accuracy.max_drop) {
            (None, None) => {
                let help = "set `at_least`, or `max_drop` together with `reference`";
                let message = "`accuracy` sets no limit";
                self.add("validate::no_limit", message, accuracy.labels.span, help);
            }
            (_, Some(drop)) if !has_reference => {
                let message = "`max_drop` needs a `reference` to drop from";
                self.add("validate::no_reference", message, drop.span, "add `reference:`");
            }
            _ => {}
        }
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
        problems.accuracy(accuracy, validate.reference.is_some());
        match (&accuracy.output, outputs) {
            (Some(name), _) => problems.name(name, name.span, outputs),
            (None, Some(outputs)) if outputs.len() > 1 => {
                let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
                let help = format!("add `output:` with one of: {}", names.join(", "));
                let message = "the model has several outputs, which has the scores?";
                problems.add("validate::output", message, accuracy.labels.span, &help);
            }
            _ => {}
        }
    }
    if let Some(latency) = &validate.latency {
        problems.latency(latency, &validate.from);
    }
    problems.0
}

//! Which nodes keep float32 for what they are: by what the user says, the operator, the standard,
//! their weights and the values observed in them.

use std::collections::BTreeMap;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::onnx::error::OnnxError;
use crate::onnx::patterns::NodePatterns;
use crate::onnx::walk;

use super::half::{Fit, Half};
use super::reason::Reason;
use super::table::{self, Class};
use super::view::{Step, View};
use super::{Observed, Settings};

/// What is settled about a node before its neighbours are looked at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It stays as it is.
    Keep(Reason),
    /// It may be of 16 bits.
    May(Class),
}

/// More of a weight than this may not lose digits.
const MOST_SMALL: f64 = 0.1;

/// How far below its end a range must be left by what was observed: other data goes further.
const HEADROOM: f64 = 2.0;

/// What is settled about each node.
pub(super) fn verdicts(
    view: &View<'_>,
    settings: &Settings<'_>,
) -> Result<Vec<Verdict>, OnnxError> {
    let fits = fits(view)?;
    let judge = Judge { view, patterns: settings.keep, observed: settings.observed, fits };
    Ok(view.steps.iter().map(|step| judge.verdict(step)).collect())
}

/// How the constants fare that some node could read in 16 bits.
fn fits<'m>(view: &View<'m>) -> Result<BTreeMap<&'m str, Fit>, OnnxError> {
    let names = view.steps.iter().flat_map(Step::low_inputs);
    let read: BTreeMap<&str, _> =
        names.filter_map(|name| Some((name, *view.constants.get(name)?))).collect();
    read.into_par_iter()
        .map(|(name, tensor)| {
            let values = view.model.values(tensor)?;
            Ok((name, Fit::of(values.as_slice::<f32>().unwrap_or_default(), view.half)))
        })
        .collect()
}

struct Judge<'v, 'm> {
    view: &'v View<'m>,
    patterns: &'v NodePatterns,
    observed: Option<&'v Observed>,
    fits: BTreeMap<&'m str, Fit>,
}

impl Judge<'_, '_> {
    fn verdict(&self, step: &Step<'_>) -> Verdict {
        // Of a function nothing is known: it could have one.
        if !step.has_float && step.typing.is_some() {
            return Verdict::Keep(Reason::NoFloat);
        }
        let first = self.requested(step).or_else(|| self.structure(step));
        if let Some(reason) = first {
            return Verdict::Keep(reason);
        }
        let class = match table::class(step.node) {
            Class::Range(why) => return Verdict::Keep(Reason::Range(why)),
            Class::Cast => return Verdict::Keep(Reason::Cast),
            class => class,
        };
        let scale = step.node.input.get(1).filter(|_| self.quantizes(step));
        if scale.is_some_and(|scale| !self.view.constants.contains_key(scale.as_str())) {
            return Verdict::Keep(Reason::Range(table::QUANTIZATION));
        }
        let is_made_here = step.node.op_type() == "ConstantOfShape";
        if step.lowerable.is_empty() && !is_made_here {
            let reads = step.node.input.iter().any(|name| self.view.is_float(name));
            return Verdict::Keep(if reads {
                Reason::NoSuchType(self.view.half)
            } else {
                Reason::Given
            });
        }
        match self.weights(step).or_else(|| self.activations(step)) {
            Some(reason) => Verdict::Keep(reason),
            None => Verdict::May(class),
        }
    }

    fn quantizes(&self, step: &Step<'_>) -> bool {
        self.view.is_quantize(step) || self.view.is_dequantize(step)
    }

    fn requested(&self, step: &Step<'_>) -> Option<Reason> {
        self.patterns.find(step.node).map(|pattern| Reason::Requested(pattern.to_owned()))
    }

    fn structure(&self, step: &Step<'_>) -> Option<Reason> {
        let node = step.node;
        if walk::subgraphs(node).next().is_some() {
            return Some(Reason::Bodies);
        }
        if step.typing.is_none() {
            return Some(Reason::Foreign);
        }
        let mut names = node.input.iter().chain(&node.output).filter(|name| !name.is_empty());
        let unknown = names.find(|name| self.view.types.get(name).is_none())?;
        Some(Reason::UnknownType(unknown.clone()))
    }

    fn weights(&self, step: &Step<'_>) -> Option<Reason> {
        let half = self.view.half;
        let found = step.low_inputs().filter_map(|name| Some((name, self.fits.get(name)?)));
        let filled = self.filled_with(step);
        let found: Vec<(&str, &Fit)> =
            found.chain(filled.as_ref().map(|fit| ("value", fit))).collect();
        let overflow = found.iter().find_map(|(name, fit)| {
            let (tensor, value) = ((*name).to_owned(), fit.overflow?);
            Some(Reason::WeightOverflow { tensor, value, half })
        });
        let zero_scale = || {
            let scale = step.node.input.get(1).filter(|_| self.quantizes(step))?;
            let (half, value) = (self.view.half, self.fits.get(scale.as_str())?.vanishes?);
            Some(Reason::ZeroScale { tensor: scale.clone(), value, half })
        };
        overflow.or_else(zero_scale).or_else(|| {
            let (name, fit) = found.iter().find(|(_, fit)| fit.small > MOST_SMALL)?;
            let (tensor, share) = ((*name).to_owned(), fit.small);
            Some(Reason::WeightUnderflow { tensor, share, half })
        })
    }

    /// How the value fares that a `ConstantOfShape` repeats.
    fn filled_with(&self, step: &Step<'_>) -> Option<Fit> {
        let value = step.node.attribute.iter().find_map(|attribute| attribute.t.as_ref())?;
        let value = self.view.model.values(value).ok()?;
        Some(Fit::of(value.as_slice::<f32>()?, self.view.half))
    }

    fn activations(&self, step: &Step<'_>) -> Option<Reason> {
        let observed = self.observed?;
        let lowered = step.node.output.iter().zip(&step.lowered);
        let outputs = lowered.filter(|(_, low)| **low).map(|(name, _)| name.as_str());
        let names = self.view.variables(step).chain(outputs);
        let found: Vec<(&str, f64)> =
            names.filter_map(|name| Some((name, *observed.get(name)?))).collect();
        let half = self.view.half;
        let large = found.iter().find(|(_, value)| !fits_in(*value, half));
        if let Some((name, value)) = large {
            let (tensor, value) = ((*name).to_owned(), *value);
            return Some(Reason::ActivationOverflow { tensor, value, half });
        }
        let is_small = |value: f64| value > 0.0 && value < half.smallest_normal();
        let (name, value) = found.iter().find(|(_, value)| is_small(*value))?;
        let (tensor, value) = ((*name).to_owned(), *value);
        Some(Reason::ActivationUnderflow { tensor, value, half })
    }
}

/// Whether a magnitude leaves room to the end of the range.
pub(super) fn fits_in(magnitude: f64, half: Half) -> bool {
    magnitude <= half.largest() / HEADROOM
}

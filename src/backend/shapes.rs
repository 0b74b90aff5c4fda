//! Which shapes an engine takes: the checks that every backend makes in the same words.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::tensor::{Dim, Shape, TensorSpec};

use super::cuda::host_memory;
use super::{BackendError, Profile};

pub(super) fn misfit(spec: &TensorSpec, shape: &Shape, reason: impl Into<String>) -> BackendError {
    BackendError::Input { input: spec.name.clone(), shape: shape.clone(), reason: reason.into() }
}

/// An input or output was asked for that the engine does not have.
pub(super) fn no_such(role: &str, index: usize, count: usize) -> BackendError {
    BackendError::Run { reason: format!("there is no {role} {index}: the engine has {count}") }
}

/// A run was asked for before an input had a shape.
pub(super) fn not_set(spec: &TensorSpec) -> BackendError {
    BackendError::Run { reason: format!("input `{}` is not set", spec.name) }
}

/// Outputs were asked for where there are none.
pub(super) fn no_results() -> BackendError {
    BackendError::Run {
        reason: "there are no results: the last run failed, or there was none".to_owned(),
    }
}

/// The most bytes that staging memory can have: those of the machine, as far as it tells.
static MOST_BYTES: LazyLock<usize> = LazyLock::new(|| {
    let total = host_memory().and_then(|memory| usize::try_from(memory.total).ok());
    let most = isize::MAX.cast_unsigned() - crate::tensor::ALIGNMENT;
    total.map_or(most, |total| total.min(most))
});

/// Checks the shape of one input alone; gives its bytes.
pub(super) fn accept(
    profiles: &[Profile],
    spec: &TensorSpec,
    shape: &Shape,
) -> Result<usize, BackendError> {
    if !spec.accepts(shape) {
        return Err(misfit(spec, shape, format!("the model takes {}", spec.dims_text())));
    }
    in_some_profile(profiles, spec, shape)?;
    let bytes = shape.checked_bytes(spec.dtype).filter(|&bytes| bytes <= *MOST_BYTES);
    bytes.ok_or_else(|| misfit(spec, shape, "it does not fit in memory"))
}

/// Fails where every profile has a range for this input and none of them takes the shape.
fn in_some_profile(
    profiles: &[Profile],
    spec: &TensorSpec,
    shape: &Shape,
) -> Result<(), BackendError> {
    let ranges: Option<Vec<_>> = profiles.iter().map(|profile| profile.get(&spec.name)).collect();
    match ranges {
        Some(ranges) if !ranges.is_empty() && !ranges.iter().any(|r| r.contains(shape)) => {
            let ranges: Vec<String> =
                ranges.iter().map(|range| format!("{} to {}", range.min, range.max)).collect();
            let reason = format!("the engine was built for {}", ranges.join(", or "));
            Err(misfit(spec, shape, reason))
        }
        _ => Ok(()),
    }
}

/// Fails where two inputs disagree on an axis that the model names.
pub(super) fn agree<'a>(
    inputs: impl IntoIterator<Item = (&'a TensorSpec, &'a Shape)>,
) -> Result<(), BackendError> {
    let mut symbols: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (spec, shape) in inputs {
        for (dim, &extent) in spec.dims.iter().flatten().zip(&shape.0) {
            let Dim::Symbol(symbol) = dim else { continue };
            let (bound, by) = *symbols.entry(symbol).or_insert((extent, &spec.name));
            if bound != extent {
                let reason = format!("`{symbol}` is {extent} here and {bound} in input `{by}`");
                return Err(misfit(spec, shape, reason));
            }
        }
    }
    Ok(())
}

/// Whether a profile takes all shapes together.
pub(super) fn takes<'a>(
    profile: &Profile,
    inputs: impl IntoIterator<Item = (&'a TensorSpec, &'a Shape)>,
) -> bool {
    let fits = |(spec, shape): (&TensorSpec, &Shape)| {
        profile.get(&spec.name).is_none_or(|range| range.contains(shape))
    };
    inputs.into_iter().all(fits)
}

/// No profile takes all shapes together.
pub(super) fn no_profile<'a>(
    inputs: impl IntoIterator<Item = (&'a TensorSpec, &'a Shape)>,
) -> BackendError {
    let shapes = inputs.into_iter().map(|(spec, shape)| format!("{} {shape}", spec.name));
    let shapes = shapes.collect::<Vec<_>>().join(", ");
    BackendError::Run { reason: format!("no profile takes these shapes together: {shapes}") }
}

/// The smallest batch of at least so many samples that a profile takes; `samples` itself where
/// none takes as many.
pub(super) fn batch_in_profiles(profiles: &[Profile], samples: usize) -> usize {
    let fitting = |profile: &Profile| {
        profile.values().try_fold(samples, |batch, range| {
            let (min, max) = (range.min.0.first()?, range.max.0.first()?);
            let batch = batch.max(*min);
            (batch <= *max).then_some(batch)
        })
    };
    profiles.iter().filter_map(fitting).min().unwrap_or(samples)
}

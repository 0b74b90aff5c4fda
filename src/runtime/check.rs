//! [`Interface`]: what a model takes and gives, and whether a request fits, before it waits.

use crate::backend::Profile;
use crate::tensor::{Dim, Shape, TensorSpec};

use super::batch_former::Rules;
use super::{InferError, InferRequest, InputTensor};

#[cfg(test)]
mod tests;

/// An axis of an input.
type Axis = (usize, usize);

/// What a model takes and gives.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) outputs: Vec<TensorSpec>,
    pub(super) profiles: Vec<Profile>,
    /// Most samples in a batch; `None` where axis 0 is nothing special and requests run alone.
    pub(super) max_batch: Option<usize>,
    /// Whether requests of different shapes share a batch.
    pub(super) pad: bool,
    /// Axes that one name makes equal.
    equal: Vec<(Axis, Axis)>,
    /// Axes whose extents requests choose, but for the batch axis.
    open: Vec<Axis>,
    /// By output and axis: the input axis of the same name.
    pub(super) follows: Vec<Vec<Option<Axis>>>,
}

/// What a request that fits needs to wait for its batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// Its samples; 1 where requests run alone.
    pub(super) samples: usize,
    /// Requests may share a batch where these are equal.
    pub(super) shape: Vec<usize>,
}

pub(super) fn wrong(spec: &TensorSpec, reason: String) -> InferError {
    InferError::Input { input: spec.name.clone(), reason }
}

impl Interface {
    pub(super) fn new(
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
        profiles: &[Profile],
        rules: &Rules,
        pad: bool,
    ) -> Self {
        let axes = |specs: &[TensorSpec]| -> Vec<(Axis, Dim)> {
            let axis = |(at, spec): (usize, &TensorSpec)| {
                let dims = spec.dims.clone().unwrap_or_default();
                dims.into_iter().enumerate().map(move |(axis, dim)| ((at, axis), dim))
            };
            specs.iter().enumerate().flat_map(axis).collect()
        };
        let of_inputs = axes(inputs);
        let first = |symbol: &Dim| match symbol {
            Dim::Symbol(_) => of_inputs.iter().find(|(_, dim)| dim == symbol).map(|(at, _)| *at),
            _ => None,
        };
        let is_batch = |axis: usize| rules.max_batch.is_some() && axis == 0;
        let equal = of_inputs.iter().filter_map(|(at, dim)| Some((first(dim)?, *at)));
        let open = of_inputs
            .iter()
            .filter(|((_, axis), dim)| !is_batch(*axis) && !matches!(dim, Dim::Fixed(_)));
        let follows = outputs.iter().map(|output| {
            let dims = output.dims.iter().flatten().enumerate();
            dims.map(|(axis, dim)| first(dim).filter(|_| !is_batch(axis))).collect()
        });
        Self {
            equal: equal.filter(|(one, other)| one != other).collect(),
            open: open.map(|(at, _)| *at).collect(),
            follows: follows.collect(),
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            profiles: profiles.to_vec(),
            max_batch: rules.max_batch,
            pad,
        }
    }

    /// Whether a request fits, and with which others.
    pub(super) fn check(&self, request: &InferRequest) -> Result<Fit, InferError> {
        self.check_counts(request)?;
        for (spec, input) in self.inputs.iter().zip(&request.inputs) {
            check_tensor(spec, input)?;
        }
        let extent = |(input, axis): Axis| request.inputs[input].shape.0[axis];
        for &(one, other) in &self.equal {
            if extent(one) != extent(other) {
                let (by, spec) = (&self.inputs[one.0].name, &self.inputs[other.0]);
                return Err(wrong(
                    spec,
                    format!(
                        "axis {} is {}, and {} in input `{by}`, of the same name `{}`",
                        other.1,
                        extent(other),
                        extent(one),
                        spec.dims.as_ref().map_or_else(String::new, |d| d[other.1].to_string()),
                    ),
                ));
            }
        }
        let samples = self.samples(request)?;
        let profile = self.profile(request)?;
        Ok(Fit { samples, shape: self.shape(request, profile) })
    }

    fn check_counts(&self, request: &InferRequest) -> Result<(), InferError> {
        if request.inputs.len() != self.inputs.len() {
            let names: Vec<_> = self.inputs.iter().map(|spec| format!("`{}`", spec.name)).collect();
            let reason = format!(
                "the request has {} inputs, the model takes {}: {}",
                request.inputs.len(),
                names.len(),
                names.join(", ")
            );
            return Err(InferError::Request { reason });
        }
        let count = self.outputs.len();
        match request.outputs.iter().find(|&&index| index >= count) {
            Some(index) => {
                let reason = format!("there is no output {index}: the model has {count}");
                Err(InferError::Request { reason })
            }
            None => Ok(()),
        }
    }

    /// The samples that a request takes in a batch.
    fn samples(&self, request: &InferRequest) -> Result<usize, InferError> {
        let Some(most) = self.max_batch else { return Ok(1) };
        let mut batches = self.inputs.iter().zip(&request.inputs).map(|(spec, input)| {
            let axis = input.shape.0.first().copied();
            let scalar = || wrong(spec, "it has no batch axis: its shape is []".to_owned());
            Ok::<_, InferError>((spec, axis.ok_or_else(scalar)?))
        });
        let Some((first, samples)) = batches.next().transpose()? else { return Ok(1) };
        for other in batches {
            let (spec, found) = other?;
            if found != samples {
                let reason =
                    format!("its batch is {found}, that of input `{}` is {samples}", first.name);
                return Err(wrong(spec, reason));
            }
        }
        if samples > most {
            let reason = format!("its batch is {samples}, the model takes at most {most}");
            return Err(wrong(first, reason));
        }
        Ok(samples)
    }

    /// The first profile that takes a request, its batch axis aside; 0 where there are none.
    fn profile(&self, request: &InferRequest) -> Result<usize, InferError> {
        let batch_axes = usize::from(self.max_batch.is_some());
        let takes = |profile: &Profile, spec: &TensorSpec, input: &InputTensor| {
            profile.get(&spec.name).is_none_or(|range| {
                let ends = range.min.0.iter().zip(&range.max.0).skip(batch_axes);
                let mut extents = ends.zip(input.shape.0.iter().skip(batch_axes));
                range.min.rank() == input.shape.rank()
                    && extents.all(|((low, high), extent)| (low..=high).contains(&extent))
            })
        };
        let each = || self.inputs.iter().zip(&request.inputs);
        let fitting = |profile: &Profile| each().all(|(spec, input)| takes(profile, spec, input));
        if self.profiles.is_empty() {
            return Ok(0);
        }
        if let Some(at) = self.profiles.iter().position(fitting) {
            return Ok(at);
        }
        for (spec, input) in each() {
            if !self.profiles.iter().any(|profile| takes(profile, spec, input)) {
                let ranges = self.profiles.iter().filter_map(|profile| profile.get(&spec.name));
                let ranges: Vec<_> =
                    ranges.map(|range| format!("{} to {}", range.min, range.max)).collect();
                let (shape, ranges) = (&input.shape, ranges.join(", or "));
                let reason = format!("its shape is {shape}, the engine was built for {ranges}");
                return Err(wrong(spec, reason));
            }
        }
        let shapes: Vec<_> =
            each().map(|(spec, input)| format!("`{}` {}", spec.name, input.shape)).collect();
        let reason = format!("no profile of the engine takes together {}", shapes.join(", "));
        Err(InferError::Request { reason })
    }

    /// What two requests must have in common to share a batch.
    fn shape(&self, request: &InferRequest, profile: usize) -> Vec<usize> {
        let mut shape = Vec::new();
        if self.max_batch.is_none() {
            return shape;
        }
        if self.profiles.len() > 1 {
            shape.push(profile);
        }
        if !self.pad {
            shape
                .extend(self.open.iter().map(|&(input, axis)| request.inputs[input].shape.0[axis]));
        }
        for (spec, input) in self.inputs.iter().zip(&request.inputs) {
            if spec.dims.is_none() {
                shape.push(input.shape.rank());
                shape.extend(input.shape.0.iter().skip(1).filter(|_| !self.pad));
            }
        }
        shape
    }
}

fn check_tensor(spec: &TensorSpec, input: &InputTensor) -> Result<(), InferError> {
    let shape: &Shape = &input.shape;
    if !spec.accepts(shape) {
        let takes = spec.dims_text();
        return Err(wrong(spec, format!("its shape is {shape}, the model takes {takes}")));
    }
    if let Some(axis) = shape.0.iter().position(|&extent| extent == 0) {
        let what = if axis == 0 { "its batch is empty" } else { "it is empty" };
        return Err(wrong(spec, format!("{what}: its shape is {shape}")));
    }
    match shape.checked_bytes(spec.dtype) {
        Some(bytes) if bytes == input.bytes.len() => Ok(()),
        Some(bytes) => Err(wrong(
            spec,
            format!("it has {} bytes, a {} {shape} has {bytes}", input.bytes.len(), spec.dtype),
        )),
        None => Err(wrong(spec, format!("a {} of shape {shape} fits in no memory", spec.dtype))),
    }
}

//! [`HostStaging`]: the inputs and outputs of a context that computes in this machine's own memory,
//! with the checks that every such context makes.

use std::borrow::Cow;

use crate::tensor::{AlignedBytes, Shape, TensorSpec};

use super::shapes::{accept, agree, no_profile, no_results, no_such, not_set, takes};
use super::{BackendError, Engine};

/// The bytes of one input or output; memory is kept while the next ones are no larger.
pub(super) struct Staging {
    shape: Shape,
    memory: AlignedBytes,
    len: usize,
}

impl Staging {
    /// Room for so many bytes of this shape, in the memory of what was there before if it is
    /// enough and not far too much.
    fn reusing(before: Option<Self>, shape: Shape, len: usize) -> Self {
        let memory = before.map(|before| before.memory).filter(|memory| {
            let held = memory.as_slice().len();
            len <= held && held / MOST_SURPLUS <= len
        });
        Self { shape, memory: memory.unwrap_or_else(|| AlignedBytes::zeroed(len)), len }
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory.as_slice()[..self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory.as_mut_slice()[..self.len]
    }
}

/// How many times the bytes in use staging memory may be.
const MOST_SURPLUS: usize = 64;

/// The staging memory of one context.
pub(super) struct HostStaging {
    inputs: Vec<Option<Staging>>,
    outputs: Vec<Staging>,
    /// Whether `outputs` are those of the last run.
    has_results: bool,
}

impl HostStaging {
    /// Nothing staged, for an engine of so many inputs.
    pub(super) fn new(inputs: usize) -> Self {
        let inputs = std::iter::repeat_with(|| None).take(inputs).collect();
        Self { inputs, outputs: Vec::new(), has_results: false }
    }

    /// The bytes of input `index` in this shape, to write.
    pub(super) fn input_mut(
        &mut self,
        engine: &dyn Engine,
        index: usize,
        shape: &Shape,
    ) -> Result<&mut [u8], BackendError> {
        let specs = engine.inputs();
        let Some((spec, slot)) = specs.get(index).zip(self.inputs.get_mut(index)) else {
            return Err(no_such("input", index, specs.len()));
        };
        let bytes = accept(engine.profiles(), spec, shape)?;
        let staging = Staging::reusing(slot.take(), shape.clone(), bytes);
        Ok(slot.insert(staging).bytes_mut())
    }

    /// The inputs that are set.
    pub(super) fn staged(&self) -> impl Iterator<Item = &Staging> {
        self.inputs.iter().flatten()
    }

    /// Fails where an input is not set, where two disagree on an axis that the model names, and
    /// where no profile takes them together.
    pub(super) fn check(&self, engine: &dyn Engine) -> Result<(), BackendError> {
        let specs = engine.inputs();
        if let Some((spec, _)) = specs.iter().zip(&self.inputs).find(|(_, input)| input.is_none()) {
            return Err(not_set(spec));
        }
        let inputs = || specs.iter().zip(self.staged().map(Staging::shape));
        agree(inputs())?;
        let profiles = engine.profiles();
        if !profiles.is_empty() && !profiles.iter().any(|profile| takes(profile, inputs())) {
            return Err(no_profile(inputs()));
        }
        Ok(())
    }

    /// From now on there are no results to be read, those of an earlier run neither.
    pub(super) fn forget_results(&mut self) {
        self.has_results = false;
    }

    /// Keeps the results of a run, as `read` gives their shapes and bytes. Fails where one is
    /// missing or is not of the shape that the model declares.
    pub(super) fn keep_results<'a, R>(
        &mut self,
        specs: &[TensorSpec],
        results: &'a [R],
        read: impl Fn(&TensorSpec, &'a R) -> Result<(Shape, Cow<'a, [u8]>), String>,
    ) -> Result<(), BackendError> {
        if results.len() != specs.len() {
            return Err(BackendError::Run {
                reason: format!("{} results for {} outputs", results.len(), specs.len()),
            });
        }
        let mut previous = std::mem::take(&mut self.outputs).into_iter();
        let mut outputs = Vec::with_capacity(specs.len());
        for (spec, result) in specs.iter().zip(results) {
            let wrong =
                |reason| BackendError::Run { reason: format!("output `{}`: {reason}", spec.name) };
            let (shape, bytes) = read(spec, result).map_err(wrong)?;
            if !spec.accepts(&shape) {
                return Err(wrong(format!(
                    "the model declares shape {}, the result has {shape}",
                    spec.dims_text()
                )));
            }
            let mut staging = Staging::reusing(previous.next(), shape, bytes.len());
            staging.bytes_mut().copy_from_slice(&bytes);
            outputs.push(staging);
        }
        self.outputs = outputs;
        self.has_results = true;
        Ok(())
    }

    /// Shape and bytes of output `index` of the last run.
    pub(super) fn output(
        &self,
        engine: &dyn Engine,
        index: usize,
    ) -> Result<(&Shape, &[u8]), BackendError> {
        let count = engine.outputs().len();
        if index >= count {
            return Err(no_such("output", index, count));
        }
        let results = if self.has_results { self.outputs.as_slice() } else { &[] };
        let staging = results.get(index).ok_or_else(no_results)?;
        Ok((&staging.shape, staging.bytes()))
    }
}

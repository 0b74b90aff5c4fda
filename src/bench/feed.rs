//! What is run: a tensor for each input, from a data file or made up.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backend::{BackendError, Engine, EngineManifest, ExecutionContext, Profile};
use crate::data::{self, Column, Dataset};
use crate::tensor::{DType, Shape, Tensor, TensorError, TensorSpec};

use super::shapes::{Choice, Chosen};
use super::{BenchError, InputReport};

/// Which inputs to run.
#[derive(Debug, Clone, Copy)]
pub struct InputChoice<'a> {
    /// Shapes by input; the others are those of the data, of the profile, or the smallest.
    pub shapes: &'a BTreeMap<String, Shape>,
    /// The profile to take shapes from, and to hold them to.
    pub profile: Option<usize>,
    /// Samples of each run, for inputs whose shape is not given.
    pub batch: Option<usize>,
    /// Samples; without them, inputs are random.
    pub data: Option<&'a Dataset>,
}

/// A tensor for each input of an engine.
pub(super) struct Feed {
    pub(super) chosen: Chosen,
    tensors: Vec<Tensor>,
    /// The values of inputs that hold shapes, where the profile gave them.
    values: Profile,
}

impl Feed {
    /// The inputs of an engine with this manifest.
    pub(super) fn new(
        engine: &dyn Engine,
        manifest: &EngineManifest,
        choice: InputChoice<'_>,
    ) -> Result<Self, BenchError> {
        let inputs = engine.inputs();
        let data = choice.data.map(|data| arrays(data, inputs)).transpose()?;
        let chosen = Choice {
            inputs,
            profiles: engine.profiles(),
            asked: choice.shapes,
            profile: choice.profile,
            batch: choice.batch,
            arrays: data.as_ref().map(|(_, arrays)| arrays.as_slice()),
        }
        .resolve()?;
        let values = match (&data, &manifest.tensorrt) {
            (None, Some(facts)) => facts.shape_values.get(choice.profile.unwrap_or(0)).cloned(),
            _ => None,
        };
        let values = values.unwrap_or_default();
        let tensor = |(at, (input, shape)): (usize, (&TensorSpec, &Shape))| match (
            &data,
            values.get(&input.name),
        ) {
            (Some((data, arrays)), _) => rows(data, arrays[at], 0, shape),
            (None, Some(range)) => Ok(of_values(input.dtype, shape, &range.opt)?),
            (None, None) => Ok(data::random(&input.name, input.dtype, shape.clone())?),
        };
        let each = inputs.iter().zip(&chosen.shapes).enumerate();
        let tensors = each.map(tensor).collect::<Result<_, BenchError>>()?;
        Ok(Self { chosen, tensors, values })
    }

    /// A context of the engine with these inputs in its staging memory.
    pub(super) fn context(
        &self,
        engine: &Arc<dyn Engine>,
    ) -> Result<Box<dyn ExecutionContext>, BackendError> {
        let mut context = Arc::clone(engine).new_context()?;
        for (index, (input, tensor)) in engine.inputs().iter().zip(&self.tensors).enumerate() {
            context.fill(index, &input.name, tensor)?;
        }
        Ok(context)
    }

    /// What goes in, for the report.
    pub(super) fn describe(&self, inputs: &[TensorSpec]) -> Vec<InputReport> {
        let each = inputs.iter().zip(&self.chosen.shapes);
        each.map(|(input, shape)| InputReport {
            name: input.name.clone(),
            dtype: input.dtype,
            shape: shape.clone(),
            values: self.values.get(&input.name).map(|range| range.opt.clone()),
        })
        .collect()
    }

    /// The number of samples in one run, where axis 0 of every input counts the same.
    pub(super) fn samples(&self) -> Option<usize> {
        let mut counts = self.chosen.shapes.iter().map(|shape| shape.0.first().copied());
        let first = counts.next()??;
        counts.all(|count| count == Some(first)).then_some(first)
    }
}

/// A data set with its array for each input.
pub(super) type Samples<'a> = (&'a Dataset, Vec<Column<'a>>);

pub(super) fn arrays<'a>(
    data: &'a Dataset,
    inputs: &[TensorSpec],
) -> Result<Samples<'a>, BenchError> {
    let arrays = data.columns_for(inputs)?;
    data.common_samples(&arrays)?;
    Ok((data, arrays))
}

/// A tensor of integers that stand for extents.
fn of_values(dtype: DType, shape: &Shape, values: &Shape) -> Result<Tensor, TensorError> {
    let wide = values.0.iter().map(|&value| value as u64);
    let bytes: Vec<u8> =
        wide.flat_map(|value| value.to_le_bytes().into_iter().take(dtype.size())).collect();
    Tensor::from_bytes(dtype, shape.clone(), &bytes)
}

/// The samples from `start`, as many as the shape has.
pub(super) fn rows(
    data: &Dataset,
    array: Column<'_>,
    start: usize,
    shape: &Shape,
) -> Result<Tensor, BenchError> {
    let count = shape.0.first().copied().unwrap_or(0);
    let tensor = array.rows(start, start.saturating_add(count))?;
    if tensor.shape() == shape {
        return Ok(tensor);
    }
    Err(BenchError::OtherData {
        path: data.path().to_owned(),
        input: array.name().to_owned(),
        found: array.shape().clone(),
        asked: shape.clone(),
    })
}

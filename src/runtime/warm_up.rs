//! [`warm_up`]: every context runs every batch size it may be asked for before the model takes
//! requests, so that none of them waits for what an engine prepares at its first run.
//!
//! An engine that cannot run, or whose outputs do not go with its inputs, is found here.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use indexmap::IndexMap;

use crate::backend::BackendError;
use crate::data::{self, Dataset};
use crate::deployment::WarmupConfig;
use crate::tensor::{Dim, Shape, Tensor, TensorSpec};

use super::batch::Runner;
use super::batch_former::Rules;
use super::check::Interface;
use super::context_pool::{ContextPool, Lease};
use super::{InferError, InferRequest, InputTensor};

/// Up to so many samples, all sizes are run; of larger batches the powers of two, the preferred
/// sizes and the largest.
const ALL_SIZES: usize = 64;

/// What a model is warmed up with.
pub(super) struct WarmUp<'a> {
    pub(super) interface: &'a Interface,
    pub(super) rules: &'a Rules,
    pub(super) config: &'a WarmupConfig,
    /// The deployment's folder, with the data that the configuration names.
    pub(super) folder: &'a Path,
}

impl WarmUp<'_> {
    /// Runs every context of the pool. A device that is lost meanwhile is an error only where none
    /// is left.
    pub(super) fn run(&self, pool: &ContextPool) -> Result<(), InferError> {
        if self.config.iterations == 0 {
            return Ok(());
        }
        let data = self.config.data.as_ref().map(|file| self.open(file)).transpose()?;
        for mut lease in pool.lease_all()? {
            match self.run_context(&mut lease, data.as_ref()) {
                // It has left the pool, so its contexts will run nothing.
                Err(InferError::Backend(BackendError::DeviceLost { .. }))
                    if pool.end().is_none() => {}
                Ok(false) => {
                    let open = self.interface.inputs.iter().map(ToString::to_string);
                    let inputs = open.collect::<Vec<_>>().join(", ");
                    tracing::info!(
                        inputs,
                        "not warmed up: the shapes of inputs are open; give `serve.warmup.data`"
                    );
                    break;
                }
                Ok(true) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Runs every size; `false` where nothing says of which shapes.
    fn run_context(
        &self,
        lease: &mut Lease<'_>,
        data: Option<&Dataset>,
    ) -> Result<bool, InferError> {
        for size in self.sizes(lease) {
            let Some(request) = self.request(size, data)? else { return Ok(false) };
            self.run_size(lease, size, &request)?;
        }
        Ok(true)
    }

    fn run_size(
        &self,
        lease: &mut Lease<'_>,
        size: usize,
        request: &InferRequest,
    ) -> Result<(), InferError> {
        let runner = Runner { interface: self.interface, size };
        for _ in 0..self.config.iterations {
            let ran = lease.using(|context| runner.run(context, &[(request, size)]));
            ran.map_err(|error| match error {
                lost @ BackendError::DeviceLost { .. } => lost,
                error => BackendError::Run {
                    reason: format!("warming up with a batch of {size}: {error}"),
                },
            })?;
        }
        Ok(())
    }

    /// The batches that may be run, ascending.
    fn sizes(&self, lease: &Lease<'_>) -> BTreeSet<usize> {
        let Some(most) = self.interface.max_batch else { return BTreeSet::from([1]) };
        let powers = std::iter::successors(Some(1_usize), |size| size.checked_mul(2));
        let asked: BTreeSet<usize> = if most <= ALL_SIZES {
            (1..=most).collect()
        } else {
            let preferred = self.rules.preferred.iter().copied();
            powers.take_while(|size| *size < most).chain(preferred).chain([most]).collect()
        };
        asked.into_iter().map(|samples| lease.batch_for(samples, most)).collect()
    }

    fn open(&self, file: &str) -> Result<Dataset, InferError> {
        Dataset::open(&self.folder.join(file), &IndexMap::new()).map_err(unusable)
    }

    /// A request of `size` samples; `None` where nothing says of which shape.
    fn request(
        &self,
        size: usize,
        data: Option<&Dataset>,
    ) -> Result<Option<InferRequest>, InferError> {
        let inputs = match data {
            Some(data) => Some(self.samples(size, data)?),
            None => self.random(size)?,
        };
        let outputs = (0..self.interface.outputs.len()).collect();
        let of = |inputs| InferRequest { inputs, outputs, priority: None, deadline: None };
        Ok(inputs.map(of))
    }

    /// The first samples of the data, over and over where it has too few.
    fn samples(&self, size: usize, data: &Dataset) -> Result<Vec<InputTensor>, InferError> {
        let arrays = data.columns_for(&self.interface.inputs).map_err(unusable)?;
        let tensor = |(array, spec): (data::Column<'_>, &TensorSpec)| {
            let rows = match spec.dims.as_ref().and_then(|dims| dims.first()) {
                Some(Dim::Fixed(extent)) => *extent,
                _ => size,
            };
            let mut bytes = Vec::new();
            let mut shape = array.shape().clone();
            shape.0[0] = rows;
            let mut missing = rows;
            while missing > 0 {
                let some = array.rows(0, missing).map_err(unusable)?;
                bytes.extend_from_slice(some.bytes());
                missing -= array.samples().min(missing);
            }
            Ok(InputTensor { shape, bytes: bytes.into() })
        };
        arrays.into_iter().zip(&self.interface.inputs).map(tensor).collect()
    }

    fn random(&self, size: usize) -> Result<Option<Vec<InputTensor>>, InferError> {
        let Some(shapes) = self.shapes(size) else { return Ok(None) };
        let tensor = |(spec, shape): (&TensorSpec, Shape)| {
            let tensor: Tensor =
                data::random(&spec.name, spec.dtype, shape.clone()).map_err(|error| {
                    BackendError::Run {
                        reason: format!("warming up with a batch of {size}: {error}"),
                    }
                })?;
            Ok(InputTensor { shape, bytes: Bytes::copy_from_slice(tensor.bytes()) })
        };
        self.interface.inputs.iter().zip(shapes).map(tensor).collect::<Result<_, _>>().map(Some)
    }

    /// The usual shapes of a profile; without profiles, those whose axes are all fixed but for
    /// that of the batch.
    fn shapes(&self, size: usize) -> Option<Vec<Shape>> {
        let usual = self.interface.profiles.first();
        let shape = |spec: &TensorSpec| {
            let usual = usual.and_then(|profile| profile.get(&spec.name));
            let mut shape =
                usual.map_or_else(|| fixed(spec, size), |range| Some(range.opt.clone()))?;
            if let Some(batch) = shape.0.first_mut().filter(|_| self.interface.max_batch.is_some())
            {
                *batch = size;
            }
            Some(shape)
        };
        self.interface.inputs.iter().map(shape).collect()
    }
}

/// The shape of an input whose axes are fixed, but for the first, which is `first` then.
fn fixed(spec: &TensorSpec, first: usize) -> Option<Shape> {
    let extent = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Fixed(extent) => Some(*extent),
        Dim::Symbol(_) | Dim::Any => (axis == 0).then_some(first),
    };
    Some(Shape(spec.dims.as_ref()?.iter().enumerate().map(extent).collect::<Option<_>>()?))
}

fn unusable(error: impl std::error::Error) -> InferError {
    InferError::Backend(BackendError::Setting {
        setting: "serve.warmup.data".to_owned(),
        reason: error.to_string(),
        help: "name a data file that has an array for every input".to_owned(),
    })
}

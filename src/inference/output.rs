//! [`Inference`]: what came of a request: its outputs and where the time went.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::runtime::{InferError, OutputTensor, PhaseTimes};
use crate::tensor::{DType, Shape, Tensor, TensorError, TensorSpec, to_f64};

use super::element::{Element, WrongType};
use super::key::{self, TensorKey};

/// Where the time of a request went. On a GPU, `upload`, `compute` and `download` may be those of an
/// earlier run with the same shapes: to measure every run would make each slower.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// Waiting for an execution context, and for others to share a batch with.
    pub queue: Duration,
    /// Copies into staging memory and to the device.
    pub upload: Duration,
    /// Execution.
    pub compute: Duration,
    /// Copies from the device and out of staging memory.
    pub download: Duration,
    /// From the call to its result, by the clock of the caller.
    pub total: Duration,
}

impl Latency {
    pub(super) fn new(times: PhaseTimes, total: Duration) -> Self {
        let PhaseTimes { queue, upload, compute, download } = times;
        Self { queue, upload, compute, download, total }
    }
}

/// The answer to a request.
#[derive(Clone)]
pub struct Inference {
    specs: Arc<[TensorSpec]>,
    outputs: Vec<OutputTensor>,
    latency: Latency,
    batch: usize,
}

impl Inference {
    /// `outputs` are all of them, in order.
    pub(super) fn new(
        specs: &Arc<[TensorSpec]>,
        outputs: Vec<OutputTensor>,
        latency: Latency,
        batch: usize,
    ) -> Self {
        Self { specs: Arc::clone(specs), outputs, latency, batch }
    }

    /// The outputs, in the model's order.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = Output<'_>> {
        self.specs.iter().zip(&self.outputs).map(|(spec, output)| Output {
            spec,
            shape: &output.shape,
            bytes: &output.bytes,
        })
    }

    /// An output, by its place or its name; an error names those there are.
    pub fn output(&self, key: impl TensorKey) -> Result<Output<'_>, InferError> {
        let at = key::find("output", &self.specs, key)?;
        let output = self.outputs().nth(at);
        output.ok_or_else(|| key::unknown("output", &self.specs, &key.to_string()))
    }

    /// Where the time went.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// Samples of the batch it ran in, those of other requests included; 1 without a batcher.
    pub fn batch(&self) -> usize {
        self.batch
    }
}

impl fmt::Debug for Inference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outputs: Vec<_> = self.outputs().collect();
        let mut debug = f.debug_struct("Inference");
        debug.field("outputs", &outputs).field("latency", &self.latency).finish()
    }
}

/// The value of an output, borrowed from where it is: row-major and little-endian.
#[derive(Clone, Copy)]
pub struct Output<'a> {
    pub(super) spec: &'a TensorSpec,
    pub(super) shape: &'a Shape,
    pub(super) bytes: &'a [u8],
}

impl<'a> Output<'a> {
    /// Its name in the model.
    pub fn name(&self) -> &'a str {
        &self.spec.name
    }

    /// Its element type.
    pub fn dtype(&self) -> DType {
        self.spec.dtype
    }

    /// Its extents.
    pub fn shape(&self) -> &'a Shape {
        self.shape
    }

    /// Its elements, as they are.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its elements as values of their own type; copied only where they are not aligned for it.
    pub fn values<T: Element>(&self) -> Result<Cow<'a, [T]>, WrongType> {
        if T::DTYPE != self.dtype() {
            let name = self.name().to_owned();
            return Err(WrongType { name, has: self.dtype(), asked: T::DTYPE });
        }
        Ok(match bytemuck::try_cast_slice(self.bytes) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => {
                let elements = self.bytes.chunks_exact(size_of::<T>());
                Cow::Owned(elements.map(bytemuck::pod_read_unaligned).collect())
            }
        })
    }

    /// Every element as a float64; 64-bit integers past 2^53 round.
    pub fn to_f64(&self) -> Vec<f64> {
        to_f64(self.dtype(), self.bytes)
    }

    /// A copy with memory of its own.
    pub fn to_tensor(&self) -> Result<Tensor, TensorError> {
        Tensor::from_bytes(self.dtype(), self.shape.clone(), self.bytes)
    }
}

impl fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name(), self.dtype(), self.shape)
    }
}

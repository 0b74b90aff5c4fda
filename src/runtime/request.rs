//! [`InferRequest`] and [`InferResponse`]: one inference, in the model's own terms.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::tensor::Shape;

/// What to compute: a value for every input, the outputs wanted, and how long it may wait.
#[derive(Debug, Clone)]
pub struct InferRequest {
    /// One per input of the model, in its order.
    pub inputs: Vec<InputTensor>,
    /// The outputs to return, as indices into the model's, in the order wanted.
    pub outputs: Vec<usize>,
    /// The priority level, 1 being the most urgent; `None` for the model's default.
    pub priority: Option<u32>,
    /// When it need not run any more; `None` for the model's timeout.
    pub deadline: Option<Instant>,
}

/// The value of an input. The bytes are those that came from the client: row-major,
/// little-endian, of any alignment.
#[derive(Debug, Clone)]
pub struct InputTensor {
    /// Its extents, the batch axis first where the model is batched.
    pub shape: Shape,
    /// Its elements.
    pub bytes: Bytes,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct InferResponse {
    /// The outputs asked for, in that order.
    pub outputs: Vec<OutputTensor>,
    /// Where the time went.
    pub times: PhaseTimes,
    /// Samples of the batch it ran in, those of other requests included.
    pub batch: usize,
}

/// The value of an output, row-major and little-endian.
#[derive(Debug, Clone)]
pub struct OutputTensor {
    /// Which of the model's outputs.
    pub index: usize,
    /// Its extents.
    pub shape: Shape,
    /// Its elements.
    pub bytes: Bytes,
}

/// Durations of the parts of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhaseTimes {
    /// From being submitted to the start of its batch.
    pub queue: Duration,
    /// Copies into the batch and to the device.
    pub upload: Duration,
    /// Execution.
    pub compute: Duration,
    /// Copies from the device and out of the batch.
    pub download: Duration,
}

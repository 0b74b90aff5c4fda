//! Loaded models: requests wait in a bounded queue, are joined into batches, run on leased
//! execution contexts, and are answered; versions of a model follow each other without a request
//! seeing both.
//!
//! Knows nothing of HTTP, YAML, CUDA graphs or streams (they live inside a context).

mod batch;
mod batch_former;
mod batcher;
mod check;
mod context_pool;
mod copies;
mod device;
mod error;
mod model;
mod pending;
mod placement;
mod queue;
mod reach;
mod registry;
mod reload;
mod request;
mod session;
mod slot;
mod smoothed;
mod statistics;
mod status;
mod turnstile;
mod warm_up;

/// Engines for the tests of whoever serves them.
#[cfg(test)]
pub(crate) use crate::backend::fake;
pub use device::{DeviceLoss, DeviceStatus};
pub use error::{ErrorKind, InferError};
pub use model::Model;
pub use pending::Pending;
pub use placement::{
    DeviceLoad, LeastOutstanding, MemoryAware, Placement, Random, RoundRobin, Utilization,
};
pub use registry::{Candidate, ModelRegistry};
pub use reload::{Gate, Outcome, ReloadError, ReloadRecord, Samples};
pub use request::{InferRequest, InferResponse, InputTensor, OutputTensor, PhaseTimes};
pub use session::Session;
pub use statistics::{BatchTotals, Distribution, Phase, Snapshot, Statistics, Total, Window};
pub use status::{Applied, ModelState, ModelStatus, ReloadCounts, VersionState, VersionStatus};

//! ONNX models: load, check, describe, rewrite, save.
//!
//! Owns everything that is known of the format. Knows nothing of stages, backends or caches; what
//! must be computed is asked of a [`passes::Evaluator`].

mod batch;
mod check;
mod error;
mod external;
mod extract;
mod file_type;
mod mixing;
mod model;
mod names;
pub mod operators;
mod opset;
pub mod passes;
mod patterns;
pub mod precision;
pub mod proto;
pub mod quantize;
mod save;
mod scan;
mod shapes;
mod signature;
mod summary;
mod tensors;
#[cfg(test)]
mod tests;
mod types;
mod walk;

pub use batch::{BatchProblem, BatchSize};
pub use check::{Defect, NodeName};
pub use error::{ExternalProblem, OnnxError};
pub use external::{ExternalRef, external_files, external_ref};
pub use extract::ExtractProblem;
pub use file_type::FileType;
pub use model::{Model, locate};
pub use names::node_name;
pub use opset::OpsetProblem;
pub use patterns::NodePatterns;
pub use signature::{ModelSignature, tensor_spec};
pub use summary::Summary;
pub use tensors::{data_type, dtype, from_tensor};
pub use types::ElementTypes;

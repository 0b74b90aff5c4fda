//! Inference from another Rust program: an [`Engine`] is loaded from a folder, and infers.
//!
//! ```
//! use trt_pipeline::inference::{Engine, Input, compile};
//! use trt_pipeline::tensor::Shape;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // An engine is what a `build` stage makes: `Engine::load("build/digits/engine")`. Here is one
//! // for the embedded CPU backend, without a pipeline.
//! let folder = tempfile::tempdir()?;
//! compile("pipelines/digits/model/digits_cnn.onnx", "cpu", &[], folder.path())?;
//! let engine = Engine::builder(folder.path()).instances(2).load()?;
//! assert_eq!(engine.inputs()[0].to_string(), "image float32 [batch,1,8,8]");
//!
//! // Inputs come by position or by name, with the shape of this very call.
//! let (shape, pixels) = (Shape::from([3, 1, 8, 8]), [0.5_f32; 3 * 64]);
//! let result = engine.infer([Input::new(&shape, &pixels)])?;
//! let logits = result.output("logits")?;
//! assert_eq!(logits.shape(), &Shape::from([3, 10]));
//! assert_eq!(logits.values::<f32>()?.len(), 30);
//! assert!(result.latency().compute <= result.latency().total);
//!
//! // Submitted now, awaited later, on any executor; or waited for.
//! let later = engine.infer_async([("image", Input::new(&shape, &pixels))]);
//! assert_eq!(later.wait()?.output(0)?.bytes(), logits.bytes());
//!
//! // What does not fit is a typed error that says what would.
//! let error = engine.infer([Input::new(&shape, &[0_i64; 3 * 64])]).unwrap_err();
//! assert_eq!(error.to_string(), "input `image`: it is int64, the model takes float32");
//! # Ok(())
//! # }
//! ```
//!
//! [`Engine::infer`] runs on the caller's thread: it leases an execution context, copies the inputs
//! into its staging memory, runs, and copies the outputs out. [`Engine::session`] keeps the context
//! and gives access to the staging memory itself, for loops that copy nothing. With a [`Batcher`],
//! requests of many threads run together.
//!
//! This module is a face of [`crate::runtime`], which the server stands on too: it names tensors and
//! gives values their types. It must not know protocols, pipelines or backends by name.

mod builder;
mod compile;
mod element;
mod engine;
mod input;
mod key;
mod output;
mod pending;
mod session;
#[cfg(test)]
mod tests;

pub use builder::{Batcher, EngineBuilder};
pub use compile::compile;
pub use element::{Element, WrongType};
pub use engine::Engine;
pub use input::{AsInput, Input, Inputs};
pub use key::TensorKey;
pub use output::{Inference, Latency, Output};
pub use pending::PendingInference;
pub use session::Session;

pub use crate::backend::{EngineMemory, Profile, ShapeRange};
pub use crate::deployment::CudaGraphs;
pub use crate::runtime::{
    DeviceLoad, ErrorKind, InferError, LeastOutstanding, MemoryAware, Placement, Random,
    RoundRobin, Snapshot, Utilization,
};

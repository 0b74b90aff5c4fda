//! From a trained model to a live, gated TensorRT endpoint, out of one YAML file.
//!
//! ```text
//! YAML -spec-> PipelineSpec -plan-> Plan -execute-> Artifacts ... serve stage -> Deployment
//! ```

pub mod artifact;
pub mod backend;
pub mod cli;
pub mod data;
pub mod deployment;
pub mod execute;
pub mod onnx;
pub mod plan;
pub mod source;
pub mod spec;
pub mod stage;
pub mod suggest;
pub mod tensor;

//! Sessions: a model prepared by the library, with intermediate tensors among its outputs where
//! they are asked for.

use std::collections::BTreeSet;
use std::path::Path;

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, TensorElementType, ValueType};
use prost::Message as _;

use crate::backend::contain::contained;
use crate::backend::fault::Fault;
use crate::onnx::Model;
use crate::onnx::proto::{GraphProto, ModelProto, TensorProto, ValueInfoProto};
use crate::process::CancelToken;
use crate::tensor::{DType, TensorSpec};

use super::log;

/// What is loaded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    /// A model file.
    File(&'a Path),
    /// A model that differs from its file, and the folder of its external data.
    Bytes {
        /// The encoded model.
        bytes: &'a [u8],
        /// The folder.
        folder: &'a Path,
    },
}

/// How far a graph is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// Every node as written.
    None,
    /// Whatever makes it fast and does not change outputs beyond rounding.
    All,
}

/// Where models from memory have their external data.
const EXTERNAL_FOLDER: &str = "session.model_external_initializers_file_folder_path";

/// Rewrites of the library that change outputs: this one takes any `Relu` before the quantization
/// to FP8 away, because it takes zero for the least value of the type (seen in 1.32).
const FAULTY_OPTIMIZERS: &str = "ReluQuantRewrite";

/// Prepares a model.
pub(super) fn create(
    environment: &Environment,
    source: Source<'_>,
    effort: Effort,
    cancel: &CancelToken,
) -> Result<Session, Fault> {
    contained(super::NAME, || {
        let mut builder = builder(environment, effort)?;
        let canceler = builder.canceler();
        let _cancelling = cancel.on_cancel(move || {
            if let Err(error) = canceler.cancel() {
                tracing::debug!("loading goes on although it should stop: {error}");
            }
        });
        match source {
            Source::File(path) => Ok(builder.commit_from_file(path)?),
            Source::Bytes { bytes, folder } => {
                let folder = std::path::absolute(folder)
                    .map_err(|error| Fault::Model(error.to_string()))?
                    .into_os_string()
                    .into_string()
                    .map_err(|path| {
                        Fault::Model(format!("the path `{}` is not UTF-8", path.display()))
                    })?;
                let mut builder = builder.with_config_entry(EXTERNAL_FOLDER, folder)?;
                Ok(builder.commit_from_memory(bytes)?)
            }
        }
    })
    .map_err(Fault::Model)
    .flatten()
}

/// On the caller's thread alone: whoever wants several cores runs several contexts.
fn builder(environment: &Environment, effort: Effort) -> Result<SessionBuilder, Fault> {
    let level = match effort {
        Effort::None => GraphOptimizationLevel::Disable,
        Effort::All => GraphOptimizationLevel::All,
    };
    Ok(Session::builder(environment)?
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        .with_log_level(log::level())?
        .with_optimization_level(level)?
        .with_disabled_optimizers(FAULTY_OPTIMIZERS)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?)
}

/// What makes tensors of a model's graph outputs of it when it is appended to the encoded model:
/// messages that stand one after the other are one message, so that the weights need not be
/// encoded a second time.
pub(super) fn more_outputs(model: &Model, names: &[&str]) -> Result<Vec<u8>, Fault> {
    let graph = &model.graph;
    let made = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    let given = graph.input.iter().map(ValueInfoProto::name);
    let constants = graph.initializer.iter().map(TensorProto::name);
    let known: BTreeSet<&str> = made.chain(given).chain(constants).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(**name)) {
        return Err(Fault::Model(format!("the model has no tensor `{name}`")));
    }
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    let output = distinct
        .into_iter()
        .map(|name| ValueInfoProto { name: Some(name.to_owned()), ..ValueInfoProto::default() });
    let graph = GraphProto { output: output.collect(), ..GraphProto::default() };
    Ok(ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec())
}

/// What the library found out about an output that [`more_outputs`] added. Its extents are left
/// open: the library deduces them from declarations that may be stale.
pub(super) fn added_output(outlet: Option<&Outlet>, name: &str) -> Result<TensorSpec, Fault> {
    let dtype = match outlet.map(Outlet::dtype) {
        Some(ValueType::Tensor { ty, .. }) => {
            dtype(*ty).ok_or_else(|| format!("tensor `{name}` has elements of type {ty}"))
        }
        Some(other) => Err(format!("`{name}` is {other}, not a tensor")),
        None => Err(format!("the model has no tensor `{name}`")),
    };
    Ok(TensorSpec { name: name.to_owned(), dtype: dtype.map_err(Fault::Model)?, dims: None })
}

/// Both names of every element type.
const TYPES: [(DType, TensorElementType); 15] = [
    (DType::Float64, TensorElementType::Float64),
    (DType::Float32, TensorElementType::Float32),
    (DType::Float16, TensorElementType::Float16),
    (DType::BFloat16, TensorElementType::Bfloat16),
    (DType::Float8E4M3, TensorElementType::Float8E4M3FN),
    (DType::Float8E5M2, TensorElementType::Float8E5M2),
    (DType::Int64, TensorElementType::Int64),
    (DType::Int32, TensorElementType::Int32),
    (DType::Int16, TensorElementType::Int16),
    (DType::Int8, TensorElementType::Int8),
    (DType::UInt64, TensorElementType::Uint64),
    (DType::UInt32, TensorElementType::Uint32),
    (DType::UInt16, TensorElementType::Uint16),
    (DType::UInt8, TensorElementType::Uint8),
    (DType::Bool, TensorElementType::Bool),
];

/// The element type that the library's stands for.
pub(super) fn dtype(of: TensorElementType) -> Option<DType> {
    TYPES.iter().find(|(_, element)| *element == of).map(|(dtype, _)| *dtype)
}

/// The library's name of an element type.
pub(super) fn element_type(of: DType) -> TensorElementType {
    let found = TYPES.iter().find(|(dtype, _)| *dtype == of);
    found.map_or(TensorElementType::Undefined, |(_, element)| *element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_has_a_name_that_leads_back_to_it() {
        for of in DType::ALL {
            assert_eq!(dtype(element_type(of)), Some(of));
        }
        assert_eq!(dtype(TensorElementType::String), None);
    }
}

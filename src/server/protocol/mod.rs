//! What KServe v2 requests mean: names, types, parameters, and what models say of themselves.
//!
//! Both HTTP and gRPC answer from here; they only read and write their own encoding. Knows nothing
//! of either, nor of queues and engines.

mod config;
mod error;
mod metadata;
mod repository;
mod request;
mod statistics;

use crate::runtime::{InferError, Model, ModelRegistry};
use std::sync::Arc;

pub(crate) use crate::kserve::{config_datatype, datatype, from_datatype};
pub(crate) use config::ModelConfig;
pub use error::ProtocolError;
pub(crate) use error::clipped;
pub(crate) use metadata::{ModelMetadata, ServerMetadata};
pub(crate) use repository::{ModelVersions, index, ready};
pub use request::Signature;
pub(crate) use request::{Builder, Parameters, extents};
pub(crate) use statistics::{AllStatistics, Times};

/// Longest name that is looked up; no model and no tensor has a longer one that anybody types.
pub(crate) const LONGEST_NAME: usize = 4096;

/// The model that a request names. An empty version is the one that takes requests.
pub(crate) fn find(
    registry: &ModelRegistry,
    name: &str,
    version: &str,
) -> Result<Arc<Model>, ProtocolError> {
    if name.len() > LONGEST_NAME {
        return Err(InferError::UnknownModel { model: clipped(name), hint: None }.into());
    }
    if version.is_empty() {
        return Ok(registry.find(name, None)?);
    }
    // What is no number is no version of the model, if there is one.
    match version.parse() {
        Ok(number) => Ok(registry.find(name, Some(number))?),
        Err(_) => Err(InferError::UnknownVersion {
            model: name.to_owned(),
            version: clipped(version),
            loaded: registry.find(name, None)?.version().to_string(),
        }
        .into()),
    }
}

/// The same, where it can answer requests.
pub(crate) fn find_ready(
    registry: &ModelRegistry,
    name: &str,
    version: &str,
) -> Result<Arc<Model>, ProtocolError> {
    let model = find(registry, name, version)?;
    match model.end() {
        Some(reason) => Err(InferError::NotReady { model: name.to_owned(), reason }.into()),
        None => Ok(model),
    }
}

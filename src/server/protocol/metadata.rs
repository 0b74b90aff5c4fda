//! What the server and its models say of themselves.

use serde::Serialize;

use crate::runtime::{Model, ModelRegistry, VersionState};
use crate::tensor::{Dim, TensorSpec};

use super::datatype;

/// What the server says of itself.
#[derive(Debug, Serialize)]
pub(crate) struct ServerMetadata {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) extensions: Vec<&'static str>,
}

impl ServerMetadata {
    pub(crate) fn new(shared_memory: bool) -> Self {
        let mut extensions = vec![
            "model_repository",
            "schedule_policy",
            "model_configuration",
            "binary_tensor_data",
            "parameters",
            "statistics",
        ];
        if shared_memory {
            extensions.push("system_shared_memory");
        }
        Self { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), extensions }
    }
}

/// What a model says of itself.
#[derive(Debug, Serialize)]
pub(crate) struct ModelMetadata<'a> {
    pub(crate) name: &'a str,
    pub(crate) versions: Vec<String>,
    pub(crate) platform: &'a str,
    pub(crate) inputs: Vec<TensorMetadata<'a>>,
    pub(crate) outputs: Vec<TensorMetadata<'a>>,
}

/// What a model says of one of its tensors.
#[derive(Debug, Serialize)]
pub(crate) struct TensorMetadata<'a> {
    pub(crate) name: &'a str,
    pub(crate) datatype: &'static str,
    pub(crate) shape: Vec<i64>,
}

impl<'a> ModelMetadata<'a> {
    /// Of a model, with all its versions that are loaded.
    pub(crate) fn of(model: &'a Model, registry: &ModelRegistry) -> Self {
        let config = model.config();
        let batched = config.batching.is_some();
        let tensors = |specs: &'a [TensorSpec]| {
            let tensor = |spec: &'a TensorSpec| TensorMetadata {
                name: &spec.name,
                datatype: datatype(spec.dtype),
                shape: shape(spec, batched),
            };
            specs.iter().map(tensor).collect()
        };
        Self {
            name: &config.name,
            versions: loaded_versions(&config.name, registry),
            platform: &config.engine.backend,
            inputs: tensors(model.inputs()),
            outputs: tensors(model.outputs()),
        }
    }
}

/// The versions that requests may name, the oldest first.
fn loaded_versions(name: &str, registry: &ModelRegistry) -> Vec<String> {
    // Somebody may have removed the model just now: then it has none.
    let versions = registry.versions(name).unwrap_or_default().into_iter().rev();
    let loaded = versions.filter(|version| version.state != VersionState::Kept);
    loaded.map(|version| version.version.to_string()).collect()
}

/// The extents, -1 where any will do. Requests of a batched model choose the first. The protocol
/// cannot say that the rank is unknown: such a shape reads as one free axis.
fn shape(spec: &TensorSpec, batched: bool) -> Vec<i64> {
    let mut shape = extents_of(spec);
    if batched && let Some(batch) = shape.first_mut() {
        *batch = -1;
    }
    shape
}

/// The extents as the model has them, -1 where any will do.
pub(super) fn extents_of(spec: &TensorSpec) -> Vec<i64> {
    let extent = |dim: &Dim| match dim {
        Dim::Fixed(extent) => i64::try_from(*extent).unwrap_or(i64::MAX),
        Dim::Symbol(_) | Dim::Any => -1,
    };
    spec.dims.as_ref().map_or_else(|| vec![-1], |dims| dims.iter().map(extent).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    #[test]
    fn free_axes_and_the_batch_axis_read_as_minus_one() {
        let mut spec = TensorSpec {
            name: "x".into(),
            dtype: DType::Float32,
            dims: Some(vec![Dim::Fixed(8), Dim::Symbol("n".into()), Dim::Any, Dim::Fixed(3)]),
        };
        assert_eq!(shape(&spec, true), [-1, -1, -1, 3]);
        assert_eq!(shape(&spec, false), [8, -1, -1, 3]);
        spec.dims = None;
        assert_eq!(shape(&spec, true), [-1]);
    }
}

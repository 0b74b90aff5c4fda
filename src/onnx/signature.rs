//! [`ModelSignature`]: what goes into a model and what comes out.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::tensor::{Dim, TensorSpec};

use super::check::Defect;
use super::error::OnnxError;
use super::model::Model;
use super::proto::tensor_shape_proto::{Dimension, dimension};
use super::proto::{TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};
use super::tensors::{self, type_name};

/// Inputs and outputs of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelSignature {
    /// Inputs that must be fed, in the model's order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs, in the model's order.
    pub outputs: Vec<TensorSpec>,
}

impl ModelSignature {
    /// The input of this name.
    pub fn input(&self, name: &str) -> Option<&TensorSpec> {
        self.inputs.iter().find(|input| input.name == name)
    }
}

impl Model {
    /// The graph's inputs that are not initializers.
    pub fn fed_inputs(&self) -> impl Iterator<Item = &ValueInfoProto> {
        let graph = &self.graph;
        let constants: BTreeSet<&str> = graph
            .initializer
            .iter()
            .map(TensorProto::name)
            .chain(
                graph
                    .sparse_initializer
                    .iter()
                    .filter_map(|sparse| sparse.values.as_ref().map(TensorProto::name)),
            )
            .collect();
        graph.input.iter().filter(move |input| !constants.contains(input.name()))
    }

    /// What goes in and what comes out. Fails where one of them is not a tensor of a supported
    /// element type.
    pub fn signature(&self) -> Result<ModelSignature, OnnxError> {
        let defects =
            |defect| OnnxError::Defects { path: self.path().to_owned(), defects: vec![defect] };
        Ok(ModelSignature {
            inputs: self
                .fed_inputs()
                .map(tensor_spec)
                .collect::<Result<_, _>>()
                .map_err(defects)?,
            outputs: self
                .graph
                .output
                .iter()
                .map(tensor_spec)
                .collect::<Result<_, _>>()
                .map_err(defects)?,
        })
    }
}

/// The tensor that a value is declared to be.
pub fn tensor_spec(value: &ValueInfoProto) -> Result<TensorSpec, Defect> {
    let refused = |found: String| Defect::ValueType { value: value.name().to_owned(), found };
    let Some(type_proto::Value::TensorType(tensor)) =
        value.r#type.as_ref().and_then(|declared| declared.value.as_ref())
    else {
        return Err(refused(value_kind(value.r#type.as_ref()).to_owned()));
    };
    let dtype = tensors::dtype(tensor.elem_type())
        .ok_or_else(|| refused(format!("a tensor of {}", type_name(tensor.elem_type()))))?;
    Ok(TensorSpec { name: value.name().to_owned(), dtype, dims: tensor.shape.as_ref().map(dims) })
}

fn value_kind(declared: Option<&TypeProto>) -> &'static str {
    match declared.and_then(|declared| declared.value.as_ref()) {
        None => "a value without a type",
        Some(type_proto::Value::TensorType(_)) => "a tensor",
        Some(type_proto::Value::SequenceType(_)) => "a sequence",
        Some(type_proto::Value::MapType(_)) => "a map",
        Some(type_proto::Value::OptionalType(_)) => "an optional value",
        Some(type_proto::Value::SparseTensorType(_)) => "a sparse tensor",
        Some(type_proto::Value::OpaqueType(_)) => "an opaque value",
    }
}

fn dims(shape: &TensorShapeProto) -> Vec<Dim> {
    shape
        .dim
        .iter()
        .map(|dim| match &dim.value {
            // Some exporters write a negative extent for "any".
            Some(dimension::Value::DimValue(extent)) => {
                usize::try_from(*extent).map_or(Dim::Any, Dim::Fixed)
            }
            Some(dimension::Value::DimParam(name)) if !name.is_empty() => Dim::Symbol(name.clone()),
            _ => Dim::Any,
        })
        .collect()
}

/// The declaration of a tensor.
pub(super) fn value_info(spec: &TensorSpec) -> ValueInfoProto {
    let dim = |dim: &Dim| Dimension {
        value: match dim {
            Dim::Fixed(extent) => i64::try_from(*extent).ok().map(dimension::Value::DimValue),
            Dim::Symbol(name) => Some(dimension::Value::DimParam(name.clone())),
            Dim::Any => None,
        },
        denotation: None,
    };
    let shape =
        spec.dims.as_ref().map(|dims| TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let elem_type = Some(tensors::data_type(spec.dtype) as i32);
    let tensor = type_proto::Tensor { elem_type, shape };
    ValueInfoProto {
        name: Some(spec.name.clone()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            denotation: None,
        }),
        ..ValueInfoProto::default()
    }
}

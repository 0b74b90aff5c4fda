//! Writes down inferred element types and shapes of intermediate tensors. What the model already
//! says stays: its symbolic extents mean more than what was inferred.

use std::collections::HashSet;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::int_attribute;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{AttributeProto, NodeProto, TensorProto, ValueInfoProto};
use crate::onnx::shapes::Shapes;
use crate::onnx::signature::value_info;
use crate::onnx::tensors::{byte_size, dtype};
use crate::onnx::walk;
use crate::tensor::{Dim, TensorSpec};

use super::{Pass, PassName, Tools};

pub(super) struct InferShapes;

impl Pass for InferShapes {
    fn name(&self) -> PassName {
        PassName::InferShapes
    }

    fn run(&self, model: &mut Model, tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let graph = &model.graph;
        let described: HashSet<&str> =
            graph.value_info.iter().chain(&graph.output).map(ValueInfoProto::name).collect();
        let names = graph.node.iter().flat_map(|node| &node.output);
        let names = names.filter(|name| !name.is_empty() && !described.contains(name.as_str()));
        let shapes = Shapes::of(model);
        let mut specs: Vec<(&String, Option<TensorSpec>)> =
            names.map(|name| (name, shapes.spec(name))).collect();
        let is_open = |spec: &Option<TensorSpec>| {
            spec.as_ref()
                .and_then(|spec| spec.dims.as_ref())
                .is_none_or(|dims| dims.contains(&Dim::Any))
        };
        // tract takes the shape of one branch of an `If` for the result of both, and goes on from
        // there: saying nothing is safe, saying it wrongly is not.
        let has_bodies = graph.node.iter().any(|node| walk::subgraphs(node).next().is_some());
        let constants = model.constants();
        let goes_forward = |steps: &str| {
            constants
                .get(steps)
                .and_then(|tensor| model.values(tensor).ok())
                .is_some_and(|values| values.to_f64().iter().all(|step| *step > 0.0))
        };
        let is_guessable =
            !has_bodies && !graph.node.iter().any(|node| is_misread(node, goes_forward));
        if is_guessable && specs.iter().any(|(_, spec)| is_open(spec)) {
            let mut inferred = tools.evaluator.infer_shapes(&without_weights(model));
            for (name, spec) in specs.iter_mut().filter(|(_, spec)| is_open(spec)) {
                if let Some((dtype, dims)) = inferred.remove(name.as_str()) {
                    *spec = Some(TensorSpec { name: (*name).clone(), dtype, dims });
                }
            }
        }
        let added: Vec<_> = specs.iter().flat_map(|(_, spec)| spec).map(value_info).collect();
        let count = added.len();
        model.graph.value_info.extend(added);
        Ok(count)
    }
}

/// Whether tract makes a wrong shape of a node, and of all that follows it: it counts on every axis
/// of unknown extent to stay in a `Squeeze` without axes, on every step of a `Slice` to go forward,
/// and has a last window of its own where pooling rounds up.
fn is_misread(node: &NodeProto, goes_forward: impl Fn(&str) -> bool) -> bool {
    let input = |index: usize| node.input.get(index).filter(|name| !name.is_empty());
    let has = |name: &str| node.attribute.iter().any(|attribute| attribute.name() == name);
    match node.op_type() {
        "Squeeze" => input(1).is_none() && !has("axes"),
        "Slice" => input(4).is_some_and(|steps| !goes_forward(steps)),
        "AveragePool" | "LpPool" | "MaxPool" => int_attribute(node, "ceil_mode", 0) != 0,
        _ => false,
    }
}

/// Tensors up to this many bytes may be shapes or axes, whose values decide other shapes.
const SMALL: u64 = 1024;

/// The model with its weights as inputs of fixed shape: nothing else of them matters here.
fn without_weights(model: &Model) -> Model {
    let mut light = model.clone();
    let graph = &mut light.graph;
    let declared: HashSet<String> =
        graph.input.iter().map(|input| input.name().to_owned()).collect();
    graph.initializer.retain(|tensor| {
        let dims = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok().map(Dim::Fixed));
        let known = (dtype(tensor.data_type()), dims.collect::<Option<Vec<_>>>());
        let (Some(dtype), Some(dims)) = known else { return true };
        if byte_size(tensor).is_none_or(|size| size <= SMALL) {
            return true;
        }
        if !declared.contains(tensor.name()) {
            let name = tensor.name().to_owned();
            graph.input.push(value_info(&TensorSpec { name, dtype, dims: Some(dims) }));
        }
        false
    });
    for node in &mut graph.node {
        // Said aloud, because tract takes float64 for the default of this one.
        if node.op_type() == "ConstantOfShape" && node.attribute.is_empty() {
            node.attribute.push(zero_attribute());
        }
    }
    light
}

/// The standard's default of `value`.
fn zero_attribute() -> AttributeProto {
    AttributeProto {
        name: Some("value".into()),
        r#type: Some(AttributeType::Tensor as i32),
        t: Some(TensorProto {
            dims: vec![1],
            data_type: Some(DataType::Float as i32),
            float_data: vec![0.0],
            ..TensorProto::default()
        }),
        ..AttributeProto::default()
    }
}

//! Half precision as float32: tract knows no bfloat16 and fails on part of the float16 graphs, so
//! both are widened before it sees them. What a node of the main graph gives in half precision is
//! rounded to it, as engines do that add up in float32: overflow shows here as it does there.
//! Inside the graphs of `If` and `Scan` nothing is rounded.

use std::collections::BTreeMap;

use half::{bf16, f16};
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::prelude::{DatumType, Tensor, TractError, TractResult};
use tract_onnx::tract_core::ops::element_wise::{ElementWiseMiniOp, ElementWiseOp};
use tract_onnx::tract_hir::ops::element_wise::ElementWiseIntoHir as _;

use crate::backend::fault::Fault;
use crate::onnx::Model;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_proto::{DataLocation, DataType};
use crate::onnx::proto::{
    AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, type_proto,
};

use super::weights;

/// Our operator's type; no model can contain it, because the guard rails refuse unknown ones.
const ROUND: &str = "TrtPipelineRound";

/// Its attribute; not one whose element types are widened.
const PRECISION: &str = "precision";

/// Teaches tract's reader our operator.
pub(super) fn register(register: &mut OnnxOpRegister) {
    register.insert(ROUND, |_, node| {
        let number: i32 = node.get_attr(PRECISION)?;
        let half = Half::of(number).ok_or_else(|| TractError::msg("no half precision"))?;
        Ok((ElementWiseOp(Box::new(half), None).into_hir(), vec![]))
    });
}

/// Rounds float32 to half precision, and leaves it float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Float16,
    BFloat16,
}

impl Half {
    fn of(number: i32) -> Option<Self> {
        match DataType::try_from(number).ok()? {
            DataType::Float16 => Some(Self::Float16),
            DataType::Bfloat16 => Some(Self::BFloat16),
            _ => None,
        }
    }

    fn round(self, value: f32) -> f32 {
        match self {
            Self::Float16 => f16::from_f32(value).to_f32(),
            Self::BFloat16 => bf16::from_f32(value).to_f32(),
        }
    }
}

impl ElementWiseMiniOp for Half {
    fn name(&self) -> String {
        "Round".to_owned()
    }

    fn operating_datum_type(&self, _dt: DatumType) -> DatumType {
        DatumType::F32
    }

    fn eval_in_place(&self, t: &mut Tensor, _out: Option<DatumType>) -> TractResult<()> {
        let mut values = t.try_as_plain_ram_mut()?;
        for value in values.as_slice_mut::<f32>()? {
            *value = self.round(*value);
        }
        Ok(())
    }
}

/// The tensors that are of half precision, by name.
pub(super) type Halves = BTreeMap<String, i32>;

/// What the nodes of the main graph give in half precision.
pub(super) fn halves(model: &Model) -> Halves {
    let types = model.element_types();
    let outputs = model.graph.node.iter().flat_map(|node| &node.output);
    let half = |name: &String| {
        let number = types.get(name)? as i32;
        is_half(number).then(|| (name.clone(), number))
    };
    outputs.filter_map(half).collect()
}

/// Rewrites every float16 and bfloat16 value of the model to float32.
pub(super) fn rewrite(model: &mut Model, halves: &Halves) -> Result<(), Fault> {
    let mut graph = std::mem::take(&mut model.graph);
    if !halves.is_empty() {
        round(&mut graph, halves);
    }
    let outcome = widen_graph(&mut graph, model);
    model.graph = graph;
    outcome
}

/// Puts a rounding after every node that gives half precision.
fn round(graph: &mut GraphProto, halves: &Halves) {
    let nodes = std::mem::take(&mut graph.node);
    for mut node in nodes {
        let mut rounds = Vec::new();
        // What a constant holds is rounded already.
        let is_constant = node.op_type() == "Constant";
        for output in node.output.iter_mut().filter(|_| !is_constant) {
            let Some(number) = halves.get(output) else { continue };
            let exact = format!("{output}{UNROUNDED}");
            rounds.push(NodeProto {
                op_type: Some(ROUND.to_owned()),
                input: vec![exact.clone()],
                output: vec![std::mem::replace(output, exact)],
                attribute: vec![AttributeProto {
                    name: Some(PRECISION.to_owned()),
                    r#type: Some(AttributeType::Int as i32),
                    i: Some(i64::from(*number)),
                    ..AttributeProto::default()
                }],
                ..NodeProto::default()
            });
        }
        graph.node.push(node);
        graph.node.append(&mut rounds);
    }
}

/// Ends the names of values before they are rounded; no name in a file contains this character.
const UNROUNDED: &str = "\0unrounded";
fn widen_graph(graph: &mut GraphProto, model: &Model) -> Result<(), Fault> {
    for tensor in &mut graph.initializer {
        widen_tensor(tensor, model)?;
    }
    let values = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
    values.for_each(widen_info);
    for node in &mut graph.node {
        widen_node(node);
        for attribute in &mut node.attribute {
            for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
                widen_tensor(tensor, model)?;
            }
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                widen_graph(inner, model)?;
            }
        }
    }
    Ok(())
}

fn is_half(number: i32) -> bool {
    number == DataType::Float16 as i32 || number == DataType::Bfloat16 as i32
}

fn widen_info(info: &mut ValueInfoProto) {
    let kind = info.r#type.as_mut().and_then(|kind| kind.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = kind
        && is_half(tensor.elem_type())
    {
        tensor.elem_type = Some(DataType::Float as i32);
    }
}

/// Attributes that hold an element type's number.
fn widen_node(node: &mut NodeProto) {
    for attribute in &mut node.attribute {
        if matches!(attribute.name(), "to" | "dtype" | "output_dtype")
            && attribute.i.and_then(|number| i32::try_from(number).ok()).is_some_and(is_half)
        {
            attribute.i = Some(i64::from(DataType::Float as i32));
        }
    }
}

fn widen_tensor(tensor: &mut TensorProto, model: &Model) -> Result<(), Fault> {
    if !is_half(tensor.data_type()) {
        return Ok(());
    }
    let values = weights::values(model, tensor)?;
    #[expect(clippy::cast_possible_truncation, reason = "every half-precision value is a float32")]
    let bytes: Vec<u8> = values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
    tensor.data_type = Some(DataType::Float as i32);
    tensor.int32_data.clear();
    tensor.external_data.clear();
    tensor.data_location = Some(DataLocation::Default as i32);
    tensor.raw_data = Some(bytes.into());
    Ok(())
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "rounded values are exact")]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::backend::Backend as _;
    use crate::backend::cpu::CpuBackend;
    use crate::onnx::from_tensor;
    use crate::onnx::proto::{
        ModelProto, OperatorSetIdProto, TensorShapeProto, TypeProto, tensor_shape_proto,
    };
    use crate::tensor::{DType, Shape, Tensor as Samples, to_f64};

    fn value(name: &str) -> ValueInfoProto {
        let extent = tensor_shape_proto::dimension::Value::DimValue(4);
        let dim = tensor_shape_proto::Dimension { value: Some(extent), ..Default::default() };
        let shape = Some(TensorShapeProto { dim: vec![dim] });
        let tensor = type_proto::Tensor { elem_type: Some(DataType::Float as i32), shape };
        let value = Some(type_proto::Value::TensorType(tensor));
        ValueInfoProto {
            name: Some(name.into()),
            r#type: Some(TypeProto { value, denotation: None }),
            ..ValueInfoProto::default()
        }
    }

    /// `(x * 300) / 300` in a precision.
    fn there_and_back(precision: DataType) -> Vec<u8> {
        let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
            op_type: Some(op.into()),
            name: Some(output.into()),
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        };
        let cast = |input: &str, to: DataType, output: &str| NodeProto {
            attribute: vec![AttributeProto {
                name: Some("to".into()),
                r#type: Some(AttributeType::Int as i32),
                i: Some(to as i64),
                ..AttributeProto::default()
            }],
            ..node("Cast", &[input], output)
        };
        let factor = from_tensor("factor", &Samples::from_f32(Shape(vec![]), &[300.0]).unwrap());
        let graph = GraphProto {
            name: Some("g".into()),
            input: vec![value("x")],
            output: vec![value("y")],
            initializer: vec![factor],
            node: vec![
                // Called as the output of another one.
                NodeProto { name: Some("y".into()), ..cast("x", precision, "low") },
                cast("factor", precision, "low_factor"),
                node("Mul", &["low", "low_factor"], "product"),
                node("Div", &["product", "low_factor"], "quotient"),
                cast("quotient", DataType::Float, "y"),
            ],
            ..GraphProto::default()
        };
        let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(17) };
        let model = ModelProto {
            ir_version: Some(8),
            opset_import: vec![opset],
            graph: Some(graph),
            ..ModelProto::default()
        };
        model.encode_to_vec()
    }

    #[test]
    fn values_are_rounded_and_overflow_after_every_node_of_half_precision() {
        let folder = tempfile::tempdir().unwrap();
        let run = |precision| {
            let path = folder.path().join("model.onnx");
            std::fs::write(&path, there_and_back(precision)).unwrap();
            let mut context = CpuBackend.reference(&path, &[]).unwrap().new_context().unwrap();
            let x = Samples::from_f32(Shape(vec![4]), &[1.0, 1.0 / 3.0, 300.0, -300.0]).unwrap();
            context.fill(0, "x", &x).unwrap();
            context.run().unwrap();
            to_f64(DType::Float32, context.output(0).unwrap().1)
        };
        let third = f64::from(f16::from_f32(1.0 / 3.0).to_f32());
        let product = f64::from(f16::from_f32(f16::from_f32(1.0 / 3.0).to_f32() * 300.0).to_f32());
        let back = f64::from(f16::from_f64(product / 300.0).to_f32());
        assert_ne!(third, 1.0 / 3.0);
        assert_eq!(run(DataType::Float16), [1.0, back, f64::INFINITY, f64::NEG_INFINITY]);
        let low = run(DataType::Bfloat16);
        assert_eq!((low[0], low[2], low[3]), (1.0, 300.0, -300.0));
        assert_ne!(low[1], f64::from(1.0_f32 / 3.0));
        assert_eq!(run(DataType::Float)[2], 300.0);
    }
}

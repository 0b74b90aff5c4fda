//! Nodes that tract would compute wrongly and that another spelling makes right. Each entry was
//! found by comparing tract with onnxruntime.

use std::collections::BTreeMap;

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::prelude::{DatumType, Tensor as TractTensor, TractResult};
use tract_onnx::tract_core::ops::element_wise::{ElementWiseMiniOp, ElementWiseOp};
use tract_onnx::tract_hir::ops::element_wise::ElementWiseIntoHir as _;

use crate::backend::fault::Fault;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto};
use crate::onnx::{Model, from_tensor};
use crate::tensor::{Shape, Tensor};

use super::guard::text;
use super::slice;
use super::walk::each_node;
use super::weights::Constants;

/// Our operator's type; no model can contain it, because the guard rails refuse unknown ones.
const KEEP: &str = "TrtPipelineKeep";

/// Ends the names of what is added here; no name in a file contains this character.
pub(super) const MENDED: &str = "\0mended";

/// Teaches tract's reader our operator.
pub(super) fn register(register: &mut OnnxOpRegister) {
    register.insert(KEEP, |_, _| Ok((ElementWiseOp(Box::new(Keep), None).into_hir(), vec![])));
}

/// Rewrites a model to one that means the same.
pub(super) fn rewrite(model: &mut Model) -> Result<(), Fault> {
    let mut has_convolution = false;
    each_node(&model.graph, &mut |node| has_convolution |= node.op_type() == "Conv");
    if has_convolution {
        part(&mut model.graph);
    }
    pad(&mut model.graph);
    fill(&mut model.graph);
    nearest(model)?;
    slice::rewrite(model)
}

/// tract folds `Sub` and `Div` into the convolution before them, and there takes `c - x` for
/// `x + (c - bias)` and `c / x` for a convolution by `c / weights`. Nothing is folded through an
/// operator that it does not know.
fn part(graph: &mut GraphProto) {
    let nodes = std::mem::take(&mut graph.node);
    for (index, mut node) in nodes.into_iter().enumerate() {
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(part);
        }
        if matches!(node.op_type(), "Sub" | "Div")
            && let Some(second) = node.input.get_mut(1)
            && !graph.initializer.iter().any(|tensor| tensor.name() == second)
        {
            let kept = format!("{second}{MENDED}{index}");
            graph.node.push(NodeProto {
                op_type: Some(KEEP.to_owned()),
                input: vec![std::mem::replace(second, kept.clone())],
                output: vec![kept],
                ..NodeProto::default()
            });
        }
        graph.node.push(node);
    }
}

/// tract takes a `Pad` that is given a value for one by that value, whatever its mode.
fn pad(graph: &mut GraphProto) {
    for node in &mut graph.node {
        if node.op_type() == "Pad"
            && matches!(text(node, "mode"), Some("edge" | "reflect"))
            && let Some(value) = node.input.get_mut(2)
        {
            value.clear();
        }
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(pad);
        }
    }
}

/// tract fills with float64 where no value says otherwise.
fn fill(graph: &mut GraphProto) {
    for node in &mut graph.node {
        if node.op_type() == "ConstantOfShape"
            && node.attribute.is_empty()
            && let Ok(zero) = Tensor::from_f32(Shape(vec![1]), &[0.0])
        {
            node.attribute.push(AttributeProto {
                name: Some("value".to_owned()),
                r#type: Some(AttributeType::Tensor as i32),
                t: Some(from_tensor("", &zero)),
                ..AttributeProto::default()
            });
        }
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(fill);
        }
    }
}

/// `Resize` of opset 10 takes the element before where it enlarges and the one after where it
/// reduces; tract takes the nearest.
fn nearest(model: &mut Model) -> Result<(), Fault> {
    if model.opset() != Some(10) {
        return Ok(());
    }
    let constants = Constants::of(model);
    let mut chosen = BTreeMap::new();
    let mut unclear = None;
    each_node(&model.graph, &mut |node| {
        if node.op_type() != "Resize" || !matches!(text(node, "mode"), None | Some("nearest")) {
            return;
        }
        let scales = node.input.get(1).and_then(|scales| constants.values(scales));
        let all = |fits: fn(&f64) -> bool| scales.as_ref().is_some_and(|all| all.iter().all(fits));
        let mode = match node.output.first() {
            Some(_) if all(|scale| *scale >= 1.0) => "floor",
            Some(_) if all(|scale| *scale <= 1.0) => "ceil",
            _ => return unclear = unclear.take().or_else(|| Some(Fault::node(node, MIXED))),
        };
        chosen.extend(node.output.first().map(|output| (output.clone(), mode)));
    });
    choose(&mut model.graph, &chosen);
    unclear.map_or(Ok(()), Err)
}

const MIXED: &str = "scales of opset 10 that are not constant, or enlarge and reduce, are not \
                     supported";

fn choose(graph: &mut GraphProto, chosen: &BTreeMap<String, &str>) {
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            let inner = attribute.g.iter_mut().chain(&mut attribute.graphs);
            inner.for_each(|graph| choose(graph, chosen));
        }
        if let Some(mode) = node.output.first().and_then(|output| chosen.get(output)) {
            node.attribute.push(AttributeProto {
                name: Some("nearest_mode".to_owned()),
                r#type: Some(AttributeType::String as i32),
                s: Some(mode.as_bytes().to_vec()),
                ..AttributeProto::default()
            });
        }
    }
}

/// What it is given, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keep;

impl ElementWiseMiniOp for Keep {
    fn name(&self) -> String {
        "Keep".to_owned()
    }

    fn eval_in_place(&self, _tensor: &mut TractTensor, _out: Option<DatumType>) -> TractResult<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::backend::Backend as _;
    use crate::backend::conformance::{compiled, run};
    use crate::backend::cpu::CpuBackend;
    use crate::backend::small_models::{node, value, weights, write};
    use crate::onnx::proto::tensor_proto::DataType;
    use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto, attribute_proto};
    use crate::tensor::{Shape, Tensor};

    /// What an engine and the reference give for [1, 2, 3, 4] as an image of one channel.
    fn given(nodes: Vec<NodeProto>, dims: &[i64]) -> Vec<f64> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.onnx");
        let graph = GraphProto {
            node: nodes,
            initializer: vec![
                weights("w", &[2, 1, 1, 1], &[2.0, -4.0]),
                weights("c", &[2, 1, 1], &[10.0, 20.0]),
                weights("v", &[], &[7.0]),
            ],
            input: vec![value("x", DataType::Float, &[1, 1, 2, 2])],
            output: vec![value("y", DataType::Float, dims)],
            ..GraphProto::default()
        };
        write(&path, graph);
        let x = Tensor::from_f32(Shape(vec![1, 1, 2, 2]), &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let [engine, reference] =
            [compiled(&CpuBackend, &path).unwrap(), CpuBackend.reference(&path, &[]).unwrap()].map(
                |engine| {
                    let mut context = std::sync::Arc::clone(&engine).new_context().unwrap();
                    run(engine.as_ref(), context.as_mut(), std::slice::from_ref(&x)).unwrap()[0]
                        .to_f64()
                },
            );
        for (engine, reference) in engine.iter().zip(&reference) {
            assert!((engine - reference).abs() <= 1e-6 * reference.abs(), "{engine} {reference}");
        }
        reference
    }

    #[test]
    fn a_constant_less_a_convolution_and_divided_by_one_is_in_that_order() {
        let after = |op: &str, left: &str, right: &str| {
            let layers = vec![node("Conv", &["x", "w"], "h"), node(op, &[left, right], "y")];
            given(layers, &[1, 2, 2, 2])
        };
        assert_eq!(after("Sub", "c", "h"), [8.0, 6.0, 4.0, 2.0, 24.0, 28.0, 32.0, 36.0]);
        assert_eq!(after("Sub", "h", "c"), [-8.0, -6.0, -4.0, -2.0, -24.0, -28.0, -32.0, -36.0]);
        assert_eq!(after("Div", "c", "h")[..2], [5.0, 2.5]);
        assert_eq!(after("Div", "c", "h")[4..6], [-5.0, -2.5]);
        assert_eq!(after("Div", "h", "c")[..2], [0.2_f32, 0.4].map(f64::from));
    }

    #[test]
    fn a_pad_that_repeats_the_edge_ignores_the_value() {
        let text = |name: &str, text: &str| AttributeProto {
            name: Some(name.to_owned()),
            r#type: Some(attribute_proto::AttributeType::String as i32),
            s: Some(text.as_bytes().to_vec()),
            ..AttributeProto::default()
        };
        let ints = |values: &[i64]| AttributeProto {
            name: Some("value_ints".to_owned()),
            r#type: Some(attribute_proto::AttributeType::Ints as i32),
            ints: values.to_vec(),
            ..AttributeProto::default()
        };
        let pads = NodeProto {
            attribute: vec![ints(&[0, 0, 0, 1, 0, 0, 0, 0])],
            ..node("Constant", &[], "p")
        };
        let pad = NodeProto {
            attribute: vec![text("mode", "edge")],
            ..node("Pad", &["x", "p", "v"], "y")
        };
        assert_eq!(given(vec![pads, pad], &[1, 1, 2, 3]), [1.0, 1.0, 2.0, 3.0, 3.0, 4.0]);
    }
}

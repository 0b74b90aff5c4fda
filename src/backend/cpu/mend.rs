//! Nodes that tract would compute wrongly and that another spelling makes right. Each entry was
//! found by comparing tract with onnxruntime.

use std::collections::BTreeMap;

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::prelude::{DatumType, Tensor as TractTensor, TractResult};
use tract_onnx::tract_core::ops::element_wise::{ElementWiseMiniOp, ElementWiseOp};
use tract_onnx::tract_hir::ops::element_wise::ElementWiseIntoHir as _;

use crate::backend::fault::Fault;
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{Model, from_tensor};
use crate::tensor::{Shape, Tensor};

use super::guard::text;
use super::walk::each_node;
use super::weights::Constants;

/// Our operator's type; no model can contain it, because the guard rails refuse unknown ones.
const KEEP: &str = "TrtPipelineKeep";

/// Ends the names of what is added here; no name in a file contains this character.
const MENDED: &str = "\0mended";

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
    slice(model)
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

/// tract takes the lowest integer for "to the end" also where a `Slice` goes forwards, which then
/// takes nothing. An end that is merely far out says so. (Where one goes backwards, the highest
/// integer is such an end for onnxruntime too.)
fn slice(model: &mut Model) -> Result<(), Fault> {
    let constants = Constants::of(model);
    let mut ends = BTreeMap::new();
    each_node(&model.graph, &mut |node| {
        if let (Some(output), Some(plain)) = (node.output.first(), plain_ends(node, &constants)) {
            ends.insert(output.clone(), plain);
        }
    });
    if ends.is_empty() { Ok(()) } else { end_plainly(&mut model.graph, &ends) }
}

/// The ends of a `Slice` without those that tract misunderstands, where it has any.
fn plain_ends(node: &NodeProto, constants: &Constants<'_>) -> Option<Vec<i64>> {
    let input = |index: usize| node.input.get(index).filter(|name| !name.is_empty());
    let ends = input(2).filter(|_| node.op_type() == "Slice")?;
    let ends = constants.values(ends)?;
    let steps = match input(4) {
        Some(steps) => constants.values(steps)?,
        None => vec![1.0; ends.len()],
    };
    let mut changed = false;
    let plain = ends.iter().zip(&steps).map(|(&end, &step)| {
        #[expect(clippy::cast_possible_truncation, reason = "a cast saturates")]
        let integer = end as i64;
        let misunderstood = step > 0.0 && integer <= i64::MIN + 1;
        changed |= misunderstood;
        if misunderstood { BEFORE_ALL } else { integer }
    });
    let plain: Vec<i64> = plain.collect();
    (changed && steps.len() == ends.len()).then_some(plain)
}

/// Farther out than any axis is long.
const BEFORE_ALL: i64 = -(1 << 40);

fn end_plainly(graph: &mut GraphProto, ends: &BTreeMap<String, Vec<i64>>) -> Result<(), Fault> {
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                end_plainly(inner, ends)?;
            }
        }
        let Some((output, plain)) = node.output.first().and_then(|name| ends.get_key_value(name))
        else {
            continue;
        };
        let tensor = Tensor::from_i64(Shape(vec![plain.len()]), plain)
            .map_err(|error| Fault::Model(error.to_string()))?;
        let name = format!("{output}{MENDED}");
        graph.initializer.push(from_tensor(&name, &tensor));
        if let Some(input) = node.input.get_mut(2) {
            *input = name;
        }
    }
    Ok(())
}

/// What it is given, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Keep;

impl ElementWiseMiniOp for Keep {
    fn name(&self) -> String {
        "Keep".to_owned()
    }

    fn eval_in_place(&self, _tensor: &mut TractTensor, _out: Option<DatumType>) -> TractResult<()> {
        Ok(())
    }
}

//! Computes what depends on constants only.

use std::collections::{HashMap, HashSet};

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::Uses;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::onnx::shapes::{Shapes, fixed};
use crate::onnx::signature::value_info;
use crate::onnx::tensors::{byte_size, dtype, from_tensor};
use crate::onnx::{operators, walk};
use crate::tensor::{Tensor, TensorSpec};

use super::foldable;
use super::moves::{self, Fills};
use super::{Pass, PassName, Tools};

pub(super) struct FoldConstants;

/// A result may always have this many bytes.
const SMALL: u64 = 1 << 20;
/// A larger one may be this many times as large as what it is computed from.
const GROWTH: u64 = 16;

impl Pass for FoldConstants {
    fn name(&self) -> PassName {
        PassName::FoldConstants
    }

    fn run(&self, model: &mut Model, tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let uses = Uses::of(&model.graph);
        let outputs: Vec<&str> = model.graph.output.iter().map(ValueInfoProto::name).collect();
        let mut work = Work {
            model,
            tools,
            shapes: Shapes::of(model),
            weights: moves::weights(model),
            fills: Fills::default(),
            known: model.constants(),
            made: HashMap::new(),
        };
        let mut done = vec![false; model.graph.node.len()];
        for (node, is_done) in model.graph.node.iter().zip(&mut done) {
            // An initializer may be an output too, but not every runtime accepts that.
            let gives_output = node.output.iter().any(|name| outputs.contains(&name.as_str()));
            if gives_output || !model.is_standard_operator(node) {
                continue;
            }
            let Some(results) = work.fold(node) else { continue };
            *is_done = true;
            for (name, result) in node.output.iter().zip(results) {
                let found = uses.get(name);
                if found.reads > 0 || found.pinned {
                    work.made.insert(name, result);
                }
            }
        }
        let mut made = work.made;
        let in_order = model.graph.node.iter().flat_map(|node| &node.output);
        let results: Vec<TensorProto> =
            in_order.filter_map(|name| made.remove(name.as_str())).collect();
        let count = done.iter().filter(|is_done| **is_done).count();
        let mut gone = done.into_iter();
        model.graph.node.retain(|_| !gone.next().unwrap_or(false));
        model.graph.initializer.extend(results);
        Ok(count)
    }
}

struct Work<'a> {
    model: &'a Model,
    tools: &'a Tools<'a>,
    shapes: Shapes<'a>,
    /// What operators take as their weights: every backend, and whoever changes precision, needs
    /// these as constants, so that they may grow by more.
    weights: HashSet<&'a str>,
    fills: Fills,
    known: HashMap<&'a str, &'a TensorProto>,
    made: HashMap<&'a str, TensorProto>,
}

impl Work<'_> {
    /// What a node gives, one tensor per output, if it may be computed now.
    fn fold(&mut self, node: &NodeProto) -> Option<Vec<TensorProto>> {
        if self.model.is_standard(node, "Constant") {
            return Some(vec![constant(node)?]);
        }
        let known = operators::lookup(node.op_type(), self.model.opset()?)?;
        let is_plain = !known.withdrawn && walk::subgraphs(node).next().is_none();
        if !is_plain {
            return None;
        }
        let inputs: Vec<Option<&TensorProto>> = node
            .input
            .iter()
            .map(|name| match name.as_str() {
                "" => Some(None),
                name => self.made.get(name).or_else(|| self.known.get(name).copied()).map(Some),
            })
            .collect::<Option<_>>()?;
        let dtypes = inputs.iter().flatten().map(|tensor| dtype(tensor.data_type()));
        if !foldable::is_foldable(node.op_type(), dtypes) {
            return None;
        }
        let size = inputs
            .iter()
            .flatten()
            .try_fold(0_u64, |sum, tensor| sum.checked_add(byte_size(tensor)?))?;
        let allowed = size.saturating_mul(GROWTH).max(SMALL);
        if node.op_type() == "ConstantOfShape" {
            return self.fill(node, allowed);
        }
        if let Some(reshaped) = moves::reshaped(&self.shapes, node, &inputs) {
            return Some(vec![reshaped]);
        }
        let bound = foldable::largest_result(self.model, node, &inputs)?;
        if bound > allowed
            || !self.tools.may_compute(bound)
            || !foldable::is_computed_right(self.model, node, &inputs)
        {
            return None;
        }
        let results = self.evaluate(node, &inputs)?;
        let total = results.iter().map(|tensor| tensor.bytes().len()).sum::<usize>() as u64;
        (total <= allowed && self.tools.take_computed(total)).then(|| {
            node.output.iter().zip(&results).map(|(name, value)| from_tensor(name, value)).collect()
        })
    }

    /// What a `ConstantOfShape` node gives, if it has at most so many bytes or is a weight.
    fn fill(&mut self, node: &NodeProto, allowed: u64) -> Option<Vec<TensorProto>> {
        let name = node.output.first()?;
        let dims = fixed(self.shapes.dims(name)?)?;
        let data_type = self.shapes.dtype(name);
        let size = byte_size(&TensorProto { dims: dims.clone(), data_type, ..Default::default() })?;
        let fits =
            size <= allowed || self.weights.contains(name.as_str()) && self.tools.take_fill(size);
        fits.then(|| self.fills.make(self.model, node, dims).map(|made| vec![made])).flatten()
    }

    /// Runs a node as a model of its own.
    fn evaluate(&self, node: &NodeProto, inputs: &[Option<&TensorProto>]) -> Option<Vec<Tensor>> {
        if node.output.iter().any(String::is_empty) {
            return None;
        }
        let mut initializer: Vec<TensorProto> = Vec::new();
        for tensor in inputs.iter().flatten() {
            if !initializer.iter().any(|present| present.name() == tensor.name()) {
                // Weights that cannot be read make an error where they are needed for real.
                initializer.push(self.model.embedded(tensor).ok()?);
            }
        }
        let dtype = dtype(foldable::result_type(node, inputs)?)?;
        let output =
            |name: &String| value_info(&TensorSpec { name: name.clone(), dtype, dims: None });
        let graph = GraphProto {
            name: Some("constant".into()),
            output: node.output.iter().map(output).collect(),
            node: vec![node.clone()],
            initializer,
            ..GraphProto::default()
        };
        let header = ModelProto {
            ir_version: self.model.header.ir_version,
            opset_import: self.model.header.opset_import.clone(),
            ..Default::default()
        };
        let model = Model::new(header, graph, self.model.path());
        let results = self.tools.evaluator.evaluate(&model).ok()?;
        let fits = results.len() == node.output.len()
            && results.iter().all(|result| result.dtype() == dtype);
        fits.then_some(results)
    }
}

/// The initializer that a `Constant` node stands for; `None` for texts and sparse tensors.
fn constant(node: &NodeProto) -> Option<TensorProto> {
    let ([attribute], [name]) = (node.attribute.as_slice(), node.output.as_slice()) else {
        return None;
    };
    let floats = |shape: Vec<usize>, values: &[f32]| Tensor::from_f32(shape.into(), values).ok();
    let ints = |shape: Vec<usize>, values: &[i64]| Tensor::from_i64(shape.into(), values).ok();
    let tensor = match attribute.name() {
        "value" => {
            let value = attribute.t.as_ref()?;
            return Some(TensorProto { name: Some(name.clone()), ..value.clone() });
        }
        "value_float" => floats(vec![], &[attribute.f()])?,
        "value_floats" => floats(vec![attribute.floats.len()], &attribute.floats)?,
        "value_int" => ints(vec![], &[attribute.i()])?,
        "value_ints" => ints(vec![attribute.ints.len()], &attribute.ints)?,
        _ => return None,
    };
    Some(from_tensor(name, &tensor))
}

//! Makes a `Gemm` of a product of two matrices and the sum of its columns with constants.

use std::collections::HashMap;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::Uses;
use crate::onnx::proto::NodeProto;
use crate::onnx::shapes::{Extent, Shapes};

use super::{Pass, PassName, Tools};

pub(super) struct FuseGemm;

impl Pass for FuseGemm {
    fn name(&self) -> PassName {
        PassName::FuseGemm
    }

    fn run(&self, model: &mut Model, _tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let fusions = find(model);
        let mut removed = vec![false; model.graph.node.len()];
        for (product, sum, bias) in &fusions {
            // Where the sum stands everything that it reads is there.
            let mut inputs = std::mem::take(&mut model.graph.node[*product].input);
            inputs.push(bias.clone());
            let node = &mut model.graph.node[*sum];
            node.op_type = Some("Gemm".into());
            node.input = inputs;
            removed[*product] = true;
        }
        let mut gone = removed.into_iter();
        model.graph.node.retain(|_| !gone.next().unwrap_or(false));
        Ok(fusions.len())
    }
}

/// Products, the sums after them, and what these add.
fn find(model: &Model) -> Vec<(usize, usize, String)> {
    let nodes = &model.graph.node;
    let is_product = |node: &NodeProto| model.is_standard(node, "MatMul");
    if !nodes.iter().any(is_product) {
        return Vec::new();
    }
    let shapes = Shapes::of(model);
    let uses = Uses::of(&model.graph);
    let constants = model.constants();
    let mut products: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        if is_product(node) {
            products.extend(node.output.first().map(|output| (output.as_str(), index)));
            continue;
        }
        let ([left, right], true) = (node.input.as_slice(), model.is_standard(node, "Add")) else {
            continue;
        };
        for (product, bias) in [(left, right), (right, left)] {
            let Some(&at) = products.get(product.as_str()) else { continue };
            let between = uses.get(product);
            let is_alone = between.reads == 1 && !between.pinned;
            let is_constant = constants.contains_key(bias.as_str());
            if is_alone && is_constant && fits(&shapes, &nodes[at], bias) {
                found.push((at, index, bias.clone()));
                break;
            }
        }
    }
    found
}

/// Whether a product is one of matrices of floating-point numbers, and a constant can be added to
/// each of its rows.
fn fits(shapes: &Shapes<'_>, product: &NodeProto, bias: &str) -> bool {
    let [a, b] = product.input.as_slice() else { return false };
    let is_float =
        shapes.dtype(a).and_then(crate::onnx::dtype).is_some_and(crate::tensor::DType::is_float);
    let (Some([_, _]), Some([_, columns])) = (shapes.dims(a), shapes.dims(b)) else { return false };
    let bias = shapes.dims(bias);
    is_float
        && match bias {
            Some([extent] | [Extent::Fixed(1), extent]) => {
                extent == columns || *extent == Extent::Fixed(1)
            }
            _ => false,
        }
}

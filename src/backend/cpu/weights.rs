//! The values of constant tensors, however narrow they are.

use std::collections::HashMap;

use crate::backend::fault::Fault;
use crate::onnx::Model;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{GraphProto, TensorProto};

use super::walk::{each_node, subgraphs};

/// Number of elements of a tensor; fails on negative or overflowing extents.
pub(super) fn elements(tensor: &TensorProto) -> Result<usize, Fault> {
    tensor
        .dims
        .iter()
        .try_fold(1_usize, |product, &extent| product.checked_mul(usize::try_from(extent).ok()?))
        .ok_or_else(|| Fault::Model(format!("tensor `{}` has impossible extents", tensor.name())))
}

/// Every element as a float64: exact for all types of at most 32 bits.
pub(super) fn values(model: &Model, tensor: &TensorProto) -> Result<Vec<f64>, Fault> {
    let signed = tensor.data_type() == DataType::Int4 as i32;
    if !signed && tensor.data_type() != DataType::Uint4 as i32 {
        return Ok(model.values(tensor)?.to_f64());
    }
    let count = elements(tensor)?;
    let packed = TensorProto {
        data_type: Some(DataType::Uint8 as i32),
        dims: vec![i64::try_from(count.div_ceil(2)).unwrap_or(i64::MAX)],
        ..tensor.clone()
    };
    Ok(nibbles(model.values(&packed)?.bytes(), signed, count))
}

/// The tensors of a model that are the same in every run, by name: a name stands for one tensor
/// only, also in the graphs inside nodes.
pub(super) struct Constants<'a> {
    model: &'a Model,
    tensors: HashMap<&'a str, &'a TensorProto>,
    integers: HashMap<&'a str, &'a [i64]>,
}

impl<'a> Constants<'a> {
    /// Those of a model.
    pub(super) fn of(model: &'a Model) -> Self {
        let mut found = Self { model, tensors: HashMap::new(), integers: HashMap::new() };
        found.add_initializers(&model.graph);
        each_node(&model.graph, &mut |node| {
            subgraphs(node).for_each(|inner| found.add_initializers(inner));
            if node.op_type() == "Constant"
                && let (Some(output), Some(value)) = (node.output.first(), node.attribute.first())
            {
                match &value.t {
                    Some(tensor) => drop(found.tensors.insert(output, tensor)),
                    None => drop(found.integers.insert(output, &value.ints)),
                }
            }
        });
        found
    }

    fn add_initializers(&mut self, graph: &'a GraphProto) {
        self.tensors.extend(graph.initializer.iter().map(|tensor| (tensor.name(), tensor)));
    }

    /// A tensor of that name, unless a node lists its elements.
    pub(super) fn tensor(&self, name: &str) -> Option<&'a TensorProto> {
        self.tensors.get(name).copied()
    }

    /// Its elements, where they are numbers and can be read.
    #[expect(clippy::cast_precision_loss, reason = "as with tensors of 64 bits")]
    pub(super) fn values(&self, name: &str) -> Option<Vec<f64>> {
        if let Some(tensor) = self.tensor(name) {
            return values(self.model, tensor).ok();
        }
        self.integers.get(name).map(|all| all.iter().map(|&value| value as f64).collect())
    }
}

/// Two 4-bit elements a byte, the first in the low half.
fn nibbles(bytes: &[u8], signed: bool, count: usize) -> Vec<f64> {
    let value = |nibble: u8| {
        if signed && nibble > 7 { f64::from(nibble) - 16.0 } else { f64::from(nibble) }
    };
    bytes.iter().flat_map(|byte| [value(byte & 0x0f), value(byte >> 4)]).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bit_elements_are_unpacked_low_half_first() {
        assert_eq!(nibbles(&[0x8f, 0x07], true, 3), [-1.0, -8.0, 7.0]);
        assert_eq!(nibbles(&[0x8f], false, 2), [15.0, 8.0]);
    }
}

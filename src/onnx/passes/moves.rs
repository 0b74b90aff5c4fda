//! Constants that are made without computing: one number repeated, or the elements of another
//! constant in another shape.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use crate::onnx::model::Model;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::shapes::{Shapes, fixed};
use crate::onnx::tensors::{bits, byte_size, elements};

/// Tensors of one repeated number. Those of the same number share their bytes.
#[derive(Debug, Default)]
pub(super) struct Fills(HashMap<Vec<u8>, Bytes>);

/// Elements that are written at once, small enough to stay near the processor.
const BLOCK: usize = 1 << 15;

impl Fills {
    /// What a `ConstantOfShape` node of this shape gives.
    pub(super) fn make(
        &mut self,
        model: &Model,
        node: &NodeProto,
        dims: Vec<i64>,
    ) -> Option<TensorProto> {
        let value = node.attribute.iter().find(|attribute| attribute.name() == "value");
        let value = value.map_or(Some(&*ZERO), |attribute| attribute.t.as_ref())?;
        if elements(value) != Some(1) || bits(value.data_type())? % 8 != 0 {
            return None;
        }
        let element = model.dense(value).ok()?.into_owned();
        let mut made = TensorProto {
            name: node.output.first().cloned(),
            data_type: value.data_type,
            dims,
            ..TensorProto::default()
        };
        let size = usize::try_from(byte_size(&made)?).ok()?;
        let have = self.0.get(&element).filter(|bytes| bytes.len() >= size).cloned();
        let bytes = have.unwrap_or_else(|| {
            let bytes = Bytes::from(repeated(&element, size));
            self.0.insert(element, bytes.clone());
            bytes
        });
        made.raw_data = Some(bytes.slice(..size));
        Some(made)
    }
}

/// What is repeated where nothing is said.
static ZERO: std::sync::LazyLock<TensorProto> = std::sync::LazyLock::new(|| TensorProto {
    dims: vec![1],
    data_type: Some(crate::onnx::proto::tensor_proto::DataType::Float as i32),
    float_data: vec![0.0],
    ..TensorProto::default()
});

fn repeated(element: &[u8], size: usize) -> Vec<u8> {
    if element.iter().all(|byte| *byte == 0) {
        return vec![0; size];
    }
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&element[..element.len().min(size)]);
    while bytes.len() < size {
        let more = bytes.len().min(BLOCK).min(size - bytes.len());
        bytes.extend_from_within(..more);
    }
    bytes
}

/// What a node gives that only looks at its first input in another shape.
pub(super) fn reshaped(
    shapes: &Shapes<'_>,
    node: &NodeProto,
    inputs: &[Option<&TensorProto>],
) -> Option<TensorProto> {
    if !matches!(node.op_type(), "Flatten" | "Identity" | "Reshape" | "Squeeze" | "Unsqueeze") {
        return None;
    }
    let [name] = node.output.as_slice() else { return None };
    let data = inputs.first().copied().flatten()?;
    let made =
        TensorProto { name: Some(name.clone()), dims: fixed(shapes.dims(name)?)?, ..data.clone() };
    (elements(&made)? == elements(data)?).then_some(made)
}

/// The tensors that an operator takes as its weights, through nodes that only reorder them.
pub(super) fn weights(model: &Model) -> HashSet<&str> {
    let mut found: HashSet<&str> = HashSet::new();
    for node in model.graph.node.iter().rev().filter(|node| model.is_standard_operator(node)) {
        let inputs: &[String] = match node.op_type() {
            "BatchNormalization"
            | "Conv"
            | "ConvTranspose"
            | "Gemm"
            | "InstanceNormalization"
            | "LayerNormalization"
            | "MatMul"
            | "PRelu" => node.input.get(1..).unwrap_or_default(),
            "Cast" | "Flatten" | "Identity" | "Reshape" | "Squeeze" | "Transpose" | "Unsqueeze"
                if node.output.iter().any(|output| found.contains(output.as_str())) =>
            {
                node.input.get(..1).unwrap_or_default()
            }
            _ => &[],
        };
        found.extend(inputs.iter().map(String::as_str));
    }
    found
}

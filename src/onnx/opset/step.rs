//! [`Step`]: what an adapter may ask and add while it changes a node.

use std::collections::HashSet;

use crate::onnx::names::{FreshNames, int};
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{AttributeProto, NodeProto, TensorProto};
use crate::onnx::shapes::{Extent, Shapes};
use crate::onnx::tensors::{dtype, from_tensor};
use crate::tensor::{DType, Tensor};

/// What the nodes of one graph are changed with.
pub(super) struct Step<'a> {
    /// The opset that is wanted in the end.
    pub(super) to: i64,
    /// What is known of tensors; nothing inside bodies.
    pub(super) shapes: Option<Shapes<'a>>,
    /// The names that something reads.
    pub(super) used: HashSet<&'a str>,
    pub(super) fresh: FreshNames,
    /// New initializers of the graph at hand.
    pub(super) constants: Vec<TensorProto>,
}

impl Step<'_> {
    pub(super) fn is_used(&self, name: &str) -> bool {
        !name.is_empty() && self.used.contains(name)
    }

    pub(super) fn dims(&self, name: &str) -> Option<&[Extent]> {
        self.shapes.as_ref()?.dims(name)
    }

    /// The element type of a node's first input.
    pub(super) fn dtype(&self, node: &NodeProto) -> Result<DType, String> {
        let name = node.input.first().ok_or("it has no input")?;
        let known = self.shapes.as_ref().and_then(|shapes| shapes.dtype(name)).and_then(dtype);
        known.ok_or_else(|| format!("the element type of `{name}` is not known"))
    }

    /// A new name that tells whose it is.
    pub(super) fn name(&mut self, node: &NodeProto, what: &str) -> String {
        let owner = node.output.iter().find(|name| !name.is_empty());
        self.fresh.take(&format!("{}_{what}", owner.map_or("", String::as_str)))
    }

    /// Adds a constant of integers and gives its name.
    pub(super) fn integers(
        &mut self,
        node: &NodeProto,
        what: &str,
        values: &[i64],
    ) -> Result<String, String> {
        let tensor = Tensor::from_i64(vec![values.len()].into(), values);
        Ok(self.constant(node, what, &tensor.map_err(|error| error.to_string())?))
    }

    /// Adds a constant of float32 numbers and gives its name.
    pub(super) fn floats(
        &mut self,
        node: &NodeProto,
        what: &str,
        values: &[f32],
    ) -> Result<String, String> {
        let tensor = Tensor::from_f32(vec![values.len()].into(), values);
        Ok(self.constant(node, what, &tensor.map_err(|error| error.to_string())?))
    }

    /// Adds a number of a floating-point type and gives its name.
    pub(super) fn number(
        &mut self,
        node: &NodeProto,
        what: &str,
        dtype: DType,
        value: f32,
    ) -> Result<String, String> {
        let bytes = match dtype {
            DType::Float32 => value.to_le_bytes().to_vec(),
            DType::Float64 => f64::from(value).to_le_bytes().to_vec(),
            DType::Float16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
            other => return Err(format!("its numbers are {other}")),
        };
        let tensor = Tensor::from_bytes(dtype, vec![].into(), &bytes);
        Ok(self.constant(node, what, &tensor.map_err(|error| error.to_string())?))
    }

    fn constant(&mut self, node: &NodeProto, what: &str, tensor: &Tensor) -> String {
        let name = self.name(node, what);
        self.constants.push(from_tensor(&name, tensor));
        name
    }
}

/// Takes an attribute from a node.
pub(super) fn take(node: &mut NodeProto, name: &str) -> Option<AttributeProto> {
    let at = node.attribute.iter().position(|attribute| attribute.name() == name)?;
    Some(node.attribute.remove(at))
}

pub(super) fn set_int(node: &mut NodeProto, name: &str, value: i64) {
    take(node, name);
    node.attribute.push(int(name, value));
}

pub(super) fn set_text(node: &mut NodeProto, name: &str, value: &'static str) {
    take(node, name);
    node.attribute.push(AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::String as i32),
        s: Some(value.as_bytes().into()),
        ..AttributeProto::default()
    });
}

/// Makes a name a node's input of that index; those before it that are not there are left out.
pub(super) fn set_input(node: &mut NodeProto, index: usize, name: String) {
    if node.input.len() <= index {
        node.input.resize(index + 1, String::new());
    }
    node.input[index] = name;
}

/// A node of the standard.
pub(super) fn make(op: &str, name: String, input: Vec<String>, output: String) -> NodeProto {
    NodeProto {
        op_type: Some(op.to_owned()),
        name: Some(name),
        input,
        output: vec![output],
        ..NodeProto::default()
    }
}

//! Small ONNX models, put together node by node, and arrays beside them.

use prost::Message;
use trt_pipeline::onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};

/// A graph of float32 tensors that grows node by node.
#[derive(Default)]
pub struct Network(GraphProto);

/// A float32 tensor of these axes; 0 is the batch.
fn value(name: &str, axes: &[i64]) -> ValueInfoProto {
    let dim = |&extent: &i64| tensor_shape_proto::Dimension {
        value: Some(match extent {
            0 => tensor_shape_proto::dimension::Value::DimParam("n".to_owned()),
            _ => tensor_shape_proto::dimension::Value::DimValue(extent),
        }),
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: axes.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(shape) };
    let typed = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), denotation: None };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(typed), ..Default::default() }
}

impl Network {
    pub fn input(mut self, name: &str, axes: &[i64]) -> Self {
        self.0.input.push(value(name, axes));
        self
    }

    pub fn output(mut self, name: &str, axes: &[i64]) -> Self {
        self.0.output.push(value(name, axes));
        self
    }

    /// A node called after its output.
    pub fn node(mut self, op: &str, inputs: &[&str], output: &str) -> Self {
        self.0.node.push(NodeProto {
            op_type: Some(op.to_owned()),
            name: Some(output.to_owned()),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            ..Default::default()
        });
        self
    }

    pub fn weights(mut self, name: &str, axes: &[i64], values: Vec<f32>) -> Self {
        self.0.initializer.push(TensorProto {
            name: Some(name.to_owned()),
            dims: axes.to_vec(),
            data_type: Some(1),
            float_data: values,
            ..Default::default()
        });
        self
    }

    /// The file's bytes.
    pub fn encode(self) -> Vec<u8> {
        let graph = GraphProto { name: Some("g".to_owned()), ..self.0 };
        let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(17) };
        ModelProto {
            ir_version: Some(8),
            opset_import: vec![opset],
            graph: Some(graph),
            ..Default::default()
        }
        .encode_to_vec()
    }
}

/// An `.npy` file of float32 values.
pub fn npy(axes: &[usize], values: &[f32]) -> Vec<u8> {
    let axes: Vec<String> = axes.iter().map(ToString::to_string).collect();
    let shape = axes.join(",");
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape},), }}");
    let mut file = b"\x93NUMPY\x01\0".to_vec();
    file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    file
}

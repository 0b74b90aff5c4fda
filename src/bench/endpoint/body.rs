//! Bodies of requests and answers over HTTP: JSON, and JSON followed by tensors.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kserve::{datatype, from_datatype};
use crate::tensor::{DType, Tensor, TensorSpec};

use super::Message;
use super::answer::{Output, Unreadable};

/// A request with numbers in JSON.
pub(super) fn json(specs: &[TensorSpec], tensors: &[Tensor]) -> Message {
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(br#"{"inputs":["#);
    for (at, (spec, tensor)) in specs.iter().zip(tensors).enumerate() {
        let head = json!({
            "name": spec.name, "shape": tensor.shape(), "datatype": datatype(spec.dtype),
        });
        let head = head.to_string();
        if at > 0 {
            text.push(b',');
        }
        text.extend_from_slice(head.trim_end_matches('}').as_bytes());
        text.extend_from_slice(br#","data":"#);
        write_numbers(tensor, &mut text);
        text.push(b'}');
    }
    text.extend_from_slice(b"]}");
    Message { body: text.into(), header_length: None }
}

/// Elements as a JSON array, in the fewest digits that mean them. What JSON has no number for is
/// `null`.
fn write_numbers(tensor: &Tensor, text: &mut Vec<u8>) {
    macro_rules! numbers {
        ($type:ty) => {
            serde_json::to_writer(text, tensor.as_slice::<$type>().unwrap_or_default())
        };
    }
    let written = match tensor.dtype() {
        DType::Float64 => numbers!(f64),
        DType::Float32 => numbers!(f32),
        DType::Int64 => numbers!(i64),
        DType::Int32 => numbers!(i32),
        DType::Int16 => numbers!(i16),
        DType::Int8 => numbers!(i8),
        DType::UInt64 => numbers!(u64),
        DType::UInt32 => numbers!(u32),
        DType::UInt16 => numbers!(u16),
        DType::UInt8 => numbers!(u8),
        DType::Bool => {
            let truths: Vec<bool> = tensor.bytes().iter().map(|&byte| byte != 0).collect();
            serde_json::to_writer(text, &truths)
        }
        DType::Float16 | DType::BFloat16 | DType::Float8E4M3 | DType::Float8E5M2 => {
            serde_json::to_writer(text, &tensor.to_f64())
        }
    };
    // Numbers always have a text, and memory is always written.
    debug_assert!(written.is_ok());
}

/// A request with tensors after the JSON, that asks for an answer like it.
pub(super) fn binary(specs: &[TensorSpec], tensors: &[Tensor]) -> Message {
    let mut inputs = Vec::with_capacity(specs.len());
    for (spec, tensor) in specs.iter().zip(tensors) {
        inputs.push(json!({
            "name": spec.name,
            "shape": tensor.shape(),
            "datatype": datatype(spec.dtype),
            "parameters": { "binary_data_size": tensor.bytes().len() },
        }));
    }
    let head = json!({ "inputs": inputs, "parameters": { "binary_data_output": true } });
    let head = head.to_string();
    let bytes: usize = tensors.iter().map(|tensor| tensor.bytes().len()).sum();
    let mut body = BytesMut::with_capacity(head.len() + bytes);
    body.extend_from_slice(head.as_bytes());
    for tensor in tensors {
        body.extend_from_slice(tensor.bytes());
    }
    Message { body: body.freeze(), header_length: Some(head.len()) }
}

/// The `error` of an answer that is none.
pub(super) fn error_of(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value.get("error")?.as_str().map(str::to_owned)
}

/// An output in the JSON of an answer.
#[derive(Deserialize)]
pub(super) struct JsonOutput {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    #[serde(default)]
    parameters: Parameters,
    data: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Parameters {
    binary_data_size: Option<usize>,
}

impl JsonOutput {
    /// Takes its bytes from `tail`, or packs its numbers.
    pub(super) fn read(self, tail: &mut Bytes) -> Result<Output, Unreadable> {
        let bytes = match (self.parameters.binary_data_size, self.data) {
            (Some(size), None) if size <= tail.len() => tail.split_to(size),
            (Some(size), None) => {
                let (name, left) = (self.name, tail.len());
                return Err(Unreadable(format!(
                    "output `{name}`: {left} bytes of {size} are left"
                )));
            }
            (None, Some(data)) => packed(&self.datatype, &data).ok_or_else(|| {
                let (name, datatype) = (&self.name, &self.datatype);
                Unreadable(format!("the data of output `{name}` is not of datatype `{datatype}`"))
            })?,
            _ => {
                let name = self.name;
                return Err(Unreadable(format!("output `{name}` has not exactly one value")));
            }
        };
        Output::new(self.name, &self.datatype, Some(self.shape), bytes)
    }
}

fn packed(name: &str, data: &Value) -> Option<Bytes> {
    let mut bytes = BytesMut::new();
    pack(from_datatype(name)?, data, &mut bytes)?;
    Some(bytes.freeze())
}

/// Appends the elements of a value, which may be nested as its axes are.
fn pack(dtype: DType, value: &Value, bytes: &mut BytesMut) -> Option<()> {
    if let Value::Array(values) = value {
        return values.iter().try_for_each(|value| pack(dtype, value, bytes));
    }
    #[expect(clippy::cast_possible_truncation, reason = "to the nearest of a narrower type")]
    match dtype {
        DType::Float64 => bytes.extend_from_slice(&value.as_f64()?.to_le_bytes()),
        DType::Float32 => bytes.extend_from_slice(&(value.as_f64()? as f32).to_le_bytes()),
        DType::Float16 => {
            bytes.extend_from_slice(&half::f16::from_f64(value.as_f64()?).to_le_bytes());
        }
        DType::BFloat16 => {
            bytes.extend_from_slice(&half::bf16::from_f64(value.as_f64()?).to_le_bytes());
        }
        DType::Bool => {
            let truth = value.as_bool().or_else(|| Some(value.as_u64()? != 0))?;
            bytes.extend_from_slice(&[u8::from(truth)]);
        }
        DType::UInt64 => bytes.extend_from_slice(&value.as_u64()?.to_le_bytes()),
        DType::Float8E4M3 | DType::Float8E5M2 => return None,
        // Two's complement: the low bytes of the wide number are the narrow one.
        narrow => bytes.extend_from_slice(&value.as_i64()?.to_le_bytes()[..narrow.size()]),
    }
    Some(())
}

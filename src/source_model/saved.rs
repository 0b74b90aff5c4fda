//! TensorFlow's `saved_model.pb`: tags and signatures, without the graphs.

use std::collections::BTreeMap;

use prost::Message;

use super::wire::{Value, Wire, WireError};
use super::{NamedTensor, Signature};

/// A longer signature is none.
const LONGEST_SIGNATURE: u64 = 1 << 20;
const MOST_SIGNATURES: usize = 256;
/// The signature of what TensorFlow runs when it loads the model.
const INITIALIZER: &str = "__saved_model_init_op";

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<SignatureDef>,
}

#[derive(Clone, PartialEq, Message)]
struct SignatureDef {
    #[prost(btree_map = "string, message", tag = "1")]
    inputs: BTreeMap<String, TensorInfo>,
    #[prost(btree_map = "string, message", tag = "2")]
    outputs: BTreeMap<String, TensorInfo>,
    #[prost(string, tag = "3")]
    method: String,
}

#[derive(Clone, PartialEq, Message)]
struct TensorInfo {
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(message, optional, tag = "3")]
    shape: Option<TensorShape>,
}

/// TensorFlow's shape of a tensor.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorShape {
    #[prost(message, repeated, tag = "2")]
    dims: Vec<Dim>,
    #[prost(bool, tag = "3")]
    unknown_rank: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(int64, tag = "1")]
    size: i64,
}

impl TensorShape {
    /// Its extents; `None` where not even their number is known.
    pub(super) fn dims(&self) -> Option<Vec<Option<u64>>> {
        let dim = |dim: &Dim| u64::try_from(dim.size).ok();
        (!self.unknown_rank).then(|| self.dims.iter().map(dim).collect())
    }
}

/// What TensorFlow calls an element type.
pub(super) fn data_type(number: i32) -> String {
    match number {
        1 => "float32",
        2 => "float64",
        3 => "int32",
        4 => "uint8",
        5 => "int16",
        6 => "int8",
        7 => "string",
        8 => "complex64",
        9 => "int64",
        10 => "bool",
        14 => "bfloat16",
        17 => "uint16",
        18 => "complex128",
        19 => "float16",
        20 => "resource",
        21 => "variant",
        22 => "uint32",
        23 => "uint64",
        0 => "unknown",
        other => return format!("type {other}"),
    }
    .to_owned()
}

/// What a `SavedModel` tells of itself.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// Versions of its graphs: each has tags.
    pub(super) graphs: u64,
    pub(super) tags: Vec<String>,
    pub(super) version: Option<String>,
    pub(super) signatures: Vec<Signature>,
}

impl Saved {
    /// Reads the file `saved_model.pb`.
    pub(super) fn read(wire: &mut Wire) -> Result<Self, WireError> {
        let mut saved = Self::default();
        let end = wire.size();
        while let Some((number, value)) = wire.field(end)? {
            match (number, value) {
                (2, Value::Bytes { end }) => {
                    saved.graphs += 1;
                    saved.graph(wire, end)?;
                }
                (_, Value::Bytes { end }) => wire.skip_to(end)?,
                _ => {}
            }
        }
        Ok(saved)
    }

    fn graph(&mut self, wire: &mut Wire, end: u64) -> Result<(), WireError> {
        while let Some((number, value)) = wire.field(end)? {
            let Value::Bytes { end } = value else { continue };
            match number {
                1 => self.about(wire, end)?,
                5 => {
                    let bytes = wire.bytes(end, LONGEST_SIGNATURE)?.unwrap_or_default();
                    if let Ok(Entry { key, value: Some(value) }) = Entry::decode(&bytes[..])
                        && key != INITIALIZER
                        && self.signatures.len() < MOST_SIGNATURES
                    {
                        self.signatures.push(signature(key, value));
                    }
                }
                _ => wire.skip_to(end)?,
            }
        }
        self.signatures.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    fn about(&mut self, wire: &mut Wire, end: u64) -> Result<(), WireError> {
        const MOST_TAGS: usize = 64;
        while let Some((number, value)) = wire.field(end)? {
            let Value::Bytes { end } = value else { continue };
            match number {
                4 if self.tags.len() < MOST_TAGS => self.tags.extend(wire.text(end)?),
                5 => self.version = wire.text(end)?,
                _ => wire.skip_to(end)?,
            }
        }
        Ok(())
    }
}

fn signature(name: String, found: SignatureDef) -> Signature {
    let tensor = |(name, info): (String, TensorInfo)| NamedTensor {
        name,
        dtype: data_type(info.data_type),
        shape: info.shape.as_ref().and_then(TensorShape::dims),
    };
    Signature {
        name,
        method: Some(found.method).filter(|method| !method.is_empty()),
        inputs: found.inputs.into_iter().map(tensor).collect(),
        outputs: found.outputs.into_iter().map(tensor).collect(),
    }
}

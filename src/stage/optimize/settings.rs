//! Parts of the settings of `optimize`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::onnx::BatchSize;

/// How many samples the model takes at once: `dynamic`, or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch(pub BatchSize);

const DYNAMIC: &str = "dynamic";

impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            BatchSize::Dynamic => serializer.serialize_str(DYNAMIC),
            BatchSize::Fixed(size) => serializer.serialize_u32(size),
        }
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BatchVisitor;
        impl de::Visitor<'_> for BatchVisitor {
            type Value = Batch;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`dynamic` or a number of samples")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Batch, E> {
                if text == DYNAMIC {
                    return Ok(Batch(BatchSize::Dynamic));
                }
                Err(E::invalid_value(de::Unexpected::Str(text), &self))
            }
            fn visit_u64<E: de::Error>(self, size: u64) -> Result<Batch, E> {
                match u32::try_from(size) {
                    Ok(size) if size > 0 => Ok(Batch(BatchSize::Fixed(size))),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(size), &self)),
                }
            }
            fn visit_i64<E: de::Error>(self, size: i64) -> Result<Batch, E> {
                match u64::try_from(size) {
                    Ok(size) => self.visit_u64(size),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(size), &self)),
                }
            }
        }
        deserializer.deserialize_any(BatchVisitor)
    }
}

impl JsonSchema for Batch {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Batch".into()
    }
    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "enum": [DYNAMIC] },
                { "type": "integer", "minimum": 1, "maximum": u32::MAX },
            ]
        })
    }
}

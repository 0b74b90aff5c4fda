//! [`Devices`]: the devices that a model runs on, as specs write them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The devices to run on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Devices {
    /// All that there are when the model is loaded.
    #[default]
    All,
    /// Those of these numbers.
    Listed(Vec<u32>),
}

impl Devices {
    /// The numbers; `None` for all there are.
    pub(super) fn listed(&self) -> Option<&[u32]> {
        match self {
            Self::All => None,
            Self::Listed(numbers) => Some(numbers),
        }
    }

    /// Whether it lists none, or one twice.
    pub(super) fn are_unclear(&self) -> bool {
        let Self::Listed(numbers) = self else { return false };
        let different: BTreeSet<u32> = numbers.iter().copied().collect();
        numbers.is_empty() || different.len() < numbers.len()
    }
}

impl Serialize for Devices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Listed(numbers) => numbers.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Devices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = Devices;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all` or a list of device numbers")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Devices, E> {
                match text {
                    "all" => Ok(Devices::All),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Devices, A::Error> {
                let mut numbers = Vec::new();
                while let Some(number) = list.next_element()? {
                    numbers.push(number);
                }
                Ok(Devices::Listed(numbers))
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

impl JsonSchema for Devices {
    fn schema_name() -> Cow<'static, str> {
        "Devices".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "enum": ["all"] },
            { "type": "array", "items": { "type": "integer", "minimum": 0 }, "minItems": 1 },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_all_or_a_list_of_numbers() {
        let read = |text| serde_json::from_str::<Devices>(text);
        for (text, expected) in [(r#""all""#, Devices::All), ("[1,0]", Devices::Listed(vec![1, 0]))]
        {
            let devices = read(text).unwrap();
            assert_eq!(serde_json::to_string(&devices).unwrap(), text);
            assert_eq!(devices, expected);
        }
        for text in [r#""any""#, "0", "[-1]", r#"["0"]"#, "{}"] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("expected"), "{text}: {error}");
        }
    }
}

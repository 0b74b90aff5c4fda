//! [`ByteSize`]: an amount of memory as people write it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// Units, largest first, as they are written and in bytes.
const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];
/// The most that is taken: a petabyte, far within what every library can count.
const MOST: u64 = 1 << 50;

/// An amount of memory: a number of bytes, or a whole number with a unit, such as `4GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// A text that is no amount of memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidByteSize {
    /// It is not a number with a unit.
    #[error(
        "`{0}` is no amount of memory; write bytes, or a whole number with a unit: `4GiB`, `512MiB`, `64KiB`"
    )]
    Form(String),
    /// It is more than any machine has.
    #[error("`{0}` is more memory than any machine has")]
    TooMuch(String),
}

impl FromStr for ByteSize {
    type Err = InvalidByteSize;
    fn from_str(text: &str) -> Result<Self, InvalidByteSize> {
        let form = || InvalidByteSize::Form(text.to_owned());
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim();
        let scale = match UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
            Some((_, scale)) => *scale,
            None if unit.is_empty() => 1,
            None => return Err(form()),
        };
        if number.is_empty() {
            return Err(form());
        }
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale));
        bytes
            .filter(|&bytes| bytes <= MOST)
            .map(Self)
            .ok_or_else(|| InvalidByteSize::TooMuch(text.to_owned()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |&(_, scale): &(&str, u64)| self.0 >= scale && self.0.is_multiple_of(scale);
        match UNITS[..4].iter().find(|unit| whole(unit)) {
            Some((unit, scale)) => write!(f, "{}{unit}", self.0 / scale),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl de::Visitor<'_> for SizeVisitor {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of memory, such as `4GiB`")
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                self.visit_str(&bytes.to_string())
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

// No description beside the choices: editors would show it in place of the field's own.
impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }
    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        let units: Vec<&str> = UNITS.iter().map(|(name, _)| *name).collect();
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": format!("^[0-9]+ *({})$", units.join("|")) },
                { "type": "integer", "minimum": 0 }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn units_are_those_people_write() {
        for (text, bytes) in [
            ("4GiB", 4 << 30),
            ("512 MiB", 512 << 20),
            ("64kib", 64 << 10),
            ("1TiB", 1 << 40),
            ("2GB", 2_000_000_000),
            ("3kB", 3000),
            ("7B", 7),
            ("8192", 8192),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        assert_eq!(serde_json::from_value::<ByteSize>(json!(4096)).unwrap(), ByteSize(4096));
    }

    #[test]
    fn other_texts_are_refused_with_examples() {
        for text in ["", "GiB", "4G", "1.5GiB", "-1MiB", "4 gigabytes", "٤GiB", " 4GiB"] {
            let error = text.parse::<ByteSize>().unwrap_err();
            assert_eq!(error, InvalidByteSize::Form(text.to_owned()));
            assert!(error.to_string().contains("`512MiB`"), "{error}");
        }
        for text in ["1025TiB", "99999999999999999999GiB", "18446744073709551615TiB"] {
            assert!(matches!(text.parse::<ByteSize>(), Err(InvalidByteSize::TooMuch(_))), "{text}");
        }
    }

    #[test]
    fn a_size_is_shown_in_its_largest_whole_unit_and_kept_as_bytes() {
        for text in ["4GiB", "1536MiB", "4097B", "0B", "64KiB"] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.to_string(), text);
            let json = serde_json::to_value(size).unwrap();
            assert!(json.is_u64(), "{json}");
            assert_eq!(serde_json::from_value::<ByteSize>(json).unwrap(), size);
        }
    }
}

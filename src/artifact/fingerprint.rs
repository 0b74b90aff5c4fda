//! [`Fingerprint`]: everything that may change a stage's result, as named fields, so that a miss
//! can be explained by comparing two of them.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Digest;

/// Everything that may change a stage's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    // In alphabetical order, so that plain serialisation is canonical for most stages.
    /// Content digests of the inputs, by role.
    pub inputs: BTreeMap<String, Digest>,
    /// The stage kind.
    pub kind: String,
    /// Resolved settings; a field at its default is left out.
    pub settings: Value,
    /// Facts about the tools and the machine that can change the result.
    pub tools: BTreeMap<String, String>,
    /// Version of that kind's implementation.
    pub version: u32,
}

/// One field in which two fingerprints differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldChange {
    /// The field's path, such as `inputs.model` or `settings.profiles[0]`.
    pub field: String,
    /// Its value in the earlier fingerprint, `null` where it was absent.
    pub old: Option<String>,
    /// Its value now, `null` where it is absent.
    pub new: Option<String>,
}

impl fmt::Display for FieldChange {
    /// `settings.batch: 1 -> 8`, with digests cut. A setting that is not there is at its default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let absent = if self.field.starts_with("settings.") { "default" } else { "absent" };
        let shown = |value: &Option<String>| match value {
            Some(text) if text.parse::<Digest>().is_ok() => format!("{}..", &text[..12]),
            Some(text) => text.clone(),
            None => absent.to_owned(),
        };
        write!(f, "{}: {} -> {}", self.field, shown(&self.old), shown(&self.new))
    }
}

impl Fingerprint {
    /// The cache key: BLAKE3 of the canonical JSON (RFC 8785).
    pub fn key(&self) -> Digest {
        Digest::of(&canonical_json(self, &self.settings))
    }

    /// The fields in which `self` (now) differs from `old`, in field order.
    pub fn changes_since(&self, old: &Self) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let as_value = |fingerprint: &Self| serde_json::to_value(fingerprint).unwrap_or_default();
        compare("", Some(&as_value(old)), Some(&as_value(self)), &mut changes);
        changes
    }
}

/// Canonical JSON (RFC 8785) of a value whose maps are sorted by bytes; `settings` is the only
/// part of it that may hold numbers with a fraction.
///
/// `serde_json` writes the same bytes, several times faster, unless there are such numbers (which
/// it prints in another way) or characters beyond ASCII (which sort in another way).
pub(crate) fn canonical_json(value: &impl Serialize, settings: &Value) -> Vec<u8> {
    // Serialising a tree of strings, numbers and maps into memory cannot fail; an empty text
    // would still be a key of its own and never match another stage's.
    let plain = serde_json::to_vec(value).unwrap_or_default();
    if plain.is_ascii() && !has_floats(settings) {
        return plain;
    }
    serde_json_canonicalizer::to_vec(value).unwrap_or_default()
}

fn has_floats(value: &Value) -> bool {
    const EXACT: u64 = 1 << 53;
    match value {
        Value::Number(number) => {
            let exact = number.as_u64().is_some_and(|n| n <= EXACT)
                || number.as_i64().is_some_and(|n| n.unsigned_abs() <= EXACT);
            !exact
        }
        Value::Array(items) => items.iter().any(has_floats),
        Value::Object(fields) => fields.values().any(has_floats),
        _ => false,
    }
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<FieldChange>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, old.get(key), new.get(key), changes);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                compare(&format!("{path}[{index}]"), old.get(index), new.get(index), changes);
            }
        }
        _ => {
            let text = |value: Option<&Value>| {
                value.map(|value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                })
            };
            changes.push(FieldChange { field: path.to_owned(), old: text(old), new: text(new) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Fingerprint {
        Fingerprint {
            kind: "build".into(),
            version: 1,
            settings: serde_json::json!({ "profiles": [{ "x": 1 }] }),
            inputs: BTreeMap::from([("model".to_owned(), Digest::of(b"a"))]),
            tools: BTreeMap::from([("tract".to_owned(), "0.23.9".to_owned())]),
        }
    }

    #[test]
    fn every_field_changes_the_key_and_is_named() {
        let base = sample();
        let mut other = sample();
        other.inputs.insert("model".into(), Digest::of(b"b"));
        other.tools.insert("cpu".into(), "avx2".into());
        other.settings = serde_json::json!({ "profiles": [{ "x": 2 }] });
        assert_ne!(base.key(), other.key());
        let fields: Vec<_> = other.changes_since(&base).into_iter().map(|c| c.field).collect();
        assert_eq!(fields, ["inputs.model", "settings.profiles[0].x", "tools.cpu"]);
    }

    proptest::proptest! {
        #[test]
        fn the_key_is_always_that_of_the_canonical_json(
            text in "\\PC{0,6}|[\\x00-\\x7f]{0,6}",
            number: f64,
            whole: i64,
            role in "\\PC{1,4}",
        ) {
            let mut fingerprint = sample();
            fingerprint.settings = serde_json::json!({
                &text: text, "float": number, "whole": whole, "small": whole % 1000,
            });
            fingerprint.inputs.insert(role, Digest::of(b"x"));
            let canonical = serde_json_canonicalizer::to_vec(&fingerprint).unwrap();
            proptest::prop_assert_eq!(fingerprint.key(), Digest::of(&canonical));
            fingerprint.settings = serde_json::json!({ &text: text, "small": whole % 1000 });
            let canonical = serde_json_canonicalizer::to_vec(&fingerprint).unwrap();
            proptest::prop_assert_eq!(fingerprint.key(), Digest::of(&canonical));
        }
    }

    #[test]
    fn the_key_of_a_known_fingerprint_never_moves() {
        insta::assert_snapshot!(
            sample().key(),
            @"0906274e74b6a948dec3cc0bc36fcea130751a93e0e1452f0efcf3b65a79a3fd"
        );
    }
}

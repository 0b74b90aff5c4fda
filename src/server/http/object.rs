//! JSON objects read field by field: unknown fields are passed over, known ones may come once.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// A value whose fields are read from a JSON object.
pub(super) trait Object<'de>: Default {
    /// What it is, for messages.
    const WHAT: &'static str;

    /// Reads the value of one field, or passes over it.
    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Reads an [`Object`], and nothing else than an object.
#[derive(Debug, Default)]
pub(super) struct Fields<T>(pub(super) T);

impl<'de, T: Object<'de>> Deserialize<'de> for Fields<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor(PhantomData)).map(Self)
    }
}

struct FieldsVisitor<T>(PhantomData<T>);

impl<'de, T: Object<'de>> Visitor<'de> for FieldsVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut value = T::default();
        while let Some(Text(name)) = map.next_key()? {
            value.field(&name, &mut map)?;
        }
        Ok(value)
    }
}

/// A text, where it stands in the body if it has no escapes.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Reads a field that may come once; `null` is as good as leaving it out.
pub(super) fn set<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    slot: &mut Option<T>,
    name: &'static str,
    map: &mut A,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    // The place in the text, at the end of the message, stays the place of this one.
    *slot =
        map.next_value().map_err(|error| A::Error::custom(format_args!("`{name}`: {error}")))?;
    Ok(())
}

/// Passes over a field.
pub(super) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

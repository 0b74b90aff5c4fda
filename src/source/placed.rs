//! [`Placed`]: a value of plain fields, and the place of each.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};

use super::{SPANNED, Span};

/// A value read from a mapping, and where the value of each key stands: for settings whose type
/// must know nothing of the file they come from. Equality sees the value only.
#[derive(Debug, Clone, Default)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    places: BTreeMap<String, Span>,
}

impl<T> Placed<T> {
    /// Where the value of a key stands; `None` if the key is not there.
    pub fn place(&self, key: &str) -> Option<Span> {
        self.places.get(key).copied()
    }
}

impl<T> Deref for Placed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Placed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlacedVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for PlacedVisitor<T> {
            type Value = Placed<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let mut places = BTreeMap::new();
                let recorder = Recorder { map, key: String::new(), places: &mut places };
                let value = T::deserialize(MapAccessDeserializer::new(recorder))?;
                Ok(Placed { value, places })
            }
        }
        deserializer.deserialize_map(PlacedVisitor(std::marker::PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Passes a mapping on and writes down where its values stand.
struct Recorder<'a, A> {
    map: A,
    key: String,
    places: &'a mut BTreeMap<String, Span>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Recorder<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        self.map.next_key_seed(KeySeed { seed, key: &mut self.key })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let mut span = Span::default();
        let value = self.map.next_value_seed(ValueSeed { seed, span: &mut span })?;
        self.places.insert(std::mem::take(&mut self.key), span);
        Ok(value)
    }
}

/// Reads a key and keeps its text.
struct KeySeed<'a, K> {
    seed: K,
    key: &'a mut String,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for KeySeed<'_, K> {
    type Value = K::Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<K::Value, D::Error> {
        *self.key = String::deserialize(deserializer)?;
        self.seed.deserialize(self.key.as_str().into_deserializer())
    }
}

/// Reads a value and keeps its place, as [`super::Spanned`] does.
struct ValueSeed<'a, V> {
    seed: V,
    span: &'a mut Span,
}

impl<'de, V: DeserializeSeed<'de>> DeserializeSeed<'de> for ValueSeed<'_, V> {
    type Value = V::Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_newtype_struct(SPANNED, self)
    }
}

impl<'de, V: DeserializeSeed<'de>> Visitor<'de> for ValueSeed<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<V::Value, A::Error> {
        let missing = |index| de::Error::invalid_length(index, &"a value and its place");
        self.span.start = seq.next_element()?.ok_or_else(|| missing(0))?;
        self.span.len = seq.next_element()?.ok_or_else(|| missing(1))?;
        seq.next_element_seed(self.seed)?.ok_or_else(|| missing(2))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<V::Value, D::Error> {
        self.seed.deserialize(deserializer)
    }
}

//! Where a value stands in the user's file: [`SourceFile`], [`Span`], [`Spanned`] and [`Placed`].
//!
//! Owns positions and the way a position travels through serde. Knows nothing of YAML
//! syntax (`spec::tree` does) and nothing of what the values mean.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

mod placed;

pub use placed::Placed;

/// A text the user wrote, held once and shared by every diagnostic that points into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as the user gave it, for display.
    pub name: String,
    /// The whole text.
    pub text: Arc<str>,
}

impl SourceFile {
    /// Wraps a text under the name that diagnostics show for it.
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// 1-based line and column (in characters) of a byte offset.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before[start..].chars().count() + 1)
    }
}

/// A byte range in a [`SourceFile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Span {
    /// A span of `len` bytes from `start`; offsets past 4 GiB saturate.
    pub fn new(start: usize, len: usize) -> Self {
        Self {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            len: u32::try_from(len).unwrap_or(u32::MAX),
        }
    }
}

impl From<Span> for miette::SourceSpan {
    fn from(span: Span) -> Self {
        (span.start as usize, span.len as usize).into()
    }
}

/// A value and where it was written. Equality, ordering and serialisation see the value only;
/// a format without places, such as JSON, reads it back as a value that stands nowhere.
///
/// In the JSON Schema a `Spanned<T>` also accepts `"${name}"`, because the value of any field may
/// come from `vars`; text fields accept every string anyway.
#[derive(Clone, Copy, Default)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place in the file; empty for a default that nobody wrote.
    pub span: Span,
}

/// The name under which the spec deserializer recognises [`Spanned`].
pub(crate) const SPANNED: &str = "\u{0}trt-pipeline::Spanned";

impl<T> Spanned<T> {
    /// Pairs a value with its place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// A value that stands nowhere in the file, such as a default.
    pub fn unplaced(value: T) -> Self {
        Self { value, span: Span::default() }
    }

    /// Whether the value is its type's default, so that it can be left out of a cache key.
    pub fn is_default(&self) -> bool
    where
        T: Default + PartialEq,
    {
        self.value == T::default()
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T: PartialOrd> PartialOrd for Spanned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl<T: Ord> Ord for Spanned<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.value.cmp(&other.value)
    }
}

impl<T: std::hash::Hash> std::hash::Hash for Spanned<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl<T: Serialize> Serialize for Spanned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpannedVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for SpannedVisitor<T> {
            type Value = Spanned<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let missing = |index| de::Error::invalid_length(index, &"a value and its place");
                let start = seq.next_element()?.ok_or_else(|| missing(0))?;
                let len = seq.next_element()?.ok_or_else(|| missing(1))?;
                let value = seq.next_element()?.ok_or_else(|| missing(2))?;
                Ok(Spanned { value, span: Span { start, len } })
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Self::Value, D::Error> {
                T::deserialize(deserializer).map(Spanned::unplaced)
            }
        }
        deserializer.deserialize_newtype_struct(SPANNED, SpannedVisitor(std::marker::PhantomData))
    }
}

// In a schema the place is not there: that a value may be written as `${x}` is said for all
// fields alike, where the whole schema is made.
impl<T: JsonSchema> JsonSchema for Spanned<T> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_and_column_count_characters_from_one() {
        let file = SourceFile::new("x", "ab\nüb: 1\n");
        assert_eq!(file.line_column(0), (1, 1));
        assert_eq!(file.line_column(3), (2, 1));
        assert_eq!(file.line_column(5), (2, 2));
        assert_eq!(file.line_column(4), (2, 1), "inside a character counts as its start");
        assert_eq!(file.line_column(999), (3, 1));
    }

    #[test]
    fn equality_and_serialisation_ignore_the_place() {
        let a = Spanned::new(3, Span::new(1, 1));
        let b = Spanned::new(3, Span::new(9, 1));
        assert_eq!(a, b);
        assert_eq!(serde_json::to_string(&a).unwrap(), "3");
    }

    #[test]
    fn a_format_without_places_gives_values_that_stand_nowhere() {
        let text = r#"{"a":[1,2]}"#;
        let read: std::collections::BTreeMap<Spanned<String>, Spanned<Vec<Spanned<u8>>>> =
            serde_json::from_str(text).unwrap();
        let (key, value) = read.first_key_value().unwrap();
        assert_eq!((key.span, value.span, value[1].span), Default::default());
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}

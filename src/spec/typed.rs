//! A tree of nodes to typed settings: a serde deserializer whose errors know their place.

use serde::Deserialize;
use serde::de::value::{StrDeserializer, U32Deserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};

use crate::source::{SPANNED, Span};

use super::error::SpecError;
use super::tree::{Entry, Node, Plain, Scalar, Style, Value};

/// Reads a typed value. `key` is the place of the key the node stands under, which is what is
/// marked where a field is missing.
pub(crate) fn from_node<'de, T: Deserialize<'de>>(
    node: &'de Node,
    key: Span,
) -> Result<T, SpecError> {
    T::deserialize(NodeDeserializer { node, key }).map_err(|error| *error.place(key).told)
}

/// A [`SpecError`] that may not know its place yet: the innermost deserializer gives it one.
#[derive(Debug)]
struct TypeError {
    told: Box<SpecError>,
    stray: Option<Box<Stray>>,
}

/// A key that is not known where it stands, while its error passes the mappings around it.
#[derive(Debug)]
struct Stray {
    key: String,
    /// The key that the mapping just left stands under.
    under: String,
    /// Whether the mapping that this is a key of has it as well.
    is_known: bool,
}

impl TypeError {
    fn new(code: &'static str, message: String, label: impl Into<String>) -> Self {
        let told = Box::new(SpecError::new(code, Span::default(), message, label));
        Self { told, stray: None }
    }

    fn place(mut self, span: Span) -> Self {
        if self.told.span == Span::default() {
            self.told.span = span;
        }
        self
    }

    /// The error leaves the value of a key.
    fn left(mut self, key: &str) -> Self {
        match self.stray.take() {
            Some(stray) if stray.is_known => {
                let Stray { key: stray, under, .. } = *stray;
                let help = format!("`{stray}` is a key of `{key}`, beside `{under}`");
                self.told.help = Some(help);
            }
            Some(stray) => {
                self.stray = Some(Box::new(Stray { under: key.to_owned(), ..*stray }));
            }
            None => {}
        }
        self
    }

    /// The error leaves a mapping that has these keys.
    fn among(mut self, keys: &[&str]) -> Self {
        if let Some(stray) = &mut self.stray
            && !stray.under.is_empty()
        {
            stray.is_known = keys.contains(&stray.key.as_str());
        }
        self
    }
}

impl std::fmt::Display for TypeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.told.fmt(f)
    }
}

impl std::error::Error for TypeError {}

impl de::Error for TypeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new("spec::value", message.to_string(), "here")
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = in_words(&expected.to_string());
        Self::new("spec::type", format!("expected {expected}, found {}", shown(found)), expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let error =
            Self::new("spec::unknown_key", format!("unknown key `{field}`"), "not a key here");
        let stray = Stray { key: field.to_owned(), under: String::new(), is_known: false };
        let told = Box::new(error.told.suggesting(field, expected.iter().copied(), "keys"));
        Self { told, stray: Some(Box::new(stray)) }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let error = Self::new(
            "spec::choice",
            format!("unknown choice `{variant}`"),
            "not one of the choices",
        );
        let told = Box::new(error.told.suggesting(variant, expected.iter().copied(), "choices"));
        Self { told, ..error }
    }

    fn missing_field(field: &'static str) -> Self {
        let label = format!("needs `{field}`");
        let mut error =
            Self::new("spec::missing_key", format!("the key `{field}` is missing"), label);
        error.told.help = Some(format!("add `{field}: ..` here"));
        error
    }
}

/// Rust's type names in the words of a YAML author.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, zero or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "text".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        other => other.to_owned(),
    }
}

fn shown(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number `{value}`"),
        Unexpected::Signed(value) => format!("the number `{value}`"),
        Unexpected::Float(value) => format!("the number `{value}`"),
        Unexpected::Str(value) => format!("the text `{value}`"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

#[derive(Clone, Copy)]
struct NodeDeserializer<'de> {
    node: &'de Node,
    key: Span,
}

impl<'de> NodeDeserializer<'de> {
    /// Where a problem with the node itself is marked.
    fn mark(self) -> Span {
        match self.node.value {
            Value::Map(_) if self.key != Span::default() => self.key,
            _ => self.node.span,
        }
    }

    fn wrong<T>(self, expected: &dyn de::Expected) -> Result<T, TypeError> {
        let found = match &self.node.value {
            Value::Seq(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
            Value::Scalar(scalar) => match scalar.plain() {
                Plain::Null => Unexpected::Unit,
                Plain::Bool(value) => Unexpected::Bool(value),
                Plain::Int(value) => i64::try_from(value)
                    .map_or(Unexpected::Other("a number out of range"), Unexpected::Signed),
                Plain::Float(value) => Unexpected::Float(value),
                Plain::Text => Unexpected::Str(&scalar.text),
            },
        };
        Err(de::Error::invalid_type(found, expected))
    }

    fn integer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node.scalar().map(Scalar::plain) {
            Some(Plain::Int(value)) => match (u64::try_from(value), i64::try_from(value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => self.wrong(&visitor),
            },
            _ => self.wrong(&visitor),
        }
    }

    fn float<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node.scalar().map(Scalar::plain) {
            Some(Plain::Float(value)) if value.is_finite() => visitor.visit_f64(value),
            #[expect(
                clippy::cast_precision_loss,
                reason = "a number beyond 2^53 rounds as in YAML"
            )]
            Some(Plain::Int(value)) => visitor.visit_f64(value as f64),
            _ => self.wrong(&visitor),
        }
    }

    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node.scalar() {
            Some(scalar) if scalar.style != Style::Plain || scalar.plain() == Plain::Text => {
                visitor.visit_borrowed_str(&scalar.text)
            }
            Some(scalar) if scalar.plain() != Plain::Null => {
                self.wrong(&visitor).map_err(|mut error: TypeError| {
                    error.told.help = Some(format!(
                        "quote it to make it text: \"{}\" (in `vars`, if it comes from there)",
                        scalar.text
                    ));
                    error
                })
            }
            _ => self.wrong(&visitor),
        }
    }

    fn any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match &self.node.value {
            Value::Seq(items) => visitor.visit_seq(Items(items.iter())),
            Value::Map(entries) => visitor.visit_map(Fields::new(entries)),
            Value::Scalar(scalar) => match scalar.plain() {
                Plain::Null => visitor.visit_unit(),
                Plain::Bool(value) => visitor.visit_bool(value),
                Plain::Int(_) => self.integer(visitor),
                Plain::Float(_) => self.float(visitor),
                Plain::Text => visitor.visit_borrowed_str(&scalar.text),
            },
        }
    }
}

macro_rules! forward {
    ($($method:ident => $to:ident),+ $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
            self.$to(visitor).map_err(|error| error.place(self.mark()))
        })+
    };
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = TypeError;

    forward! {
        deserialize_any => any,
        deserialize_i8 => integer, deserialize_i16 => integer, deserialize_i32 => integer,
        deserialize_i64 => integer, deserialize_u8 => integer, deserialize_u16 => integer,
        deserialize_u32 => integer, deserialize_u64 => integer,
        deserialize_f32 => float, deserialize_f64 => float,
        deserialize_char => text, deserialize_str => text, deserialize_string => text,
        deserialize_identifier => text,
        deserialize_bytes => any, deserialize_byte_buf => any,
        deserialize_unit => any, deserialize_ignored_any => any,
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node.scalar().map(Scalar::plain) {
            Some(Plain::Bool(value)) => visitor.visit_bool(value),
            _ => self.wrong(&visitor),
        }
        .map_err(|error| error.place(self.mark()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        visitor.visit_some(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        if name == SPANNED {
            let parts = SpannedParts::new(self.mark(), self);
            return visitor.visit_seq(parts).map_err(|error| error.place(self.mark()));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match &self.node.value {
            Value::Seq(items) => visitor.visit_seq(Items(items.iter())),
            _ => self.wrong(&visitor),
        }
        .map_err(|error| error.place(self.mark()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Fields::new(entries)),
            _ => self.wrong(&visitor),
        }
        .map_err(|error| error.place(self.mark()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        self.deserialize_map(visitor).map_err(|error| error.among(fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.plain() != Plain::Null => {
                visitor.visit_enum(Choice { text: &scalar.text, content: None })
            }
            Value::Map(entries) if entries.len() == 1 => visitor.visit_enum(Choice {
                text: &entries[0].key.value,
                content: Some(Self { node: &entries[0].value, key: entries[0].key.span }),
            }),
            _ => self.wrong(&format!("one of: {}", variants.join(", ")).as_str()),
        }
        .map_err(|error| error.place(self.mark()))
    }
}

/// The parts of a [`crate::source::Spanned`]: start, length, value.
struct SpannedParts<D> {
    span: Span,
    value: Option<D>,
    next: u8,
}

impl<D> SpannedParts<D> {
    fn new(span: Span, value: D) -> Self {
        Self { span, value: Some(value), next: 0 }
    }
}

impl<'de, D: Deserializer<'de, Error = TypeError>> SeqAccess<'de> for SpannedParts<D> {
    type Error = TypeError;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, TypeError> {
        self.next += 1;
        let number = |value: u32| -> U32Deserializer<TypeError> { value.into_deserializer() };
        match self.next {
            1 => seed.deserialize(number(self.span.start)).map(Some),
            2 => seed.deserialize(number(self.span.len)).map(Some),
            _ => self.value.take().map(|value| seed.deserialize(value)).transpose(),
        }
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = TypeError;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, TypeError> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(NodeDeserializer { node, key: Span::default() })
            .map(Some)
            .map_err(|error| error.place(node.span))
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Fields<'de> {
    rest: std::slice::Iter<'de, Entry>,
    value: Option<&'de Entry>,
}

impl<'de> Fields<'de> {
    fn new(entries: &'de [Entry]) -> Self {
        Self { rest: entries.iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = TypeError;
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, TypeError> {
        let Some(entry) = self.rest.next() else { return Ok(None) };
        self.value = Some(entry);
        seed.deserialize(Key(entry)).map(Some).map_err(|error| error.place(entry.key.span))
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, TypeError> {
        let Some(entry) = self.value.take() else {
            return Err(de::Error::custom("a value was read before its key"));
        };
        let key = entry.key.span;
        seed.deserialize(NodeDeserializer { node: &entry.value, key })
            .map_err(|error| error.place(key).left(&entry.key.value))
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// A key; it may be wanted together with its place.
struct Key<'de>(&'de Entry);

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = TypeError;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        visitor.visit_borrowed_str(&self.0.key.value)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        if name == SPANNED {
            return visitor.visit_seq(SpannedParts::new(self.0.key.span, self));
        }
        visitor.visit_newtype_struct(self)
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Choice<'de> {
    text: &'de str,
    content: Option<NodeDeserializer<'de>>,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = TypeError;
    type Variant = Content<'de>;
    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content<'de>), TypeError> {
        let name: StrDeserializer<'_, TypeError> = self.text.into_deserializer();
        Ok((seed.deserialize(name)?, Content(self.content)))
    }
}

struct Content<'de>(Option<NodeDeserializer<'de>>);

impl<'de> Content<'de> {
    fn given(self) -> Result<NodeDeserializer<'de>, TypeError> {
        self.0.ok_or_else(|| de::Error::custom("this choice needs settings of its own"))
    }
}

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = TypeError;
    fn unit_variant(self) -> Result<(), TypeError> {
        match self.0 {
            None => Ok(()),
            Some(_) => Err(de::Error::custom("this choice takes no settings")),
        }
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, TypeError> {
        seed.deserialize(self.given()?)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, TypeError> {
        self.given()?.deserialize_seq(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        self.given()?.deserialize_map(visitor)
    }
}

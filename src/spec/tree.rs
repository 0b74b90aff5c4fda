//! YAML text to a tree of [`Node`]s that know their place.
//!
//! Owns YAML itself: syntax, duplicate keys, anchors and merge keys, and the limits that keep a
//! hostile file harmless. Scalars keep their text; what they mean is decided where they are used.

use std::collections::HashMap;

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span as YamlSpan};

use crate::source::{Span, Spanned};

use super::error::SpecError;
pub use super::scalar::{Plain, Scalar, Style};

/// Larger texts are refused before they are parsed.
pub const MAX_BYTES: usize = 16 << 20;
/// A tree may not grow beyond this, aliases expanded.
const MAX_NODES: usize = 1_000_000;
/// Deeper nesting is refused.
const MAX_DEPTH: usize = 64;

/// A YAML value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Its place; for a block collection, its first line's content.
    pub span: Span,
}

/// A YAML value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping, in the order written.
    Map(Vec<Entry>),
}

/// One `key: value` of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Spanned<String>,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The entries, if this is a mapping.
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The scalar, if this is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Number of nodes, itself included.
    pub fn count(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::Seq(items) => items.iter().map(Self::count).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.value.count()).sum(),
        }
    }

    /// The same value as if written at `span`.
    #[must_use]
    pub fn placed_at(&self, span: Span) -> Self {
        let value = match &self.value {
            Value::Scalar(scalar) => Value::Scalar(scalar.clone()),
            Value::Seq(items) => {
                Value::Seq(items.iter().map(|item| item.placed_at(span)).collect())
            }
            Value::Map(entries) => Value::Map(
                entries
                    .iter()
                    .map(|entry| Entry {
                        key: Spanned::new(entry.key.value.clone(), span),
                        value: entry.value.placed_at(span),
                    })
                    .collect(),
            ),
        };
        Self { value, span }
    }
}

/// Parses a text of one YAML document.
pub fn parse(text: &str) -> Result<Node, SpecError> {
    if text.len() > MAX_BYTES {
        return Err(SpecError::new(
            "spec::too_large",
            Span::default(),
            format!("the file has {} bytes, more than the {MAX_BYTES} a spec may have", text.len()),
            "",
        )
        .with_help("a spec names data files, it does not contain them"));
    }
    let mut builder =
        Builder { events: Parser::new_from_str(text), text, anchors: HashMap::new(), nodes: 0 };
    let root = builder.document()?;
    match root {
        Some(root) => Ok(root),
        None => Err(SpecError::new("spec::empty", Span::default(), "the file is empty", "")
            .with_help("`trt-pipeline init` writes a spec to start from")),
    }
}

struct Builder<'a, I: serde_yaml::granit_parser::BorrowedInput<'a>> {
    events: Parser<'a, I>,
    text: &'a str,
    /// Anchored nodes with their sizes; `None` while the node is still open.
    anchors: HashMap<usize, Option<(Node, usize)>>,
    nodes: usize,
}

impl<'a, I: serde_yaml::granit_parser::BorrowedInput<'a>> Builder<'a, I> {
    fn next(&mut self) -> Result<(Event<'a>, Span), SpecError> {
        loop {
            match self.events.next_event() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok((event, self.place(&span))),
                Some(Err(error)) => return Err(self.syntax(&error)),
                None => return Ok((Event::StreamEnd, Span::new(self.text.len(), 0))),
            }
        }
    }

    fn place(&self, span: &YamlSpan) -> Span {
        span.byte_range().map_or_else(Span::default, |range| {
            let raw = self.text.get(range.clone()).unwrap_or("");
            Span::new(range.start, raw.trim_end().len())
        })
    }

    fn syntax(&self, error: &ScanError) -> SpecError {
        let at = self.text.floor_char_boundary(error.marker().byte_offset().unwrap_or(0));
        let tab = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = self.text[tab..].bytes().take_while(|byte| matches!(byte, b' ' | b'\t'));
        let help = if indent.into_iter().any(|byte| byte == b'\t') {
            "YAML forbids tabs in indentation: use spaces"
        } else {
            "check the indentation, quotes and brackets here and in the line above"
        };
        SpecError::new(
            "spec::syntax",
            Span::new(at, self.text[at..].chars().next().map_or(0, char::len_utf8)),
            "this is not valid YAML",
            error.info().to_lowercase(),
        )
        .with_help(help)
    }

    fn document(&mut self) -> Result<Option<Node>, SpecError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    return Err(SpecError::new(
                        "spec::documents",
                        span,
                        "the file has more than one YAML document",
                        "a second document starts here",
                    )
                    .with_help("write one pipeline per file"));
                }
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        let blank = |node: &Node| {
            node.scalar()
                .is_some_and(|scalar| scalar.plain() == Plain::Null && scalar.text.is_empty())
        };
        Ok(root.filter(|node| !blank(node)))
    }

    fn grow(&mut self, nodes: usize, span: Span) -> Result<(), SpecError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(SpecError::new(
                "spec::too_many_values",
                span,
                format!("the file expands to more than {MAX_NODES} values"),
                "expanding this passes the limit",
            )
            .with_help("aliases multiply what they stand for: write the values out where needed"));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, SpecError> {
        if depth > MAX_DEPTH {
            return Err(SpecError::new(
                "spec::too_deep",
                span,
                format!("values are nested more than {MAX_DEPTH} levels deep"),
                "too deep",
            ));
        }
        self.grow(1, span)?;
        let before = self.nodes;
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let string_tag = match tag.as_deref() {
                    None => false,
                    Some(tag) if tag.is_yaml_core_schema_tag("str") => true,
                    Some(tag) => return Err(unknown_tag(&tag.original(), span)),
                };
                let style = match style {
                    ScalarStyle::Plain if !string_tag => Style::Plain,
                    _ => Style::Text,
                };
                let value = Value::Scalar(Scalar { text: text.into_owned(), style });
                (anchor, Node { value, span })
            }
            Event::SequenceStart(_, anchor, tag) => {
                if let Some(tag) = tag {
                    return Err(unknown_tag(&tag.original(), span));
                }
                self.open(anchor);
                (anchor, self.sequence(span, depth)?)
            }
            Event::MappingStart(_, anchor, tag) => {
                if let Some(tag) = tag {
                    return Err(unknown_tag(&tag.original(), span));
                }
                self.open(anchor);
                (anchor, self.mapping(span, depth)?)
            }
            Event::Alias(id) => return self.alias(id, span),
            _ => {
                return Err(SpecError::new(
                    "spec::syntax",
                    span,
                    "this is not valid YAML",
                    "a value is missing here",
                ));
            }
        };
        if anchor != 0 {
            let size = self.nodes - before + 1;
            self.grow(size, span)?;
            self.anchors.insert(anchor, Some((node.clone(), size)));
        }
        Ok(node)
    }

    fn open(&mut self, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<Node, SpecError> {
        let Some(Some((_, size))) = self.anchors.get(&id) else {
            return Err(SpecError::new(
                "spec::alias",
                span,
                "this alias stands inside the value it stands for",
                "refers to itself",
            ));
        };
        self.grow(*size, span)?;
        match self.anchors.get(&id) {
            Some(Some((node, _))) => Ok(node.clone()),
            _ => Ok(Node { value: Value::Seq(Vec::new()), span }),
        }
    }

    fn sequence(&mut self, span: Span, depth: usize) -> Result<Node, SpecError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, end) => {
                    let span = joined(span, end, items.last().map(|node: &Node| node.span));
                    return Ok(Node { value: Value::Seq(items), span });
                }
                (event, at) => items.push(self.node(event, at, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, span: Span, depth: usize) -> Result<Node, SpecError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = Seen::default();
        let mut merged: Vec<Node> = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                merge(&mut entries, merged)?;
                let first = entries.first().map(|entry| entry.key.span);
                let span = joined(first.unwrap_or(span), at, first);
                return Ok(Node { value: Value::Map(entries), span });
            }
            let key = match self.node(event, at, depth + 1)? {
                Node { value: Value::Scalar(scalar), span } => (scalar, span),
                other => {
                    return Err(SpecError::new(
                        "spec::key",
                        other.span,
                        "keys must be plain names",
                        "a list or mapping as a key",
                    ));
                }
            };
            let (event, at) = self.next()?;
            let value = self.node(event, at, depth + 1)?;
            let (scalar, key_span) = key;
            if scalar.text == "<<" && scalar.style == Style::Plain {
                merged.push(value);
                continue;
            }
            if let Some(first) = seen.before(&entries, &scalar.text) {
                return Err(SpecError::new(
                    "spec::duplicate_key",
                    key_span,
                    format!("the key `{}` is written twice", scalar.text),
                    "again here",
                )
                .and_at(first, "first here")
                .with_help("keep one of the two"));
            }
            entries.push(Entry { key: Spanned::new(scalar.text, key_span), value });
        }
    }
}

/// Finds keys that were written before; only large mappings pay for a table.
#[derive(Default)]
struct Seen(HashMap<String, Span>);

impl Seen {
    const LARGE: usize = 16;

    fn before(&mut self, entries: &[Entry], key: &str) -> Option<Span> {
        if entries.len() < Self::LARGE {
            return entries.iter().find(|entry| entry.key.value == key).map(|entry| entry.key.span);
        }
        for entry in &entries[self.0.len()..] {
            self.0.insert(entry.key.value.clone(), entry.key.span);
        }
        self.0.get(key).copied()
    }
}

/// Adds the entries of `<<` mappings that the mapping itself does not have; earlier ones win.
fn merge(entries: &mut Vec<Entry>, merged: Vec<Node>) -> Result<(), SpecError> {
    for node in merged {
        let sources = match node.value {
            Value::Seq(items) => items,
            _ => vec![node],
        };
        for source in sources {
            let Value::Map(more) = source.value else {
                return Err(SpecError::new(
                    "spec::merge",
                    source.span,
                    "`<<` takes a mapping or a list of mappings",
                    "not a mapping",
                ));
            };
            for entry in more {
                if !entries.iter().any(|own| own.key == entry.key) {
                    entries.push(entry);
                }
            }
        }
    }
    Ok(())
}

fn unknown_tag(tag: &str, span: Span) -> SpecError {
    SpecError::new("spec::tag", span, format!("the tag `{tag}` means nothing in a spec"), "tagged")
        .with_help("remove the tag; quote a value to make it text")
}

/// A flow collection spans its brackets, a block one its first line.
fn joined(start: Span, end: Span, inner: Option<Span>) -> Span {
    if end.len > 0 && end.start >= start.start {
        Span { start: start.start, len: end.start + end.len - start.start }
    } else {
        inner.unwrap_or(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_knows_the_bytes_it_was_written_with() {
        let text = "a: [1, \"two\"]\nb:\n  ü: {c: d}\n";
        let root = parse(text).unwrap();
        let at = |span: Span| &text[span.start as usize..(span.start + span.len) as usize];
        let entries = root.entries().unwrap();
        assert_eq!(at(entries[0].key.span), "a");
        assert_eq!(at(entries[0].value.span), "[1, \"two\"]");
        let inner = entries[1].value.entries().unwrap();
        assert_eq!(at(inner[0].key.span), "ü");
        assert_eq!(inner[0].value.entries().unwrap()[0].key.value, "c");
    }

    #[test]
    fn a_syntax_error_marks_a_whole_character() {
        let text = "a: 1\nü b\nc: 2\n";
        let error = parse(text).unwrap_err();
        let (start, len) = (error.span.start as usize, error.span.len as usize);
        assert_eq!(text.get(start..start + len), Some("ü"), "{error:?}");
    }

    #[test]
    fn anchors_and_merge_keys_expand() {
        let root = parse("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\nc: *x\n").unwrap();
        let entries = root.entries().unwrap();
        let b = entries[1].value.entries().unwrap();
        assert_eq!(b.len(), 2);
        assert_eq!(b[0].value.scalar().unwrap().text, "3");
        assert_eq!(entries[2].value.entries().unwrap().len(), 2);
    }

    #[test]
    fn an_alias_bomb_is_refused_before_it_grows() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..8 {
            let previous = level - 1;
            let aliases = vec![format!("*a{previous}"); 10].join(",");
            text.extend([format!("a{level}: &a{level} [{aliases}]\n")]);
        }
        assert_eq!(parse(&text).unwrap_err().code, "spec::too_many_values");
    }
}

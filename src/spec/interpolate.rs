//! `${..}`: puts variables and the environment into the parsed tree, before anything is typed.
//!
//! A scalar that is exactly `${x}` becomes the variable's value with its type; inside a longer
//! text the value must be a scalar and the result is text; `$${` is a literal `${`.

use std::collections::BTreeMap;

use crate::source::{Span, Spanned};

use super::error::SpecError;
use super::tree::{Node, Scalar, Style, Value};

/// What `${..}` can name.
pub(crate) struct Scope<'a> {
    /// Variables of the spec, after `--set`.
    pub vars: &'a BTreeMap<String, Node>,
    /// Reads an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The text of the file, to mark the placeholder itself.
    pub text: &'a str,
}

/// Which placeholders are left for the stage itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Later {
    /// None.
    Nothing,
    /// `${inputs.x}` and `${outputs.y}` of a command.
    CommandFiles,
}

/// One piece of a text with placeholders.
enum Piece<'a> {
    Literal(&'a str),
    /// The inside of `${..}`.
    Placeholder(&'a str),
}

/// Replaces every placeholder under `node`.
pub(crate) fn resolve(
    node: &mut Node,
    scope: &Scope<'_>,
    later: Later,
    errors: &mut Vec<SpecError>,
) {
    match &mut node.value {
        Value::Seq(items) => {
            for item in items {
                resolve(item, scope, later, errors);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                refuse_in_key(&entry.key, errors);
                resolve(&mut entry.value, scope, later, errors);
            }
        }
        Value::Scalar(scalar) if scalar.text.contains("${") => {
            let (text, span) = (std::mem::take(&mut scalar.text), node.span);
            match scope.text_of(&text, span, later) {
                Ok(value) => *node = Node { value: value.value, span },
                Err(error) => errors.push(error),
            }
        }
        Value::Scalar(_) => {}
    }
}

/// Placeholders stand in values only.
pub(crate) fn refuse_in_key(key: &Spanned<String>, errors: &mut Vec<SpecError>) {
    if key.contains("${") {
        errors.push(SpecError::new(
            "spec::placeholder_in_key",
            key.span,
            format!("`{}` is a key, and keys are never interpolated", key.value),
            "no `${..}` in a key",
        ));
    }
}

/// Variables are plain values: nothing is interpolated in them.
pub(crate) fn refuse_in_vars(node: &Node, errors: &mut Vec<SpecError>) {
    match &node.value {
        Value::Seq(items) => items.iter().for_each(|item| refuse_in_vars(item, errors)),
        Value::Map(entries) => {
            for entry in entries {
                refuse_in_key(&entry.key, errors);
                refuse_in_vars(&entry.value, errors);
            }
        }
        Value::Scalar(scalar) if scalar.text.contains("${") => errors.push(
            SpecError::new(
                "spec::placeholder_in_vars",
                node.span,
                "variables are not interpolated",
                "no `${..}` in `vars`",
            )
            .with_help("use `${env.X}` where the variable is used, or `--set name=value`"),
        ),
        Value::Scalar(_) => {}
    }
}

impl Scope<'_> {
    fn text_of(&self, text: &str, span: Span, later: Later) -> Result<Node, SpecError> {
        let pieces = split(text).map_err(|at| {
            SpecError::new(
                "spec::placeholder",
                self.mark(span, &text[at..]),
                "`${` without a closing `}`",
                "not closed",
            )
            .with_help("write `$${` for a literal `${`")
        })?;
        let is_later = |name: &str| {
            later == Later::CommandFiles
                && (name.starts_with("inputs.") || name.starts_with("outputs."))
        };
        if let [Piece::Placeholder(name)] = pieces[..]
            && !is_later(name)
        {
            return Ok(self.value(name, span)?.placed_at(span));
        }
        let mut result = String::with_capacity(text.len());
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => result.push_str(literal),
                Piece::Placeholder(name) if is_later(name) => {
                    result.extend(["${", name, "}"]);
                }
                Piece::Placeholder(name) => {
                    let node = self.value(name, span)?;
                    let Some(scalar) = node.scalar() else {
                        return Err(SpecError::new(
                            "spec::placeholder_type",
                            self.mark(span, &format!("${{{name}}}")),
                            format!("`{name}` is not a single value and cannot stand inside text"),
                            "a list or mapping",
                        )
                        .with_help("use it as the whole value, or name a single value"));
                    };
                    result.push_str(&scalar.text);
                }
            }
        }
        Ok(Node { value: Value::Scalar(Scalar { text: result, style: Style::Text }), span })
    }

    fn value(&self, name: &str, span: Span) -> Result<Node, SpecError> {
        let mark = || self.mark(span, &format!("${{{name}}}"));
        if let Some(variable) = name.strip_prefix("env.") {
            let (variable, default) = match variable.split_once(":-") {
                Some((variable, default)) => (variable, Some(default)),
                None => (variable, None),
            };
            let text =
                (self.env)(variable).or_else(|| default.map(str::to_owned)).ok_or_else(|| {
                    SpecError::new(
                        "spec::environment",
                        mark(),
                        format!("the environment variable `{variable}` is not set"),
                        "not set",
                    )
                    .with_help(format!("set it, or give a default: `${{env.{variable}:-value}}`"))
                })?;
            let value = Value::Scalar(Scalar { text, style: Style::Environment });
            return Ok(Node { value, span });
        }
        if name.starts_with("inputs.") || name.starts_with("outputs.") {
            return Err(SpecError::new(
                "spec::placeholder_place",
                mark(),
                format!("`${{{name}}}` means something only in `run` and `env` of a command"),
                "not in a command",
            ));
        }
        self.vars.get(name).cloned().ok_or_else(|| {
            SpecError::new(
                "spec::unknown_variable",
                mark(),
                format!("unknown variable `{name}`"),
                "not in `vars`",
            )
            .suggesting(name, self.vars.keys().map(String::as_str), "variables")
        })
    }

    /// The place of `part` inside the scalar at `span`, where the file spells it the same way.
    fn mark(&self, span: Span, part: &str) -> Span {
        let start = span.start as usize;
        self.text
            .get(start..start + span.len as usize)
            .and_then(|written| written.find(part))
            .map_or(span, |at| Span::new(start + at, part.len()))
    }
}

/// Splits a text at its placeholders; the error is the offset of one that is not closed.
fn split(text: &str) -> Result<Vec<Piece<'_>>, usize> {
    let mut pieces = Vec::new();
    let mut rest = 0;
    let mut from = 0;
    while let Some(found) = text[from..].find("${").map(|at| at + from) {
        if text[rest..found].ends_with('$') {
            pieces.push(Piece::Literal(&text[rest..found - 1]));
            pieces.push(Piece::Literal("${"));
            rest = found + 2;
            from = rest;
            continue;
        }
        let close = text[found..].find('}').map(|at| at + found).ok_or(found)?;
        if found > rest {
            pieces.push(Piece::Literal(&text[rest..found]));
        }
        pieces.push(Piece::Placeholder(text[found + 2..close].trim()));
        rest = close + 1;
        from = rest;
    }
    if rest < text.len() {
        pieces.push(Piece::Literal(&text[rest..]));
    }
    Ok(pieces)
}

/// Parses the value of `--set name=value`: a YAML scalar.
pub(crate) fn set_value(text: &str) -> Node {
    let span = Span::default();
    let scalar = match super::tree::parse(text) {
        Ok(Node { value: Value::Scalar(scalar), .. }) => scalar,
        _ => Scalar { text: text.to_owned(), style: Style::Text },
    };
    Node { value: Value::Scalar(scalar), span }
}

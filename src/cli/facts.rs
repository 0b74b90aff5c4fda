//! [`Facts`]: labelled values, as the heads of descriptions have them.

use std::fmt::Write as _;

use serde_json::Value;

/// One labelled value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact {
    pub(super) label: &'static str,
    /// As people read it.
    pub(super) text: String,
    /// As programs do.
    pub(super) value: Value,
}

/// Labelled values in their order; one without a label of its own shares that before it.
#[derive(Debug, Default)]
pub(super) struct Facts(Vec<Fact>);

/// Columns of the labels.
const LABEL: usize = 16;

impl Facts {
    /// Adds a text.
    pub(super) fn add(&mut self, label: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.0.push(Fact { label, value: text.clone().into(), text });
    }

    /// Adds a value that people read as `text`.
    pub(super) fn add_value(
        &mut self,
        label: &'static str,
        value: impl Into<Value>,
        text: impl Into<String>,
    ) {
        self.0.push(Fact { label, value: value.into(), text: text.into() });
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.0.iter()
    }

    /// A line for each.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        for fact in &self.0 {
            let shown = if fact.label == last { "" } else { fact.label };
            let _ = writeln!(text, "{shown:LABEL$}{}", fact.text);
            last = fact.label;
        }
        text
    }
}

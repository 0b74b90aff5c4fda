//! [`Facts`]: labelled lines, as the heads of descriptions have them.

use std::fmt::Write as _;

/// Lines with a label before the first of those that share it.
#[derive(Debug, Default)]
pub(super) struct Facts(Vec<(&'static str, String)>);

/// Columns of the labels.
const LABEL: usize = 14;

impl Facts {
    /// Adds a line.
    pub(super) fn add(&mut self, label: &'static str, value: impl Into<String>) {
        self.0.push((label, value.into()));
    }

    /// All lines.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        for (label, value) in &self.0 {
            let shown = if *label == last { "" } else { label };
            let _ = writeln!(text, "{shown:LABEL$}{value}");
            last = label;
        }
        text
    }
}

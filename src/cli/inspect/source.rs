//! A model of another framework.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::diagnostic::with_causes;
use crate::cli::facts::Facts;
use crate::cli::quantity::{grouped, size};
use crate::source_model::{Description, SourceKind, SourceModel, SourceModelError};

use super::diff::Entries;
use super::{Failure, View, tables};

/// A model that `convert` takes, or says why not.
#[derive(Debug)]
pub(super) struct SourceFile {
    model: SourceModel,
    /// What `convert` needs for it.
    needs: String,
    bytes: Option<u64>,
    description: Description,
}

/// What is said of something that is no model.
pub(super) fn failure(error: &SourceModelError) -> Failure {
    (with_causes(error), error.help())
}

impl SourceFile {
    pub(super) fn read(model: SourceModel, written: &Path) -> Result<Self, Failure> {
        let description = model.describe().map_err(|error| failure(&error))?;
        let file = std::fs::metadata(&model.path).ok().filter(std::fs::Metadata::is_file);
        Ok(Self {
            needs: model.needs(&written.display().to_string()),
            bytes: file.map(|file| file.len()),
            model,
            description,
        })
    }

    pub(super) fn kind(&self) -> SourceKind {
        self.model.kind
    }

    pub(super) fn record(&self) -> Value {
        json!({
            "kind": self.model.kind, "why": self.model.why, "convertible": self.model.kind.is_convertible(),
            "needs": self.needs, "bytes": self.bytes, "description": self.description,
        })
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        facts.add("because", self.model.why.as_str());
        if let Some(bytes) = self.bytes {
            facts.add_value("file", bytes, size(bytes));
        }
        for (label, text) in &self.description.facts {
            facts.add(label, text.as_str());
        }
        if let Some(tensors) = &self.description.tensors {
            let count = format!("{} ({})", tensors.count, tensors.dtypes_text());
            facts.add_value("tensors", tensors.count, count);
            let parameters = format!("{} ({})", grouped(tensors.elements), size(tensors.bytes));
            facts.add_value("parameters", tensors.elements, parameters);
        }
        facts
    }

    /// All that is said of it, to be compared.
    pub(super) fn add_to(&self, entries: &mut Entries) {
        entries.add_facts(&self.facts());
    }

    pub(super) fn text(&self, view: View) -> String {
        let mut head = Facts::default();
        head.add("kind", self.model.kind.to_string());
        let mut text = view.wrapped(&(head.text() + &self.facts().text()));
        for signature in &self.description.signatures {
            let method = signature.method.as_ref();
            let method = method.map_or(String::new(), |name| format!(" ({name})"));
            let tensors = tables::source_tensors(&signature.inputs, &signature.outputs);
            let _ = write!(text, "\nsignature `{}`{method}\n{tensors}", signature.name);
        }
        if let Some(tensors) = &self.description.tensors {
            let weights = tables::weights(&tensors.listed, tensors.count, view.listing());
            let _ = write!(text, "\n{weights}");
        }
        let needs = self.needs.as_str();
        let _ = writeln!(text, "\n{}", view.wrapped(&format!("to convert: {needs}")));
        text
    }
}

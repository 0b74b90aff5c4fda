//! An ONNX file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::diagnostic::with_causes;
use crate::cli::facts::Facts;
use crate::cli::quantity::{grouped, size};
use crate::onnx::proto::NodeProto;
use crate::onnx::{Model, OnnxError, Summary, node_name};

use super::diff::{Entries, Section};
use super::{Failure, View, tables};

/// A model that could be read, valid or not.
#[derive(Debug)]
pub(super) struct ModelFile {
    path: PathBuf,
    bytes: u64,
    summary: Summary,
    nodes: Vec<NodeLine>,
    problem: Option<String>,
}

/// A node of the main graph, with the names that settings may name.
#[derive(Debug)]
pub(super) struct NodeLine {
    /// What settings and messages call it.
    pub(super) name: String,
    pub(super) op: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
}

impl NodeLine {
    fn of(node: &NodeProto) -> Self {
        let op = match node.domain() {
            "" | "ai.onnx" => node.op_type().to_owned(),
            domain => format!("{domain}::{}", node.op_type()),
        };
        // Optional inputs and outputs that are left out have no name.
        let named = |names: &[String]| {
            names
                .iter()
                .map(|name| if name.is_empty() { "-".into() } else { name.clone() })
                .collect()
        };
        Self {
            name: node_name(node).to_owned(),
            op,
            inputs: named(&node.input),
            outputs: named(&node.output),
        }
    }
}

/// What is said of a file that is no model.
pub(super) fn failure(error: &OnnxError) -> Failure {
    (with_causes(error), error.help())
}

impl ModelFile {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        Self::of(&Model::load(path).map_err(|error| failure(&error))?)
    }

    pub(super) fn of(model: &Model) -> Result<Self, Failure> {
        Ok(Self {
            path: model.path().to_owned(),
            bytes: std::fs::metadata(model.path()).map_or(0, |found| found.len()),
            summary: model.summary().map_err(|error| failure(&error))?,
            nodes: model.graph.node.iter().map(NodeLine::of).collect(),
            problem: model.check().err().map(|defect| with_causes(&defect)),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn record(&self) -> Value {
        json!({
            "path": self.path.display().to_string(), "bytes": self.bytes,
            "summary": self.summary, "problem": self.problem,
        })
    }

    pub(super) fn facts(&self) -> Facts {
        let Summary { ir_version, opsets, producer, nodes, parameters, parameter_bytes, .. } =
            &self.summary;
        let mut facts = Facts::default();
        let opsets: Vec<String> =
            opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect();
        facts.add("opset", opsets.join(", "));
        facts.add_value("ir version", *ir_version, ir_version.to_string());
        facts.add("producer", if producer.is_empty() { "unknown" } else { producer });
        facts.add_value("file", self.bytes, size(self.bytes));
        let count = format!("{} ({})", grouped(*parameters), size(*parameter_bytes));
        facts.add_value("parameters", *parameters, count);
        facts.add_value("nodes", *nodes, nodes.to_string());
        facts
    }

    /// All that is said of it, to be compared.
    pub(super) fn add_to(&self, entries: &mut Entries) {
        entries.add_facts(&self.facts());
        entries.add_tensors(&self.summary.signature.inputs, &self.summary.signature.outputs);
        for (operator, count) in &self.summary.operators {
            entries.add(Section::Operators, operator, *count, count.to_string());
        }
    }

    pub(super) fn text(&self, view: View) -> String {
        let signature = &self.summary.signature;
        let mut text = format!(
            "{}\n{}\n{}",
            self.facts().text(),
            tables::tensors(&signature.inputs, &signature.outputs),
            tables::operators(&self.summary.operators)
        );
        if view.all_layers {
            let _ = write!(text, "\n{}", view.wrapped(&tables::nodes(&self.nodes)));
        }
        if let Some(problem) = &self.problem {
            let _ = writeln!(text, "\nnot valid: {problem}");
        }
        text
    }
}

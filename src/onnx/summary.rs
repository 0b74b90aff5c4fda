//! [`Summary`]: what a model is made of, for reports.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::OnnxError;
use super::model::Model;
use super::proto::GraphProto;
use super::signature::ModelSignature;
use super::{tensors, walk};

/// What a model is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Version of the file format.
    pub ir_version: i64,
    /// Imported operator sets by domain; the default domain is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// The exporter and its version, as far as it says.
    pub producer: String,
    /// Inputs and outputs.
    #[serde(flatten)]
    pub signature: ModelSignature,
    /// Number of nodes, subgraphs included.
    pub nodes: usize,
    /// Number of nodes by operator, subgraphs included; other domains as `domain::Operator`.
    pub operators: BTreeMap<String, usize>,
    /// Number of elements of all initializers, subgraphs included.
    pub parameters: u64,
    /// Bytes of all initializers, wherever they stand.
    pub parameter_bytes: u64,
}

impl Model {
    /// Describes the model. Fails where an input or output is not a supported tensor.
    pub fn summary(&self) -> Result<Summary, OnnxError> {
        let operators = self.operators();
        let (mut parameters, mut parameter_bytes) = (0_u64, 0_u64);
        initializers(&self.graph, &mut |elements, bytes| {
            parameters = parameters.saturating_add(elements);
            parameter_bytes = parameter_bytes.saturating_add(bytes);
        });
        let producer = [self.header.producer_name(), self.header.producer_version()];
        let opset = |import: &super::proto::OperatorSetIdProto| {
            let domain = if import.domain().is_empty() { "ai.onnx" } else { import.domain() };
            (domain.to_owned(), import.version())
        };
        Ok(Summary {
            ir_version: self.header.ir_version(),
            opsets: self.header.opset_import.iter().map(opset).collect(),
            producer: producer.join(" ").trim().to_owned(),
            signature: self.signature()?,
            nodes: operators.values().sum(),
            operators,
            parameters,
            parameter_bytes,
        })
    }

    /// Number of nodes by operator, subgraphs included; other domains as `domain::Operator`.
    pub fn operators(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        count(&self.graph, &mut counts);
        counts
    }
}

fn count(graph: &GraphProto, counts: &mut BTreeMap<String, usize>) {
    for node in &graph.node {
        let name = match node.domain() {
            "" | "ai.onnx" => node.op_type().to_owned(),
            domain => format!("{domain}::{}", node.op_type()),
        };
        *counts.entry(name).or_default() += 1;
        walk::subgraphs(node).for_each(|body| count(body, counts));
    }
}

fn initializers(graph: &GraphProto, add: &mut dyn FnMut(u64, u64)) {
    for tensor in &graph.initializer {
        add(tensors::elements(tensor).unwrap_or(0), tensors::byte_size(tensor).unwrap_or(0));
    }
    for body in graph.node.iter().flat_map(walk::subgraphs) {
        initializers(body, add);
    }
}

//! [`ModelFile`]: an ONNX file as read, and the files with weights that it points to.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use prost::Message;
use prost::bytes::Bytes;

use crate::onnx::proto::tensor_proto::DataLocation;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::fault::Fault;

/// An ONNX model in memory and the folder its external data is relative to.
#[derive(Debug, Clone)]
pub(super) struct ModelFile {
    pub(super) proto: ModelProto,
    pub(super) folder: Option<PathBuf>,
}

impl ModelFile {
    /// Reads and decodes a file.
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let bytes = std::fs::read(path).map_err(|e| Fault::Model(e.to_string()))?;
        let folder = path.parent().map(Path::to_path_buf);
        Self::decode(Bytes::from(bytes), folder)
    }

    /// Decodes a serialized model.
    pub(super) fn decode(bytes: Bytes, folder: Option<PathBuf>) -> Result<Self, Fault> {
        let proto = ModelProto::decode(bytes)
            .map_err(|e| Fault::Model(format!("not a readable ONNX model: {e}")))?;
        Ok(Self { proto, folder })
    }

    /// The graph; a model without one is refused.
    pub(super) fn graph(&self) -> Result<&GraphProto, Fault> {
        self.proto.graph.as_ref().ok_or_else(|| Fault::Model("the model has no graph".into()))
    }

    /// The default domain's opset; 1 where the model names none, as ONNX says.
    pub(super) fn opset(&self) -> i64 {
        self.proto
            .opset_import
            .iter()
            .find(|import| matches!(import.domain(), "" | "ai.onnx"))
            .map_or(1, |import| import.version())
    }

    /// The relative paths of the files with external data, sorted. A path that leaves the
    /// model's folder is refused.
    pub(super) fn external_files(&self) -> Result<BTreeSet<PathBuf>, Fault> {
        let mut files = BTreeSet::new();
        let mut wrong = None;
        each_tensor(self.graph()?, &mut |tensor| {
            if tensor.data_location() != DataLocation::External {
                return;
            }
            match external_path(tensor) {
                Ok(path) => {
                    files.insert(path);
                }
                Err(fault) => wrong = Some(fault),
            }
        });
        wrong.map_or(Ok(files), Err)
    }
}

/// Where a tensor's external data lies, relative to the model.
pub(super) fn external_path(tensor: &TensorProto) -> Result<PathBuf, Fault> {
    let location = tensor
        .external_data
        .iter()
        .find(|entry| entry.key() == "location")
        .map_or("", |entry| entry.value());
    let path = Path::new(location);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    if location.is_empty() || !inside {
        return Err(Fault::Model(format!(
            "tensor `{}` keeps its data in `{location}`, which is not a path inside the model's folder",
            tensor.name()
        )));
    }
    Ok(path.to_path_buf())
}

/// Visits every node of a graph and of the graphs inside its nodes.
pub(super) fn each_node<'a>(graph: &'a GraphProto, visit: &mut dyn FnMut(&'a NodeProto)) {
    for node in &graph.node {
        visit(node);
        for inner in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
            each_node(inner, visit);
        }
    }
}

/// Visits every tensor of a graph: initializers and attributes, inner graphs included.
pub(super) fn each_tensor<'a>(graph: &'a GraphProto, visit: &mut dyn FnMut(&'a TensorProto)) {
    graph.initializer.iter().for_each(&mut *visit);
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        attribute.t.iter().chain(&attribute.tensors).for_each(&mut *visit);
        for inner in attribute.g.iter().chain(&attribute.graphs) {
            each_tensor(inner, visit);
        }
    }
}

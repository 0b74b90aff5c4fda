//! Removes what does not reach an output: nodes, initializers, notes on tensors that are gone.

use std::collections::{BTreeSet, HashSet};

use crate::onnx::check::is_default_domain;
use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::proto::{TensorProto, ValueInfoProto};
use crate::onnx::walk;

use super::{Pass, PassName, Tools};
use crate::onnx::names::mentions;

pub(super) struct RemoveDeadNodes;

impl Pass for RemoveDeadNodes {
    fn name(&self) -> PassName {
        PassName::RemoveDeadNodes
    }

    fn run(&self, model: &mut Model, _tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let graph = &mut model.graph;
        let mut live: HashSet<&str> = graph.output.iter().map(ValueInfoProto::name).collect();
        let mut kept = vec![true; graph.node.len()];
        for (node, keep) in graph.node.iter().zip(&mut kept).rev() {
            // An operator that nothing is known of may be there for an effect.
            *keep = !is_default_domain(node.domain())
                || node.output.iter().any(|output| live.contains(output.as_str()));
            if *keep {
                live.extend(node.input.iter().map(String::as_str));
                for body in walk::subgraphs(node) {
                    mentions(body, &mut |name| {
                        live.insert(name);
                    });
                }
            }
        }
        let dead: BTreeSet<String> = graph
            .initializer
            .iter()
            .map(TensorProto::name)
            .chain(
                graph
                    .sparse_initializer
                    .iter()
                    .filter_map(|sparse| sparse.values.as_ref().map(TensorProto::name)),
            )
            .filter(|name| !live.contains(name))
            .map(str::to_owned)
            .collect();

        let before = graph.node.len() + graph.initializer.len() + graph.sparse_initializer.len();
        let mut kept = kept.into_iter();
        graph.node.retain(|_| kept.next().unwrap_or(true));
        graph.initializer.retain(|tensor| !dead.contains(tensor.name()));
        graph.sparse_initializer.retain(|sparse| {
            sparse.values.as_ref().is_none_or(|values| !dead.contains(values.name()))
        });
        // Without its initializer an optional input would have to be fed.
        graph.input.retain(|input| !dead.contains(input.name()));
        let after = graph.node.len() + graph.initializer.len() + graph.sparse_initializer.len();

        let produced: HashSet<&str> =
            graph.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
        graph.value_info.retain(|value| produced.contains(value.name()));
        let present: HashSet<&str> = graph
            .initializer
            .iter()
            .map(TensorProto::name)
            .chain(graph.input.iter().map(ValueInfoProto::name))
            .chain(produced)
            .collect();
        graph
            .quantization_annotation
            .retain(|annotation| present.contains(annotation.tensor_name()));
        Ok(before - after)
    }
}

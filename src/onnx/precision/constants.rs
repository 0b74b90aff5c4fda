//! The constants of a graph in the types that their readers want: converted in place where all
//! readers agree, doubled where they do not, never cast.

use std::collections::BTreeMap;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::onnx::error::OnnxError;
use crate::onnx::names::FreshNames;
use crate::onnx::proto::{GraphProto, TensorProto};

use super::Io;
use super::rewrite::{Names, declared_low};
use super::settle::Decision;
use super::view::View;

/// What becomes of a constant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    /// It stays, and readers of 16 bits get a copy of this name.
    LowCopy(String),
    /// It becomes one of 16 bits.
    InPlace,
    /// It becomes one of 16 bits, and readers of float32 get what it was under this name.
    FloatCopy(String),
}

/// The constants that change, by name.
#[derive(Debug, Default)]
pub(super) struct Constants(BTreeMap<String, Change>);

#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    float: bool,
    low: bool,
}

impl Constants {
    pub(super) fn plan(
        view: &View<'_>,
        decisions: &[Decision],
        io: Io,
        fresh: &mut FreshNames,
    ) -> Self {
        let mut wanted: BTreeMap<&str, Wanted> = BTreeMap::new();
        for (step, decision) in view.steps.iter().zip(decisions) {
            for (slot, name) in step.node.input.iter().enumerate() {
                if view.is_float(name) && view.constants.contains_key(name.as_str()) {
                    let low = decision.low && step.lowerable.contains(&slot);
                    let wanted = wanted.entry(name).or_default();
                    wanted.low |= low;
                    wanted.float |= !low;
                }
            }
        }
        for name in view.outputs.iter().filter(|name| view.is_float(name)) {
            if view.constants.contains_key(name) {
                wanted.entry(name).or_default();
            }
        }
        let mut changes = BTreeMap::new();
        for (name, Wanted { float, low }) in wanted {
            let change = match declared_low(view, name, io) {
                Some(true) if float => Change::FloatCopy(fresh.take(&format!("{name}_float32"))),
                Some(true) => Change::InPlace,
                None if low && !float => Change::InPlace,
                _ if low => Change::LowCopy(fresh.take(&format!("{name}_{}", view.half.name()))),
                _ => continue,
            };
            changes.insert(name.to_owned(), change);
        }
        Self(changes)
    }

    /// The names of all float32 constants in the precisions that they are read in.
    pub(super) fn names(&self, view: &View<'_>) -> BTreeMap<String, Names> {
        let names = |name: &str| {
            let own = || Some(name.to_owned());
            let (float, low) = match self.0.get(name) {
                None => (own(), None),
                Some(Change::LowCopy(copy)) => (own(), Some(copy.clone())),
                Some(Change::InPlace) => (None, own()),
                Some(Change::FloatCopy(copy)) => (Some(copy.clone()), own()),
            };
            (name.to_owned(), Names { float, low })
        };
        let constants = view.model.graph.initializer.iter().map(TensorProto::name);
        constants.filter(|name| view.is_float(name)).map(names).collect()
    }

    /// Whether there are more constants than before.
    pub(super) fn adds(&self) -> bool {
        self.0.values().any(|change| *change != Change::InPlace)
    }

    /// The graph with its constants changed, and no nodes.
    pub(super) fn graph(&self, view: &View<'_>) -> Result<GraphProto, OnnxError> {
        let old = &view.model.graph;
        let mut graph = GraphProto {
            name: old.name.clone(),
            node: Vec::new(),
            initializer: old.initializer.clone(),
            sparse_initializer: old.sparse_initializer.clone(),
            doc_string: old.doc_string.clone(),
            input: old.input.clone(),
            output: old.output.clone(),
            value_info: old.value_info.clone(),
            quantization_annotation: old.quantization_annotation.clone(),
            metadata_props: old.metadata_props.clone(),
        };
        let changes = graph.initializer.iter().enumerate();
        let changes =
            changes.filter_map(|(index, tensor)| Some((index, self.0.get(tensor.name())?)));
        let converted = changes
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|(index, change)| {
                let tensor = &old.initializer[index];
                let name = match change {
                    Change::LowCopy(copy) => copy,
                    Change::InPlace | Change::FloatCopy(_) => tensor.name(),
                };
                Ok((index, change, view.half.convert(view.model, tensor, name)?))
            })
            .collect::<Result<Vec<_>, OnnxError>>()?;
        for (index, change, converted) in converted {
            match change {
                Change::LowCopy(_) => graph.initializer.push(converted),
                Change::InPlace => graph.initializer[index] = converted,
                Change::FloatCopy(copy) => {
                    let mut float = std::mem::replace(&mut graph.initializer[index], converted);
                    float.name = Some(copy.clone());
                    graph.initializer.push(float);
                }
            }
        }
        Ok(graph)
    }
}

//! [`Program`]: a model that passed the guard rails, in tract's hands, and its specialisation to
//! concrete input shapes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use prost::Message;
use tract_onnx::pb;
use tract_onnx::prelude::{
    InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable as _, TypedSimplePlan,
};
use tract_onnx::tract_hir::infer::Factoid as _;

use crate::backend::Profile;
use crate::backend::fault::Fault;
use crate::onnx::proto::{GraphProto, type_proto};
use crate::onnx::{self, Model, ModelSignature, node_name};
use crate::process::CancelToken;
use crate::tensor::{DType, Dim, Shape, TensorSpec};

use super::contained;
use super::fault::of_tract;
use super::rearrange::rearrange;
use super::{convert, guard, mend, quantize, rectify, widen};

/// How much tract may rearrange a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rearranging {
    /// Whatever makes it fast.
    Free,
    /// Nothing: every node as written.
    None,
}

/// A model that is ready to be specialised.
#[derive(Debug)]
pub(super) struct Program {
    model: InferenceModel,
    /// Names for blaming nodes; without weights.
    graph: GraphProto,
    rearranging: Rearranging,
    /// What callers see.
    pub(super) signature: ModelSignature,
    /// Bytes of weights, which every specialisation may copy into a layout of its own.
    pub(super) weight_bytes: usize,
}

impl Program {
    /// Checks a model, rewrites what tract cannot take as it is, and hands it to tract.
    /// `outputs` selects tensors by name; empty means the model's outputs.
    pub(super) fn new(
        mut model: Model,
        outputs: &[String],
        rearranging: Rearranging,
    ) -> Result<Self, Fault> {
        guard::check(&model)?;
        let mut signature = model.signature()?;
        let recorded = recorded_types(&model.graph);
        let halves = widen::halves(&model);
        quantize::rewrite(&mut model)?;
        widen::rewrite(&mut model, &halves)?;
        mend::rewrite(&mut model)?;
        rectify::rewrite(&mut model.graph, rearranging);
        let rearranging = match rearranging {
            Rearranging::Free if !guard::has_dequantize(&model.graph) => Rearranging::Free,
            _ => Rearranging::None,
        };
        let (mut model, graph) = parse(model)?;
        if !outputs.is_empty() {
            contained(|| model.select_outputs_by_name(outputs).map_err(|e| format!("{e:#}")))
                .flatten()
                .map_err(Fault::Model)?;
            let found = output_types(&model, outputs.len())?;
            let own: HashMap<&str, &TensorSpec> =
                signature.outputs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
            let selected = outputs.iter().zip(found).map(|(name, found)| {
                if let Some(spec) = own.get(name.as_str()) {
                    return Ok((*spec).clone());
                }
                // Recorded types are the model's own; tract sees widened ones.
                let dtype = recorded.get(name).copied().or(found).ok_or_else(|| {
                    Fault::Model(format!("the element type of tensor `{name}` is unknown"))
                })?;
                Ok(TensorSpec { name: name.clone(), dtype, dims: None })
            });
            signature.outputs = selected.collect::<Result<_, Fault>>()?;
        }
        let mut exchanged = signature.inputs.iter().chain(&signature.outputs);
        if let Some(spec) = exchanged.find(|spec| convert::datum_type(spec.dtype).is_none()) {
            return Err(Fault::Model(format!(
                "tensor `{}` has elements of type {}, which this backend cannot exchange",
                spec.name, spec.dtype
            )));
        }
        let weight_bytes = weight_bytes(&model);
        Ok(Self { model, graph, rearranging, signature, weight_bytes })
    }

    /// Builds what runs inputs of exactly these shapes. Where it is told to stop it ends between two
    /// changes of the graph, once tract has inferred its shapes, which nothing can interrupt.
    pub(super) fn specialise(
        &self,
        shapes: &[Shape],
        cancel: &CancelToken,
    ) -> Result<Arc<TypedSimplePlan>, Fault> {
        let work = || {
            let mut model = self.model.clone();
            for (index, (input, shape)) in self.signature.inputs.iter().zip(shapes).enumerate() {
                if let Some(datum_type) = convert::datum_type(input.dtype) {
                    let fact = InferenceFact::dt_shape(datum_type, shape.0.as_slice());
                    model.set_input_fact(index, fact)?;
                }
            }
            let typed = model.into_typed()?;
            match self.rearranging {
                Rearranging::Free => rearrange(typed, cancel)?.into_runnable(),
                Rearranging::None => typed.into_runnable(),
            }
        };
        contained(|| work().map_err(|e| format!("{e:#}"))).flatten().map_err(|error| {
            if cancel.is_cancelled() {
                return Fault::Cancelled;
            }
            of_tract(&self.graph, &error)
        })
    }

    /// Specialises the model to shapes it allows: what tract cannot wire, it notices only then.
    /// Profiles say which; otherwise open axes get one of [`SAMPLES`], the first axis being 1.
    pub(super) fn prove(&self, profiles: &[Profile], cancel: &CancelToken) -> Result<(), Fault> {
        let inputs = &self.signature.inputs;
        if let Some(profile) = profiles.first() {
            let opt = |input: &TensorSpec| match profile.get(&input.name) {
                Some(range) => Some(range.opt.clone()),
                None => sample_shape(input, 1),
            };
            let shapes: Option<Vec<Shape>> = inputs.iter().map(opt).collect();
            return shapes.map_or(Ok(()), |shapes| self.specialise(&shapes, cancel).map(drop));
        }
        let mut fault = None;
        let mut tried: Vec<Vec<Shape>> = Vec::new();
        for extent in SAMPLES {
            let sample = |input| sample_shape(input, extent);
            let Some(shapes) = inputs.iter().map(sample).collect() else { return Ok(()) };
            if tried.contains(&shapes) {
                break;
            }
            match self.specialise(&shapes, cancel) {
                Ok(_) => return Ok(()),
                Err(Fault::Cancelled) => return Err(Fault::Cancelled),
                Err(first) => fault = fault.or(Some(first)),
            }
            tried.push(shapes);
        }
        fault.map_or(Ok(()), Err)
    }
}

/// Extents to try for open axes: 1 is too small for an image under a larger kernel.
const SAMPLES: [usize; 4] = [1, 8, 64, 224];

fn sample_shape(input: &TensorSpec, open: usize) -> Option<Shape> {
    let extent = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Fixed(extent) => *extent,
        Dim::Symbol(_) | Dim::Any => {
            if axis == 0 {
                1
            } else {
                open
            }
        }
    };
    Some(Shape(input.dims.as_ref()?.iter().enumerate().map(extent).collect()))
}

/// Element types that the model records for inner tensors.
fn recorded_types(graph: &GraphProto) -> BTreeMap<String, DType> {
    let recorded =
        graph.value_info.iter().filter_map(|info| match info.r#type.as_ref()?.value.as_ref()? {
            type_proto::Value::TensorType(tensor) => {
                Some((info.name().to_owned(), onnx::dtype(tensor.elem_type())?))
            }
            _ => None,
        });
    recorded.collect()
}

/// Lets tract read the model; also gives the graph back without its weights.
fn parse(mut model: Model) -> Result<(InferenceModel, GraphProto), Fault> {
    let names: Vec<Option<String>> =
        model.graph.node.iter().map(|node| node.name.clone()).collect();
    name_once(&mut model.graph);
    let encoded = model.encode();
    let folder = model.folder().to_path_buf();
    let mut graph = model.graph;
    for (node, name) in graph.node.iter_mut().zip(names) {
        node.name = name;
    }
    graph.initializer.clear();
    let work = || -> Result<InferenceModel, String> {
        let proto = pb::ModelProto::decode(encoded.as_slice()).map_err(|e| e.to_string())?;
        drop(encoded);
        let folder = folder
            .to_str()
            .ok_or_else(|| format!("the path `{}` is not UTF-8", folder.display()))?;
        let parsed = guard::reader().parse(&proto, Some(folder)).map_err(|e| format!("{e:#}"))?;
        match parsed.unresolved_inputs.first() {
            Some(name) => Err(format!("nothing makes tensor `{name}`")),
            None => Ok(parsed.model),
        }
    };
    let model = contained(work).flatten().map_err(|e| of_tract(&graph, &e))?;
    Ok((model, graph))
}

/// Gives nodes other names where tract would meet a name twice: inputs, weights and nodes share its
/// names, and a node without one takes that of its output.
fn name_once(graph: &mut GraphProto) {
    let inputs = graph.input.iter().map(|input| input.name().to_owned());
    let weights = graph.initializer.iter().map(|tensor| tensor.name().to_owned());
    let mut taken: HashSet<String> = inputs.chain(weights).collect();
    for (index, node) in graph.node.iter_mut().enumerate() {
        if !taken.insert(node_name(node).to_owned()) {
            // No name in a file contains this character.
            let name = format!("{}\0{index}", node_name(node));
            taken.insert(name.clone());
            node.name = Some(name);
        }
    }
}

fn weight_bytes(model: &InferenceModel) -> usize {
    let facts = model.nodes().iter().flat_map(|node| &node.outputs).map(|output| &output.fact);
    facts
        .filter_map(|fact| fact.value.concretize())
        .map(|tensor| tensor.len() * tensor.datum_type().size_of())
        .sum()
}

fn output_types(model: &InferenceModel, count: usize) -> Result<Vec<Option<DType>>, Fault> {
    let mut model = model.clone();
    contained(|| {
        // Types are wanted even where shapes stay unknown, so the first fault does not end it.
        let _incomplete = model.analyse(true);
        let dtype = |index| {
            let fact = model.output_fact(index).ok()?;
            fact.datum_type.concretize().and_then(convert::dtype)
        };
        (0..count).map(dtype).collect()
    })
    .map_err(Fault::Model)
}

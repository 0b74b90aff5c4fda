//! [`Program`]: a model that passed the guard rails, in tract's hands, and its specialisation to
//! concrete input shapes.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use tract_onnx::pb;
use tract_onnx::prelude::{
    InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable as _, TypedSimplePlan,
};
use tract_onnx::tract_hir::infer::Factoid as _;

use crate::onnx::proto::GraphProto;
use crate::tensor::{DType, Shape, TensorSpec};

use super::contain::contained;
use super::fault::Fault;
use super::model::ModelFile;
use super::signature::{Signature, signature, spec};
use super::{convert, guard, quantize, widen};

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
    pub(super) signature: Signature,
    /// Bytes of weights, which every specialisation may copy into its own layout.
    pub(super) weight_bytes: usize,
}

impl Program {
    /// Checks a model, rewrites what tract cannot take as it is, and hands it to tract.
    /// `outputs` selects tensors by name; empty means the model's outputs.
    pub(super) fn new(
        mut file: ModelFile,
        outputs: &[String],
        rearranging: Rearranging,
    ) -> Result<Self, Fault> {
        guard::check(&file)?;
        let mut declared = signature(file.graph()?)?;
        let known = known_specs(file.graph()?);
        quantize::rewrite(&mut file)?;
        widen::rewrite(&mut file)?;
        let rearranging = match rearranging {
            Rearranging::Free if !guard::has_dequantize(file.graph()?) => Rearranging::Free,
            _ => Rearranging::None,
        };
        let (mut model, weight_bytes, graph) = parse(file)?;
        if !outputs.is_empty() {
            contained(|| model.select_outputs_by_name(outputs).map_err(|e| format!("{e:#}")))
                .flatten()
                .map_err(Fault::Model)?;
            let found = selected_types(&model, outputs)?;
            declared.outputs = outputs
                .iter()
                .zip(found)
                .map(|(name, dtype)| match known.get(name) {
                    Some(spec) => Ok(spec.clone()),
                    None => dtype
                        .map(|dtype| TensorSpec { name: name.clone(), dtype, dims: None })
                        .ok_or_else(|| {
                            Fault::Model(format!("the element type of tensor `{name}` is unknown"))
                        }),
                })
                .collect::<Result<_, _>>()?;
        }
        Ok(Self { model, graph, rearranging, signature: declared, weight_bytes })
    }

    /// Builds what runs inputs of exactly these shapes.
    pub(super) fn specialise(&self, shapes: &[Shape]) -> Result<Arc<TypedSimplePlan>, Fault> {
        let work = || {
            let mut model = self.model.clone();
            for (index, (input, shape)) in self.signature.inputs.iter().zip(shapes).enumerate() {
                let fact =
                    InferenceFact::dt_shape(convert::datum_type(input.dtype), shape.0.as_slice());
                model.set_input_fact(index, fact)?;
            }
            let typed = model.into_typed()?;
            match self.rearranging {
                Rearranging::Free => typed.into_optimized()?.into_runnable(),
                Rearranging::None => typed.into_runnable(),
            }
        };
        contained(|| work().map_err(|e| format!("{e:#}")))
            .flatten()
            .map_err(|error| Fault::of_tract(&self.graph, &error))
    }

    /// Types the model with the shapes it declares, unknown ones left open where tract can.
    /// Finds operators that tract cannot wire, which it notices only here.
    pub(super) fn prove(&self) -> Result<(), Fault> {
        let shapes: Option<Vec<Shape>> = self.signature.inputs.iter().map(sample_shape).collect();
        match shapes {
            Some(shapes) => self.specialise(&shapes).map(drop),
            None => Ok(()),
        }
    }
}

/// A shape of the kind an input accepts: open axes become 1.
fn sample_shape(input: &TensorSpec) -> Option<Shape> {
    let dims = input.dims.as_ref()?;
    let extent = |dim: &crate::tensor::Dim| match dim {
        crate::tensor::Dim::Fixed(extent) => *extent,
        _ => 1,
    };
    Some(Shape(dims.iter().map(extent).collect()))
}

fn known_specs(graph: &GraphProto) -> BTreeMap<String, TensorSpec> {
    graph
        .output
        .iter()
        .chain(&graph.value_info)
        .filter_map(|info| spec(info, "tensor").ok())
        .map(|spec| (spec.name.clone(), spec))
        .collect()
}

fn parse(file: ModelFile) -> Result<(InferenceModel, usize, GraphProto), Fault> {
    let ModelFile { proto, folder } = file;
    let encoded = proto.encode_to_vec();
    let mut graph = proto.graph.unwrap_or_default();
    graph.initializer.clear();
    let weights = encoded.len();
    let work = || -> Result<InferenceModel, String> {
        let proto = pb::ModelProto::decode(encoded.as_slice()).map_err(|e| e.to_string())?;
        let folder = folder.as_deref().map(|path| match path.to_str() {
            Some("") => Ok("."),
            Some(text) => Ok(text),
            None => Err(format!("the path `{}` is not UTF-8", path.display())),
        });
        let parsed =
            guard::reader().parse(&proto, folder.transpose()?).map_err(|e| format!("{e:#}"))?;
        match parsed.unresolved_inputs.first() {
            Some(name) => Err(format!("nothing makes tensor `{name}`")),
            None => Ok(parsed.model),
        }
    };
    let model = contained(work).flatten().map_err(|e| Fault::of_tract(&graph, &e))?;
    let constants: usize = model
        .nodes()
        .iter()
        .flat_map(|node| &node.outputs)
        .filter_map(|output| output.fact.value.concretize())
        .map(|tensor| tensor.len() * tensor.datum_type().size_of())
        .sum();
    Ok((model, constants.max(weights), graph))
}

fn selected_types(model: &InferenceModel, outputs: &[String]) -> Result<Vec<Option<DType>>, Fault> {
    let mut model = model.clone();
    contained(|| {
        // Types are wanted even where shapes stay unknown, so the first fault does not end it.
        let _incomplete = model.analyse(true);
        (0..outputs.len())
            .map(|index| {
                let fact = model.output_fact(index).ok()?;
                fact.datum_type.concretize().and_then(convert::dtype)
            })
            .collect()
    })
    .map_err(Fault::Model)
}

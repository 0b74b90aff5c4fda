//! What graph passes ask of a backend: [`evaluate`] for constant folding and [`infer_shapes`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prost::Message as _;
use prost::bytes::Bytes;
use tract_onnx::pb;
use tract_onnx::prelude::{InferenceFact, InferenceModelExt as _, OutletId, TDim, TVec};
use tract_onnx::tract_hir::infer::{DimFact, Factoid as _};

use crate::backend::BackendError;
use crate::backend::fault::Fault;
use crate::onnx::Model;
use crate::process::CancelToken;
use crate::tensor::{DType, Dim, Shape, Tensor};

use super::contained;
use super::program::{Program, Rearranging};
use super::{convert, guard};

/// Runs a serialized model that has no inputs and gives its outputs in order. Half precision is
/// computed in float32 and rounded once, at the outputs.
pub fn evaluate(model: &[u8]) -> Result<Vec<Tensor>, BackendError> {
    // The model stands in no file, so it has no external data and messages have no path.
    let name = Path::new("constant subgraph");
    run_constant(model, name).map_err(|fault| fault.compiling(super::NAME, name))
}

fn run_constant(model: &[u8], name: &Path) -> Result<Vec<Tensor>, Fault> {
    let model = Model::parse(&Bytes::copy_from_slice(model), name)?;
    let program = Program::new(model, &[], Rearranging::None)?;
    if let Some(input) = program.signature.inputs.first() {
        return Err(Fault::Model(format!("it has an input, `{}`", input.name)));
    }
    let plan = program.specialise(&[], &CancelToken::default())?;
    contained(|| {
        let results = plan.run(TVec::new()).map_err(|e| format!("{e:#}"))?;
        let outputs = program.signature.outputs.iter().zip(&results);
        outputs
            .map(|(spec, result)| {
                let bytes = convert::from_tract(spec.dtype, result)?;
                let shape = Shape::from(result.shape());
                Tensor::from_bytes(spec.dtype, shape, &bytes).map_err(|e| e.to_string())
            })
            .collect()
    })
    .flatten()
    .map_err(Fault::Model)
}

/// Element types and shapes of tensors, by name; `None` is an unknown rank.
pub type InferredTensors = BTreeMap<String, (DType, Option<Vec<Dim>>)>;

/// Element types and shapes of the tensors of a serialized model, as far as tract can tell:
/// empty where it cannot read the model, without the tensors it cannot type. Axes keep the
/// names that the model's inputs give them.
pub fn infer_shapes(model: &[u8]) -> InferredTensors {
    contained(|| inferred(model)).ok().flatten().unwrap_or_default()
}

fn inferred(model: &[u8]) -> Option<InferredTensors> {
    let proto = pb::ModelProto::decode(model).ok()?;
    let names = axis_names(&proto);
    let mut model = guard::reader().parse(&proto, None).ok()?.model;
    // What is known before the first fault is as good as without it.
    let _incomplete = model.analyse(true);
    let mut found = BTreeMap::new();
    for node in model.nodes() {
        for (slot, output) in node.outputs.iter().enumerate() {
            let Some(name) = model.outlet_label(OutletId::new(node.id, slot)) else { continue };
            let dtype = output.fact.datum_type.concretize().and_then(convert::dtype);
            if let Some(dtype) = dtype {
                found.insert(name.to_owned(), (dtype, dims(&output.fact, &names)));
            }
        }
    }
    Some(found)
}

/// The names that the model's inputs give to axes. tract also reads expressions there and makes
/// up symbols of its own, which mean nothing to anybody else.
fn axis_names(proto: &pb::ModelProto) -> BTreeSet<String> {
    let inputs = proto.graph.iter().flat_map(|graph| &graph.input);
    let types = inputs.filter_map(|input| input.r#type.as_ref()?.value.as_ref());
    let tensors = types.map(|pb::type_proto::Value::TensorType(tensor)| tensor);
    let axes = tensors.filter_map(|tensor| tensor.shape.as_ref()).flat_map(|shape| &shape.dim);
    let names = axes.filter_map(|axis| match &axis.value {
        Some(pb::tensor_shape_proto::dimension::Value::DimParam(name)) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

fn dims(fact: &InferenceFact, names: &BTreeSet<String>) -> Option<Vec<Dim>> {
    fact.shape.rank().concretize()?;
    let dim = |axis: &DimFact| match axis.concretize() {
        Some(TDim::Sym(symbol)) => {
            let name = symbol.to_string();
            if names.contains(&name) { Dim::Symbol(name) } else { Dim::Any }
        }
        Some(extent) => extent
            .as_i64()
            .and_then(|extent| usize::try_from(extent).ok())
            .map_or(Dim::Any, Dim::Fixed),
        None => Dim::Any,
    };
    Some(fact.shape.dims().map(dim).collect())
}

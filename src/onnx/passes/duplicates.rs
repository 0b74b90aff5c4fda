//! Merges initializers of equal content.

use std::collections::{BTreeMap, HashMap};

use crate::onnx::error::OnnxError;
use crate::onnx::external;
use crate::onnx::model::Model;
use crate::onnx::proto::TensorProto;
use crate::onnx::tensors::typed_bytes;

use super::{Evaluator, Pass};
use crate::onnx::names::{Uses, rename_reads};

pub(super) struct MergeInitializers;

impl Pass for MergeInitializers {
    fn name(&self) -> &'static str {
        "merge-initializers"
    }

    fn run(&self, model: &mut Model, _evaluator: &dyn Evaluator) -> Result<usize, OnnxError> {
        let uses = Uses::of(&model.graph);
        let mut first: HashMap<_, &str> = HashMap::new();
        let mut merged = BTreeMap::new();
        for tensor in &model.graph.initializer {
            let Some(content) = content(tensor) else { continue };
            let key = (tensor.data_type(), tensor.dims.as_slice(), content);
            match first.get(&key) {
                Some(same) if !uses.is_pinned(tensor.name()) => {
                    merged.insert(tensor.name().to_owned(), (*same).to_owned());
                }
                Some(_) => {}
                None => {
                    first.insert(key, tensor.name());
                }
            }
        }
        rename_reads(&mut model.graph, &merged);
        model.graph.initializer.retain(|tensor| !merged.contains_key(tensor.name()));
        model.graph.input.retain(|input| !merged.contains_key(input.name()));
        Ok(merged.len())
    }
}

/// A digest of a tensor's values; of their place where they are external. `None` where the place
/// is not given as it should be.
fn content(tensor: &TensorProto) -> Option<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    if let Some(place) = external::external_ref(tensor).ok()? {
        let range = format!("{}:{:?}", place.offset, place.length);
        hasher.update(b"external").update(range.as_bytes()).update(place.location.as_bytes());
    } else if !tensor.string_data.is_empty() {
        for text in &tensor.string_data {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text);
        }
    } else if let Some(raw) = &tensor.raw_data {
        hasher.update(raw);
    } else {
        hasher.update(&typed_bytes(tensor));
    }
    Some(hasher.finalize())
}

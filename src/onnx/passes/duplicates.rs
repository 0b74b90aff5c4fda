//! Merges initializers of equal content.

use std::collections::{BTreeMap, HashMap};

use crate::onnx::error::OnnxError;
use crate::onnx::external;
use crate::onnx::model::Model;
use crate::onnx::names::{Uses, rename_reads};
use crate::onnx::proto::TensorProto;
use crate::onnx::tensors::typed_bytes;

use super::{Pass, PassName, Tools};

pub(super) struct MergeInitializers;

impl Pass for MergeInitializers {
    fn name(&self) -> PassName {
        PassName::MergeInitializers
    }

    fn run(&self, model: &mut Model, _tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let uses = Uses::of(&model.graph);
        // Most weights differ in shape or in their first bytes: the rest of them is not read.
        let alike = |tensor| Some((kind(tensor), content(tensor, SAMPLE)?));
        let mut counts: HashMap<_, usize> = HashMap::new();
        let kinds: Vec<_> = model.graph.initializer.iter().map(alike).collect();
        for kind in kinds.iter().flatten() {
            *counts.entry(kind).or_default() += 1;
        }
        let mut first: HashMap<_, &str> = HashMap::new();
        let mut merged = BTreeMap::new();
        for (tensor, alike) in model.graph.initializer.iter().zip(&kinds) {
            let Some(alike) = alike.as_ref().filter(|alike| counts[alike] > 1) else { continue };
            let Some(content) = content(tensor, usize::MAX) else { continue };
            match first.get(&(alike, content)) {
                Some(same) if !uses.is_pinned(tensor.name()) => {
                    merged.insert(tensor.name().to_owned(), (*same).to_owned());
                }
                Some(_) => {}
                None => {
                    first.insert((alike, content), tensor.name());
                }
            }
        }
        if merged.is_empty() {
            return Ok(0);
        }
        rename_reads(&mut model.graph, &merged);
        model.graph.initializer.retain(|tensor| !merged.contains_key(tensor.name()));
        model.graph.input.retain(|input| !merged.contains_key(input.name()));
        Ok(merged.len())
    }
}

/// Bytes by which tensors are told apart first.
const SAMPLE: usize = 256;

fn kind(tensor: &TensorProto) -> (i32, &[i64]) {
    (tensor.data_type(), tensor.dims.as_slice())
}

/// A digest of a tensor's first bytes, at most `most`; of their place where they are external.
/// `None` where the place is not given as it should be.
fn content(tensor: &TensorProto, most: usize) -> Option<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    if let Some(place) = external::external_ref(tensor).ok()? {
        let range = format!("{}:{:?}", place.offset, place.length);
        hasher.update(b"external").update(range.as_bytes()).update(place.location.as_bytes());
    } else if !tensor.string_data.is_empty() {
        for text in &tensor.string_data {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text);
        }
    } else if let Some(raw) = &tensor.raw_data {
        hasher.update(&raw[..raw.len().min(most)]);
    } else {
        let bytes = typed_bytes(tensor);
        hasher.update(&bytes[..bytes.len().min(most)]);
    }
    Some(hasher.finalize())
}

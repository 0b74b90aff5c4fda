//! The bounds of a `Slice` that tract misunderstands, written otherwise.

use std::collections::BTreeMap;

use crate::backend::fault::Fault;
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{Model, from_tensor};
use crate::tensor::{Shape, Tensor};

use super::mend::MENDED;
use super::walk::each_node;
use super::weights::Constants;

/// tract takes the lowest integers for "to the end" also where a `Slice` goes forwards, which then
/// takes nothing, and miscounts from the highest. Bounds that are merely far out say the same.
/// (Where one goes backwards, the highest integer is an end before all for onnxruntime too.)
pub(super) fn rewrite(model: &mut Model) -> Result<(), Fault> {
    let constants = Constants::of(model);
    let mut bounds = BTreeMap::new();
    each_node(&model.graph, &mut |node| {
        if let (Some(output), "Slice") = (node.output.first(), node.op_type()) {
            let plain = [plain_starts(node, &constants), plain_ends(node, &constants)];
            if plain.iter().any(Option::is_some) {
                bounds.insert(output.clone(), plain);
            }
        }
    });
    if bounds.is_empty() { Ok(()) } else { bound_plainly(&mut model.graph, &bounds) }
}

/// The integers of an input of a node, where they are constant.
fn integers(node: &NodeProto, index: usize, constants: &Constants<'_>) -> Option<Vec<i64>> {
    let name = node.input.get(index).filter(|name| !name.is_empty())?;
    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates")]
    Some(constants.values(name)?.into_iter().map(|value| value as i64).collect())
}

/// The starts of a `Slice` without those that tract misunderstands, where it has any.
fn plain_starts(node: &NodeProto, constants: &Constants<'_>) -> Option<Vec<i64>> {
    let starts = integers(node, 1, constants)?;
    let plain: Vec<i64> = starts.iter().map(|start| (*start).clamp(-FAR, FAR)).collect();
    (plain != starts).then_some(plain)
}

/// The ends of a `Slice` without those that tract misunderstands, where it has any.
fn plain_ends(node: &NodeProto, constants: &Constants<'_>) -> Option<Vec<i64>> {
    let ends = integers(node, 2, constants)?;
    let steps = match node.input.get(4).filter(|name| !name.is_empty()) {
        Some(_) => integers(node, 4, constants)?,
        None => vec![1; ends.len()],
    };
    let plain = ends
        .iter()
        .zip(&steps)
        .map(|(&end, &step)| if step > 0 && end <= i64::MIN + 1 { -FAR } else { end });
    let plain: Vec<i64> = plain.collect();
    (plain != ends && steps.len() == ends.len()).then_some(plain)
}

/// Farther out than axes are long; tract keeps 32 bits of a bound.
const FAR: i64 = 1 << 30;

/// Starts and ends to write in place of those of a node, by its output.
type Bounds = BTreeMap<String, [Option<Vec<i64>>; 2]>;

fn bound_plainly(graph: &mut GraphProto, bounds: &Bounds) -> Result<(), Fault> {
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                bound_plainly(inner, bounds)?;
            }
        }
        let found = node.output.first().and_then(|name| bounds.get_key_value(name));
        let Some((output, plain)) = found else { continue };
        for ((plain, input), which) in plain.iter().zip(node.input.iter_mut().skip(1)).zip(0..) {
            let Some(plain) = plain else { continue };
            let tensor = Tensor::from_i64(Shape(vec![plain.len()]), plain)
                .map_err(|error| Fault::Model(error.to_string()))?;
            let name = format!("{output}{MENDED}{which}");
            graph.initializer.push(from_tensor(&name, &tensor));
            *input = name;
        }
    }
    Ok(())
}

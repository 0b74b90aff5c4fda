//! Changes of `BatchNormalization` and of the softmax family.

use crate::onnx::names::int_attribute;
use crate::onnx::proto::NodeProto;
use crate::onnx::shapes::{Extent, axis};

use super::step::{Step, make, set_int, take};

type Adapted = Result<Vec<NodeProto>, String>;

pub(super) fn batch_norm_9(_step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    if take(&mut node, "spatial").is_some_and(|spatial| spatial.i() == 0) {
        return Err("statistics per element (`spatial` is 0) are gone".into());
    }
    Ok(vec![node])
}

/// Training is asked for by an attribute, no longer by more outputs.
pub(super) fn batch_norm_14(_step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    if node.output.iter().skip(1).any(|output| !output.is_empty()) {
        return Err("it gives statistics of training".into());
    }
    node.output.truncate(1);
    Ok(vec![node])
}

/// Until here, the axes from `axis` on were taken together; then, that axis alone.
pub(super) fn softmax(step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    let from = int_attribute(&node, "axis", 1);
    let ([input], [output]) = (node.input.as_slice(), node.output.as_slice()) else {
        return Err("it has not one input and one output".into());
    };
    let (input, output) = (input.clone(), output.clone());
    let alone = step.dims(&input).and_then(|dims| only_axis(dims, from));
    if let Some(alone) = alone {
        set_int(&mut node, "axis", alone);
        return Ok(vec![node]);
    }
    // Which axes there are shows when the model runs.
    let shape = step.name(&node, "shape");
    let flat = step.name(&node, "flat");
    let result = step.name(&node, "result");
    let part = |what: &str| format!("{}/{what}", node.name());
    let mut flatten = make("Flatten", part("flatten"), vec![input.clone()], flat.clone());
    set_int(&mut flatten, "axis", from);
    let measure = make("Shape", part("shape"), vec![input], shape.clone());
    let restore = make("Reshape", part("restore"), vec![result.clone(), shape], output);
    set_int(&mut node, "axis", -1);
    node.input = vec![flat];
    node.output = vec![result];
    Ok(vec![measure, flatten, node, restore])
}

/// The only axis from `from` on that has more than one element; the last where none has.
fn only_axis(dims: &[Extent], from: i64) -> Option<i64> {
    let from = axis(from, dims.len())?;
    let mut longer = (from..dims.len()).filter(|at| dims[*at] != Extent::Fixed(1));
    let first = longer.next().unwrap_or(dims.len() - 1);
    longer.next().is_none().then_some(i64::try_from(first).ok()?)
}

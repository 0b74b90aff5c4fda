//! Changes of operators that moved attributes to inputs, or whose attributes got other words.

use crate::onnx::names::{float_attribute, text_attribute};
use crate::onnx::proto::NodeProto;

use super::step::{Step, set_input, set_int, set_text, take};

type Adapted = Result<Vec<NodeProto>, String>;

/// Moves a list of integers from an attribute to an input; an empty one says nothing.
fn moved(
    step: &mut Step<'_>,
    node: &mut NodeProto,
    name: &str,
    index: usize,
) -> Result<bool, String> {
    let found = take(node, name).filter(|attribute| !attribute.ints.is_empty());
    let Some(found) = found else { return Ok(false) };
    let constant = step.integers(node, name, &found.ints)?;
    set_input(node, index, constant);
    Ok(true)
}

pub(super) fn axes(step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    moved(step, &mut node, "axes", 1)?;
    Ok(vec![node])
}

pub(super) fn slice(step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    for (index, name) in ["starts", "ends", "axes"].into_iter().enumerate() {
        let is_moved = moved(step, &mut node, name, index + 1)?;
        if !is_moved && name != "axes" {
            return Err(format!("it has no `{name}`"));
        }
    }
    Ok(vec![node])
}

pub(super) fn split_13(step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    moved(step, &mut node, "split", 1)?;
    Ok(vec![node])
}

/// Parts of equal size are asked for by their number.
pub(super) fn split_18(_step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    if node.input.get(1).is_none_or(String::is_empty) {
        let count = i64::try_from(node.output.len()).map_err(|error| error.to_string())?;
        set_int(&mut node, "num_outputs", count);
    }
    Ok(vec![node])
}

pub(super) fn clip(step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    for (index, name) in ["min", "max"].into_iter().enumerate() {
        if let Some(bound) = take(&mut node, name) {
            let dtype = step.dtype(&node)?;
            let constant = step.number(&node, name, dtype, bound.f())?;
            set_input(&mut node, index + 1, constant);
        }
    }
    Ok(vec![node])
}

pub(super) fn pad(step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    let value = float_attribute(&node, "value", 0.0);
    take(&mut node, "value");
    if !moved(step, &mut node, "pads", 1)? {
        return Err("it has no `pads`".into());
    }
    // Zero is what is filled in where nothing is said.
    if value.to_bits() != 0 {
        let dtype = step.dtype(&node)?;
        let constant = step.number(&node, "value", dtype, value)?;
        set_input(&mut node, 2, constant);
    }
    Ok(vec![node])
}

pub(super) fn top_k(step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    let count = take(&mut node, "k").ok_or("it has no `k`")?;
    let constant = step.integers(&node, "k", &[count.i()])?;
    set_input(&mut node, 1, constant);
    Ok(vec![node])
}

/// The mask becomes a boolean tensor.
pub(super) fn dropout_10(step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    if node.output.get(1).is_some_and(|mask| step.is_used(mask)) {
        return Err("its mask, which has another element type, is read".into());
    }
    node.output.truncate(1);
    Ok(vec![node])
}

pub(super) fn dropout_12(step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    if let Some(ratio) = take(&mut node, "ratio") {
        let dtype = crate::tensor::DType::Float32;
        let constant = step.number(&node, "ratio", dtype, ratio.f())?;
        set_input(&mut node, 1, constant);
    }
    Ok(vec![node])
}

pub(super) fn upsample_9(step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    let scales = take(&mut node, "scales").ok_or("it has no `scales`")?;
    let constant = step.floats(&node, "scales", &scales.floats)?;
    set_input(&mut node, 1, constant);
    Ok(vec![node])
}

/// `Resize` of this opset does what `Upsample` did.
pub(super) fn upsample_10(node: &mut NodeProto) {
    node.op_type = Some("Resize".into());
}

/// Until here, coordinates are scaled as they are and, for the nearest, rounded down.
pub(super) fn resize(step: &mut Step<'_>, mut node: NodeProto) -> Adapted {
    let [input, scales] = node.input.as_slice() else { return Err("it has no scales".into()) };
    let (input, scales) = (input.clone(), scales.clone());
    if text_attribute(&node, "mode").is_none_or(|mode| mode == "nearest") {
        set_text(&mut node, "nearest_mode", "floor");
    }
    set_text(&mut node, "coordinate_transformation_mode", "asymmetric");
    // Two opsets require a region even where none is looked at.
    let region = if step.to < 13 { step.floats(&node, "roi", &[])? } else { String::new() };
    node.input = vec![input, region, scales];
    Ok(vec![node])
}

pub(super) fn grid_sample(node: &mut NodeProto) {
    match text_attribute(node, "mode") {
        None | Some("bilinear") => set_text(node, "mode", "linear"),
        Some("bicubic") => set_text(node, "mode", "cubic"),
        Some(_) => {}
    }
}

/// Regions keep the coordinates that were the only ones.
pub(super) fn roi_align(node: &mut NodeProto) {
    set_text(node, "coordinate_transformation_mode", "output_half_pixel");
}

pub(super) fn scatter(node: &mut NodeProto) {
    node.op_type = Some("ScatterElements".into());
}

//! What tract accepts and computes wrongly without a word. Each entry was found by comparing it
//! with ONNX's own tests, or by searching its source for attributes that it never reads.
//!
//! Not refused, because it depends on the data: `Attention` gives rows whose mask is all false the
//! mean of the values; pooling, `HardSigmoid`, `Celu` and, in engines, rectifiers and sigmoids pass
//! over NaN; `ArgMax`, `ArgMin` and `TopK` put NaN elsewhere than onnxruntime does. A pooling whose
//! window is larger than its image gives one element where onnxruntime gives none, and a `Slice`
//! backwards from before its axis none where onnxruntime gives the first.
//!
//! Not refused, though onnxruntime differs: `Resize` where a scale gives no whole extent. With
//! `align_corners` tract is with ONNX's own implementation, with `tf_crop_and_resize` mostly.

use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{NodeProto, TensorProto};

use super::guard::{attribute, integer, text};
use super::weights::Constants;

/// Why a node would be computed wrongly, where it would.
pub(super) fn reason(node: &NodeProto, constants: &Constants<'_>) -> Option<String> {
    let set = |name| attribute(node, name).is_some();
    let on = |name| integer(node, name).is_some_and(|value| value != 0);
    let reason = match node.op_type() {
        "Einsum" if text(node, "equation").is_some_and(|equation| equation.contains("...")) => {
            "`...` in the equation loses axes"
        }
        "LSTM" | "GRU" | "RNN" => return recurrent(node),
        "BitShift" => return bit_shift(node, constants),
        "Attention" if on("is_causal") && has_input(node, 4) => {
            "causal attention with a past is masked wrongly"
        }
        "Attention" if window(node, "left_window_size") || window(node, "right_window_size") => {
            "attention windows are ignored"
        }
        "AveragePool" | "MaxPool" if same(node) && set("dilations") => {
            "the automatic padding of dilated windows is computed wrongly"
        }
        "AveragePool" | "MaxPool" if same(node) && gaps(node) => {
            "the automatic padding of windows that leave gaps is computed wrongly"
        }
        "AveragePool" | "MaxPool" if automatic(node) && on("ceil_mode") => {
            "`ceil_mode` is ignored where the padding is automatic"
        }
        "BatchNormalization" if on("training_mode") => "`training_mode` is ignored",
        "Celu" | "Swish" if !is_one(node, "alpha") => "`alpha` other than 1 is computed wrongly",
        "Constant" if set("sparse_value") => "sparse constants are ignored",
        "SpaceToDepth" if text(node, "mode") == Some("CRD") => "mode `CRD` is computed as `DCR`",
        "GlobalLpPool" => "the mean of the powers is taken where ONNX has their sum",
        "Pad" if text(node, "mode") == Some("wrap") => "mode `wrap` is not implemented",
        "Pad" if crops(node, constants) => "padding by less than 0 is not implemented",
        "Scan" if set("directions") => "`directions` is ignored",
        _ => return None,
    };
    Some(reason.to_owned())
}

fn recurrent(node: &NodeProto) -> Option<String> {
    if text(node, "direction") == Some("reverse") {
        return Some("direction `reverse` is computed as `forward`".to_owned());
    }
    let ignored = ["clip", "input_forget", "activation_alpha", "activation_beta"];
    let present = ignored.into_iter().find(|name| {
        attribute(node, name).is_some()
            && !(*name == "input_forget" && integer(node, name) == Some(0))
    });
    if let Some(name) = present {
        return Some(format!("`{name}` is ignored"));
    }
    let usual: &[&[u8]] = match node.op_type() {
        "LSTM" => &[b"sigmoid", b"tanh", b"tanh"],
        "GRU" => &[b"sigmoid", b"tanh"],
        _ => &[b"tanh"],
    };
    let chosen = &attribute(node, "activations")?.strings;
    let others = chosen.iter().zip(usual.iter().cycle()).any(|(a, b)| !a.eq_ignore_ascii_case(b));
    others.then(|| "activations other than the usual ones are ignored".to_owned())
}

/// tract shifts by the amount modulo the width, and ONNX does not.
fn bit_shift(node: &NodeProto, constants: &Constants<'_>) -> Option<String> {
    let amounts = node.input.get(1)?;
    let Some(tensor) = constants.tensor(amounts) else {
        return Some("shifts by amounts that are not constant are not supported".to_owned());
    };
    let width = f64::from(width(tensor));
    match constants.values(amounts) {
        Some(amounts) if amounts.iter().all(|amount| (0.0..width).contains(amount)) => None,
        _ => Some("a shift by a negative amount or by more than the width is wrong".to_owned()),
    }
}

fn width(tensor: &TensorProto) -> u8 {
    match DataType::try_from(tensor.data_type()) {
        Ok(DataType::Uint64 | DataType::Int64) => 64,
        Ok(DataType::Uint32 | DataType::Int32) => 32,
        Ok(DataType::Uint16 | DataType::Int16) => 16,
        _ => 8,
    }
}

/// Whether the padding is left to the operator.
fn automatic(node: &NodeProto) -> bool {
    matches!(text(node, "auto_pad"), Some("SAME_UPPER" | "SAME_LOWER" | "VALID"))
}

/// Whether it pads for an extent of the result.
fn same(node: &NodeProto) -> bool {
    automatic(node) && text(node, "auto_pad") != Some("VALID")
}

/// Whether a window goes farther than it is wide.
fn gaps(node: &NodeProto) -> bool {
    let extents = |name| attribute(node, name).map_or(&[][..], |attribute| &attribute.ints);
    extents("kernel_shape").iter().zip(extents("strides")).any(|(extent, stride)| stride > extent)
}

/// Whether a `Pad` takes elements away.
fn crops(node: &NodeProto, constants: &Constants<'_>) -> bool {
    let attribute = attribute(node, "pads").is_some_and(|pads| pads.ints.iter().any(|&by| by < 0));
    let values = node.input.get(1).and_then(|pads| constants.values(pads));
    attribute || values.is_some_and(|pads| pads.iter().any(|&by| by < 0.0))
}

fn window(node: &NodeProto, name: &str) -> bool {
    integer(node, name).is_some_and(|size| size >= 0)
}

/// Whether a float attribute is at its default of exactly 1.
fn is_one(node: &NodeProto, name: &str) -> bool {
    let value = attribute(node, name).and_then(|attribute| attribute.f);
    value.is_none_or(|value| value.to_bits() == 1f32.to_bits())
}

fn has_input(node: &NodeProto, index: usize) -> bool {
    node.input.get(index).is_some_and(|name| !name.is_empty())
}

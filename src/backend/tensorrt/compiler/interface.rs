//! What TensorRT cannot take of any model's inputs and outputs, whatever its version. Its own words
//! for these come late or not at all.

use crate::onnx::ModelSignature;
use crate::tensor::TensorSpec;

/// The most axes that a tensor of TensorRT has.
const MOST_AXES: usize = 8;

/// Why TensorRT cannot take this model, where that is seen from its signature.
pub(super) fn objection(signature: &ModelSignature) -> Option<String> {
    let inputs = signature.inputs.iter().map(|input| ("input", input));
    let outputs = signature.outputs.iter().map(|output| ("output", output));
    inputs.chain(outputs).find_map(|(role, tensor)| of(role, tensor))
}

fn of(role: &str, tensor: &TensorSpec) -> Option<String> {
    let (name, axes) = (&tensor.name, tensor.dims.as_ref().map_or(0, Vec::len));
    if name.contains('\0') {
        let name = name.escape_debug();
        return Some(format!(
            "the name of {role} `{name}` has a zero byte, at which names end for TensorRT: rename it"
        ));
    }
    (axes > MOST_AXES).then(|| {
        format!(
            "{role} `{name}` has {axes} axes, and TensorRT takes {MOST_AXES} at most: join some of \
             them"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DType, Dim};

    fn with_input(name: &str, axes: usize) -> ModelSignature {
        let dims = Some(vec![Dim::Any; axes]);
        let input = TensorSpec { name: name.to_owned(), dtype: DType::Float32, dims };
        ModelSignature { inputs: vec![input], outputs: Vec::new() }
    }

    #[test]
    fn eight_axes_are_taken_and_nine_are_not() {
        assert_eq!(objection(&with_input("x", 8)), None);
        insta::assert_snapshot!(
            objection(&with_input("x", 9)).unwrap(),
            @"input `x` has 9 axes, and TensorRT takes 8 at most: join some of them"
        );
    }

    #[test]
    fn any_name_will_do_but_one_with_a_zero_byte() {
        assert_eq!(objection(&with_input("a\"'`\n\u{1b}[31m ü", 1)), None);
        insta::assert_snapshot!(
            objection(&with_input("a\0b", 1)).unwrap(),
            @r"the name of input `a\0b` has a zero byte, at which names end for TensorRT: rename it"
        );
    }
}

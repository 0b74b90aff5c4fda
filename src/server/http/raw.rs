//! A body without JSON: the bytes of a model's only input, of the only shape it can have.

use bytes::Bytes;

use crate::runtime::InferRequest;
use crate::server::protocol::{Builder, Parameters, ProtocolError, Signature};
use crate::tensor::{Dim, Shape, TensorSpec};

use super::reply::{Place, Reply};

pub(super) fn decode(
    signature: Signature<'_>,
    body: &Bytes,
) -> Result<(InferRequest, Reply), ProtocolError> {
    let [spec] = signature.inputs else {
        return Err(ProtocolError::syntax(format!(
            "a body without JSON is for models with one input, `{}` has {}",
            signature.model,
            signature.inputs.len()
        )));
    };
    let shape = only_shape(spec, body.len()).ok_or_else(|| {
        let (bytes, dtype, dims) = (body.len(), spec.dtype, spec.dims_text());
        let reason = format!("no shape follows from {bytes} bytes; the model takes {dtype} {dims}");
        ProtocolError::input(&spec.name, reason)
    })?;
    let mut builder = Builder::new(signature);
    builder.fill(0, shape, body.clone());
    let places = vec![Place::Binary; builder.output_count()];
    Ok((builder.finish(&Parameters::default())?, Reply { id: None, places }))
}

/// The shape of so many bytes where at most one extent is free.
fn only_shape(spec: &TensorSpec, bytes: usize) -> Option<Shape> {
    let dims = spec.dims.as_ref()?;
    let fixed = dims.iter().try_fold(spec.dtype.size(), |product, dim| match dim {
        Dim::Fixed(extent) => product.checked_mul(*extent),
        Dim::Symbol(_) | Dim::Any => Some(product),
    })?;
    let free = dims.iter().filter(|dim| !matches!(dim, Dim::Fixed(_))).count();
    let extent = bytes.checked_div(fixed)?;
    if free > 1 || (free == 0 && extent != 1) || extent * fixed != bytes {
        return None;
    }
    let extent_of = |dim: &Dim| match dim {
        Dim::Fixed(fixed) => *fixed,
        Dim::Symbol(_) | Dim::Any => extent,
    };
    Some(Shape(dims.iter().map(extent_of).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    #[test]
    fn a_shape_follows_from_a_length_where_one_extent_is_free_at_most() {
        let any = || Dim::Symbol("n".into());
        let shape = |dims: Option<Vec<Dim>>, bytes| {
            let spec = TensorSpec { name: "x".into(), dtype: DType::Float32, dims };
            only_shape(&spec, bytes).map(|shape| shape.0)
        };
        assert_eq!(shape(Some(vec![any(), Dim::Fixed(4)]), 48), Some(vec![3, 4]));
        assert_eq!(shape(Some(vec![Dim::Fixed(2), Dim::Fixed(4)]), 32), Some(vec![2, 4]));
        assert_eq!(shape(Some(Vec::new()), 4), Some(vec![]));
        assert_eq!(shape(Some(vec![any(), Dim::Fixed(4)]), 0), Some(vec![0, 4]));
        for (dims, bytes) in [
            (Some(vec![any(), Dim::Fixed(4)]), 50),
            (Some(vec![any(), any()]), 48),
            (Some(vec![Dim::Fixed(2), Dim::Fixed(4)]), 64),
            (Some(vec![any(), Dim::Fixed(0)]), 0),
            (Some(vec![any(), Dim::Fixed(usize::MAX)]), 48),
            (None, 48),
        ] {
            assert_eq!(shape(dims, bytes), None);
        }
    }
}

//! What the models of the fuzz targets take.

use std::sync::LazyLock;

use trt_pipeline::tensor::{DType, Dim, TensorSpec};

/// One input of every type, of shapes that are fixed, free and unknown.
pub static INPUTS: LazyLock<Vec<TensorSpec>> = LazyLock::new(|| {
    let rows = || Dim::Symbol("rows".into());
    let dims = [
        Some(vec![rows(), Dim::Fixed(2)]),
        Some(vec![]),
        Some(vec![Dim::Any, rows(), Dim::Fixed(0)]),
        None,
    ];
    let spec = |(dtype, dims): (DType, _)| TensorSpec { name: dtype.to_string(), dtype, dims };
    DType::ALL.into_iter().zip(dims.into_iter().cycle()).map(spec).collect()
});

//! The warm-up samples of a deployment: the first of the user's data, kept in its artifact.

use indexmap::IndexMap;

use crate::data::{self, Column, Dataset};
use crate::stage::assess::BatchSizes;
use crate::stage::{StageContext, StageError};
use crate::tensor::{Tensor, TensorSpec};

/// The input's role.
pub(super) const ROLE: &str = "warmup.data";

/// The file's name in the artifact.
const FILE: &str = "warmup.npz";

/// Writes the first samples, a batch of up to `most` or of the least that the engine takes; gives
/// the file's name.
pub(super) fn keep(
    cx: &StageContext<'_>,
    inputs: &[TensorSpec],
    sizes: &BatchSizes,
    most: usize,
) -> Result<String, StageError> {
    let data = Dataset::open(&cx.input(ROLE)?.path, &IndexMap::new())?;
    let arrays = data.columns_for(inputs)?;
    let samples = data.common_samples(&arrays)?.min(sizes.nearest(most).unwrap_or(most));
    let rows = arrays.iter().map(|array| array.rows(0, samples));
    let tensors: Vec<Tensor> = rows.collect::<Result<_, _>>()?;
    let names = arrays.iter().map(Column::name);
    data::write_npz(&cx.out.join(FILE), names.zip(&tensors))?;
    Ok(FILE.to_owned())
}

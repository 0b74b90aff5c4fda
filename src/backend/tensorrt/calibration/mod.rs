//! Samples for finding INT8 ranges: [`CalibrationSource`] gives them batch by batch.
//!
//! Owns what a batch is and where batches come from. Knows nothing of how TensorRT asks for them
//! (`handle::calibrator` does) and calls neither TensorRT nor CUDA.

use crate::backend::Profile;
use crate::tensor::{DType, Dim, Shape, Tensor, TensorSpec};

mod cache;
mod dataset;
mod error;

#[cfg(test)]
pub(super) use cache::algorithm_name;
pub(super) use cache::load_cache;
pub use dataset::DatasetSource;
pub use error::CalibrationError;

/// Where calibration takes its samples from. Implement it to feed TensorRT from anything but
/// files.
pub trait CalibrationSource: Send {
    /// What every batch holds.
    fn batch(&self) -> &BatchSpec;

    /// The next batch: a tensor for each input of [`Self::batch`], in that order and of those
    /// shapes. `None` at the end.
    fn next_batch(&mut self) -> Result<Option<Vec<Tensor>>, CalibrationError>;
}

/// One input of a network in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchInput {
    /// The input's name.
    pub name: String,
    /// Its element type in the network.
    pub dtype: DType,
    /// The shape of a whole batch.
    pub shape: Shape,
}

/// What a batch holds: so many samples of every input. TensorRT takes full batches only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSpec {
    size: usize,
    inputs: Vec<BatchInput>,
}

impl BatchSpec {
    /// The batch that a network calibrates with. Open extents are those of the profile's `opt`;
    /// `size` is put in place of an open axis 0. Inputs that hold shapes are left out by the
    /// caller: their values come from the profile.
    pub fn new(
        inputs: &[TensorSpec],
        profile: Option<&Profile>,
        size: Option<usize>,
    ) -> Result<Self, CalibrationError> {
        let inputs: Vec<BatchInput> = inputs
            .iter()
            .map(|input| batch_input(input, profile, size))
            .collect::<Result<_, _>>()?;
        let Some(first) = inputs.first() else { return Err(CalibrationError::NoInputs) };
        let batch = extent(first);
        if let Some(other) = inputs.iter().find(|input| extent(input) != batch) {
            return Err(CalibrationError::DifferentBatches {
                input: first.name.clone(),
                batch,
                other: other.name.clone(),
                other_batch: extent(other),
            });
        }
        Ok(Self { size: batch, inputs })
    }

    /// Samples in a batch.
    pub fn size(&self) -> usize {
        self.size
    }

    /// What it holds, in the network's order.
    pub fn inputs(&self) -> &[BatchInput] {
        &self.inputs
    }

    /// Whether tensors are those of one batch.
    pub fn accepts(&self, tensors: &[Tensor]) -> bool {
        self.inputs.len() == tensors.len()
            && self.inputs.iter().zip(tensors).all(|(input, tensor)| {
                (input.dtype, &input.shape) == (tensor.dtype(), tensor.shape())
            })
    }
}

fn extent(input: &BatchInput) -> usize {
    input.shape.0.first().copied().unwrap_or(0)
}

fn batch_input(
    input: &TensorSpec,
    profile: Option<&Profile>,
    size: Option<usize>,
) -> Result<BatchInput, CalibrationError> {
    let opt = profile.and_then(|profile| profile.get(&input.name)).map(|range| &range.opt.0);
    let open =
        || CalibrationError::OpenShape { input: input.name.clone(), dims: input.dims_text() };
    let dims = input.dims.as_ref().ok_or_else(open)?;
    let mut extents = Vec::with_capacity(dims.len());
    for (axis, dim) in dims.iter().enumerate() {
        extents.push(match dim {
            Dim::Fixed(extent) => *extent,
            _ if axis == 0 && size.is_some() => size.unwrap_or_default(),
            _ => *opt.and_then(|opt| opt.get(axis)).ok_or_else(open)?,
        });
    }
    let (name, dtype, shape) = (input.name.clone(), input.dtype, Shape(extents));
    let taken = BatchInput { name, dtype, shape };
    match (extent(&taken), size) {
        (0, _) => Err(CalibrationError::NoSamplesAxis { input: taken }),
        (batch, Some(size)) if batch != size => {
            Err(CalibrationError::FixedBatch { input: taken.name, batch, size })
        }
        _ => Ok(taken),
    }
}

#[cfg(test)]
mod tests {
    use crate::backend::ShapeRange;

    use super::*;

    fn input(name: &str, dims: &[Dim]) -> TensorSpec {
        TensorSpec { name: name.into(), dtype: DType::Float32, dims: Some(dims.to_vec()) }
    }

    fn profile(name: &str, opt: &[usize]) -> Profile {
        let shape = |extents: &[usize]| Shape::from(extents);
        let range = ShapeRange { min: shape(opt), opt: shape(opt), max: shape(opt) };
        Profile::from([(name.to_owned(), range)])
    }

    fn refusal(inputs: &[TensorSpec], profile: Option<&Profile>, size: Option<usize>) -> String {
        let error = BatchSpec::new(inputs, profile, size).unwrap_err();
        format!("{error}\nhelp: {}", error.help().unwrap())
    }

    #[test]
    fn open_extents_are_the_profiles_and_the_batch_is_the_specs() {
        let inputs = [input("image", &[Dim::Any, Dim::Fixed(3), Dim::Any])];
        let profile = profile("image", &[16, 3, 40]);
        let of = |size| BatchSpec::new(&inputs, Some(&profile), size).unwrap();
        assert_eq!((of(None).size(), &of(None).inputs()[0].shape), (16, &vec![16, 3, 40].into()));
        let own = of(Some(5));
        assert_eq!((own.size(), &own.inputs()[0].shape), (5, &vec![5, 3, 40].into()));
        let fixed = [input("image", &[Dim::Fixed(4), Dim::Fixed(3)])];
        assert_eq!(BatchSpec::new(&fixed, None, None).unwrap().size(), 4);
    }

    #[test]
    fn shapes_that_make_no_batch_are_refused() {
        let fixed = [input("image", &[Dim::Fixed(4), Dim::Fixed(3)])];
        let open = [input("image", &[Dim::Any, Dim::Any])];
        let two = [fixed[0].clone(), input("mask", &[Dim::Fixed(1)])];
        let number = [input("scale", &[])];
        let texts = [
            refusal(&fixed, None, Some(8)),
            refusal(&open, None, Some(8)),
            refusal(&two, None, None),
            refusal(&number, None, None),
            refusal(&[], None, None),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn tensors_are_a_batch_where_names_types_and_shapes_agree() {
        let inputs = [input("image", &[Dim::Fixed(2), Dim::Fixed(3)])];
        let spec = BatchSpec::new(&inputs, None, None).unwrap();
        let tensor = |dtype, extents: &[usize]| Tensor::zeros(dtype, extents.into()).unwrap();
        assert!(spec.accepts(&[tensor(DType::Float32, &[2, 3])]));
        assert!(!spec.accepts(&[tensor(DType::Int32, &[2, 3])]));
        assert!(!spec.accepts(&[tensor(DType::Float32, &[1, 3])]));
        assert!(!spec.accepts(&[]));
    }
}

//! [`Input`]: a borrowed value of an input, and the forms in which callers have them.

use crate::runtime::InferError;
use crate::tensor::{DType, Shape, Tensor, TensorSpec};

use super::element::Element;
use super::key::unknown;

/// The value of an input, borrowed: row-major and little-endian, with a name or at its place.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) dtype: DType,
    pub(super) shape: &'a Shape,
    pub(super) bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// Values of a shape; they are as many as it has elements, which is checked when it is used.
    pub fn new<T: Element>(shape: &'a Shape, values: &'a [T]) -> Self {
        Self::from_bytes(T::DTYPE, shape, bytemuck::cast_slice(values))
    }

    /// The bytes of a tensor, of any alignment: for element types that Rust does not have.
    pub fn from_bytes(dtype: DType, shape: &'a Shape, bytes: &'a [u8]) -> Self {
        Self { name: None, dtype, shape, bytes }
    }

    /// The same for the input of this name, wherever it stands.
    #[must_use]
    pub fn named(self, name: &'a str) -> Self {
        Self { name: Some(name), ..self }
    }
}

/// What can be given as an input: an [`Input`], a [`Tensor`], or either with a name, as
/// `("image", &tensor)`.
pub trait AsInput {
    /// The value, borrowed.
    fn as_input(&self) -> Input<'_>;
}

impl AsInput for Input<'_> {
    fn as_input(&self) -> Input<'_> {
        *self
    }
}

impl AsInput for Tensor {
    fn as_input(&self) -> Input<'_> {
        Input::from_bytes(self.dtype(), self.shape(), self.bytes())
    }
}

impl<T: AsInput + ?Sized> AsInput for &T {
    fn as_input(&self) -> Input<'_> {
        (**self).as_input()
    }
}

impl<N: AsRef<str>, T: AsInput> AsInput for (N, T) {
    fn as_input(&self) -> Input<'_> {
        self.1.as_input().named(self.0.as_ref())
    }
}

/// The inputs of an inference: an array, a slice or a vector of them.
pub trait Inputs {
    /// How many there are.
    fn count(&self) -> usize;
    /// One of them.
    fn get(&self, at: usize) -> Input<'_>;
}

impl<T: AsInput> Inputs for [T] {
    fn count(&self) -> usize {
        self.len()
    }

    fn get(&self, at: usize) -> Input<'_> {
        self[at].as_input()
    }
}

impl<T: AsInput, const N: usize> Inputs for [T; N] {
    fn count(&self) -> usize {
        N
    }

    fn get(&self, at: usize) -> Input<'_> {
        self[at].as_input()
    }
}

impl<T: AsInput> Inputs for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }

    fn get(&self, at: usize) -> Input<'_> {
        self[at].as_input()
    }
}

impl<I: Inputs + ?Sized> Inputs for &I {
    fn count(&self) -> usize {
        (**self).count()
    }

    fn get(&self, at: usize) -> Input<'_> {
        (**self).get(at)
    }
}

/// Gives each input of a model its value, in the model's order; nothing is allocated.
pub(super) fn for_each(
    specs: &[TensorSpec],
    inputs: &dyn Inputs,
    mut take: impl FnMut(usize, Input<'_>) -> Result<(), InferError>,
) -> Result<(), InferError> {
    let given = || (0..inputs.count()).map(|at| (at, inputs.get(at)));
    for (index, spec) in specs.iter().enumerate() {
        let is_meant = |(at, input): &(usize, Input<'_>)| match input.name {
            Some(name) => name == spec.name,
            None => *at == index,
        };
        let mut meant = given().filter(is_meant);
        let (Some((_, input)), None) = (meant.next(), meant.next()) else {
            return Err(mismatch(specs, inputs));
        };
        check_type(spec, &input)?;
        take(index, input)?;
    }
    // As many as the model has, each of which is there once, are all of them.
    if inputs.count() == specs.len() { Ok(()) } else { Err(mismatch(specs, inputs)) }
}

pub(super) fn check_type(spec: &TensorSpec, input: &Input<'_>) -> Result<(), InferError> {
    if input.dtype == spec.dtype {
        return Ok(());
    }
    let reason = format!("it is {}, the model takes {}", input.dtype, spec.dtype);
    Err(InferError::Input { input: spec.name.clone(), reason })
}

/// Why these are not the inputs of the model.
fn mismatch(specs: &[TensorSpec], inputs: &dyn Inputs) -> InferError {
    let mut names = (0..inputs.count()).filter_map(|at| inputs.get(at).name);
    if let Some(name) = names.find(|name| specs.iter().all(|spec| spec.name != *name)) {
        return unknown("input", specs, name);
    }
    let names: Vec<_> = specs.iter().map(|spec| format!("`{}`", spec.name)).collect();
    let reason = format!(
        "{} inputs are given, the model takes each of {}: {}",
        inputs.count(),
        names.len(),
        names.join(", ")
    );
    InferError::Request { reason }
}

//! [`TensorKey`]: which input or output is meant, by its place or by its name.

use std::fmt::Display;

use crate::runtime::InferError;
use crate::suggest;
use crate::tensor::TensorSpec;

/// Names a tensor of a model: its place among the inputs or outputs, or its name.
pub trait TensorKey: Display + Copy {
    /// Whether this is the tensor at that place.
    fn is(&self, at: usize, spec: &TensorSpec) -> bool;
}

impl TensorKey for usize {
    fn is(&self, at: usize, _: &TensorSpec) -> bool {
        *self == at
    }
}

impl TensorKey for &str {
    fn is(&self, _: usize, spec: &TensorSpec) -> bool {
        **self == spec.name
    }
}

/// The place of a tensor among others of its `role`.
pub(super) fn find(
    role: &str,
    specs: &[TensorSpec],
    key: impl TensorKey,
) -> Result<usize, InferError> {
    let found = specs.iter().enumerate().position(|(at, spec)| key.is(at, spec));
    found.ok_or_else(|| unknown(role, specs, &key.to_string()))
}

/// There is no such input or output.
pub(super) fn unknown(role: &str, specs: &[TensorSpec], key: &str) -> InferError {
    let names = specs.iter().map(|spec| spec.name.as_str());
    let hint = suggest::did_you_mean(key, names, &format!("{role}s of the model"));
    let reason = format!("there is no {role} `{key}`; {hint}");
    InferError::Request { reason }
}

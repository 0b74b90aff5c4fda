//! Element types, shapes and tensors: the words that models, data files and backends share.
//!
//! Owns the in-memory layout (dense, row-major, little-endian, 256-byte aligned). Knows nothing
//! of ONNX, files or devices.

use std::fmt;

use serde::{Deserialize, Serialize};

mod dtype;
mod float8;

pub use dtype::{DType, UnknownDType, to_f64};
pub use float8::Float8;

/// The extents of a concrete tensor; empty for a scalar.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(pub Vec<usize>);

impl Shape {
    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements, or `None` where it does not fit in memory's address space.
    pub fn checked_elements(&self) -> Option<usize> {
        self.0.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent))
    }

    /// Bytes of a dense tensor of this shape, or `None` on overflow.
    pub fn checked_bytes(&self, dtype: DType) -> Option<usize> {
        self.checked_elements()?.checked_mul(dtype.size())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(extents: Vec<usize>) -> Self {
        Self(extents)
    }
}

impl<const RANK: usize> From<[usize; RANK]> for Shape {
    fn from(extents: [usize; RANK]) -> Self {
        Self(extents.into())
    }
}

impl From<&[usize]> for Shape {
    fn from(extents: &[usize]) -> Self {
        Self(extents.to_vec())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (axis, extent) in self.0.iter().enumerate() {
            if axis > 0 {
                f.write_str(",")?;
            }
            write!(f, "{extent}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One axis of a model's tensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Dim {
    /// A known extent.
    Fixed(usize),
    /// A named extent, equal wherever the name appears.
    Symbol(String),
    /// Anything.
    Any,
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(extent) => write!(f, "{extent}"),
            Self::Symbol(name) => f.write_str(name),
            Self::Any => f.write_str("?"),
        }
    }
}

/// What a model says about one of its inputs or outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// The tensor's name in the model.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its axes; `None` where the model does not even fix the rank.
    pub dims: Option<Vec<Dim>>,
}

impl TensorSpec {
    /// Whether a concrete shape is one of those this tensor may have.
    pub fn accepts(&self, shape: &Shape) -> bool {
        self.dims.as_ref().is_none_or(|dims| {
            dims.len() == shape.rank()
                && dims.iter().zip(&shape.0).all(|(dim, &extent)| match dim {
                    Dim::Fixed(fixed) => *fixed == extent,
                    Dim::Symbol(_) | Dim::Any => true,
                })
        })
    }

    /// The axes as people write them: `[batch,1,8,8]`, or `[..]` for an unknown rank.
    pub fn dims_text(&self) -> String {
        self.dims.as_ref().map_or_else(
            || "[..]".to_owned(),
            |dims| {
                let axes: Vec<String> = dims.iter().map(ToString::to_string).collect();
                format!("[{}]", axes.join(","))
            },
        )
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.dtype, self.dims_text())
    }
}

/// The alignment of every tensor's first byte; what TensorRT asks of device buffers.
pub const ALIGNMENT: usize = 256;

/// Bytes whose first one stands at a multiple of [`ALIGNMENT`].
pub struct AlignedBytes {
    storage: Vec<u8>,
    offset: usize,
    len: usize,
}

impl AlignedBytes {
    /// Whether the system gives so many bytes. Where it does not, asking for them ends the process.
    fn can_have(len: usize) -> bool {
        const FEW: usize = 1 << 30;
        let Some(all) = len.checked_add(ALIGNMENT) else { return false };
        all <= FEW || Vec::<u8>::new().try_reserve_exact(all).is_ok()
    }

    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        let storage = vec![0; len.saturating_add(ALIGNMENT)];
        let offset = storage.as_ptr().align_offset(ALIGNMENT);
        Self { storage, offset, len }
    }

    /// A copy of `bytes`.
    pub fn copied(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len());
        copy.as_mut_slice().copy_from_slice(bytes);
        copy
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.storage[self.offset..self.offset + self.len]
    }

    /// The bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.storage[self.offset..self.offset + self.len]
    }
}

impl Clone for AlignedBytes {
    fn clone(&self) -> Self {
        Self::copied(self.as_slice())
    }
}

impl fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBytes({} bytes)", self.len)
    }
}

/// Why bytes and a shape do not make a tensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The shape's size overflows.
    #[error("a {dtype} tensor of shape {shape} does not fit in memory")]
    TooLarge {
        /// Element type.
        dtype: DType,
        /// The shape asked for.
        shape: Shape,
    },
    /// The byte count is not the shape's.
    #[error("a {dtype} tensor of shape {shape} has {expected} bytes, found {found}")]
    WrongLength {
        /// Element type.
        dtype: DType,
        /// The shape asked for.
        shape: Shape,
        /// What the shape needs.
        expected: usize,
        /// What was given.
        found: usize,
    },
}

/// A dense tensor in host memory.
#[derive(Debug, Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Shape,
    bytes: AlignedBytes,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(dtype: DType, shape: Shape) -> Result<Self, TensorError> {
        match shape.checked_bytes(dtype).filter(|&bytes| AlignedBytes::can_have(bytes)) {
            Some(bytes) => Ok(Self { dtype, shape, bytes: AlignedBytes::zeroed(bytes) }),
            None => Err(TensorError::TooLarge { dtype, shape }),
        }
    }

    /// Copies little-endian, row-major bytes.
    pub fn from_bytes(dtype: DType, shape: Shape, bytes: &[u8]) -> Result<Self, TensorError> {
        let expected = shape
            .checked_bytes(dtype)
            .ok_or_else(|| TensorError::TooLarge { dtype, shape: shape.clone() })?;
        if expected != bytes.len() {
            return Err(TensorError::WrongLength { dtype, shape, expected, found: bytes.len() });
        }
        Ok(Self { dtype, shape, bytes: AlignedBytes::copied(bytes) })
    }

    /// Copies float32 values.
    pub fn from_f32(shape: Shape, values: &[f32]) -> Result<Self, TensorError> {
        Self::from_bytes(DType::Float32, shape, bytemuck::cast_slice(values))
    }

    /// Copies int64 values.
    pub fn from_i64(shape: Shape, values: &[i64]) -> Result<Self, TensorError> {
        Self::from_bytes(DType::Int64, shape, bytemuck::cast_slice(values))
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.bytes.len / self.dtype.size()
    }

    /// The bytes: little-endian, row-major, aligned to [`ALIGNMENT`].
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// The bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut_slice()
    }

    /// The elements as `T`, where `T` is exactly as wide as the element type.
    pub fn as_slice<T: bytemuck::AnyBitPattern>(&self) -> Option<&[T]> {
        (size_of::<T>() == self.dtype.size())
            .then(|| bytemuck::try_cast_slice(self.bytes()).ok())
            .flatten()
    }

    /// Every element as a float64; 64-bit integers past 2^53 round.
    pub fn to_f64(&self) -> Vec<f64> {
        to_f64(self.dtype, self.bytes())
    }

    /// The rows `start..end` of axis 0 as a tensor of their own; clamped to what there is.
    #[must_use]
    pub fn rows(&self, start: usize, end: usize) -> Self {
        let total = self.shape.0.first().copied().unwrap_or(1);
        let end = end.min(total);
        let start = start.min(end);
        let row = self.bytes.len.checked_div(total).unwrap_or(0);
        let mut shape = self.shape.clone();
        if let Some(first) = shape.0.first_mut() {
            *first = end - start;
        }
        let bytes = AlignedBytes::copied(&self.bytes()[start * row..end * row]);
        Self { dtype: self.dtype, shape, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_that_the_system_has_no_memory_for_is_refused() {
        for extent in [1 << 50, usize::MAX / 4, usize::MAX] {
            let refused = Tensor::zeros(DType::Float32, vec![extent].into());
            assert!(matches!(refused, Err(TensorError::TooLarge { .. })), "{extent}");
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these values are exact")]
    fn tensors_are_aligned_and_check_their_length() {
        let tensor = Tensor::from_f32(vec![2, 3].into(), &[0., 1., 2., 3., 4., 5.]).unwrap();
        assert_eq!(tensor.bytes().as_ptr().align_offset(ALIGNMENT), 0);
        assert_eq!(tensor.as_slice::<f32>().unwrap()[4], 4.0);
        assert_eq!(tensor.rows(1, 9).to_f64(), [3., 4., 5.]);
        assert!(Tensor::from_f32(vec![4].into(), &[0.; 3]).is_err());
        assert!(Tensor::zeros(DType::Int8, vec![usize::MAX, 2].into()).is_err());
    }
}

//! [`Column`]: the samples of one input of a model.

use half::{bf16, f16};

use crate::tensor::{DType, Shape, Tensor};

use super::{Array, DataError};

/// An array, in the element type of the input that it feeds.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    array: &'a Array,
    dtype: DType,
}

impl<'a> Column<'a> {
    /// An array as an input's samples; `None` where its elements are not the input's. Between
    /// float32 and the 16-bit floats they are converted, to the nearest value and to even of two:
    /// what a model is fed when its inputs are lowered or raised.
    pub(super) fn new(array: &'a Array, dtype: DType) -> Option<Self> {
        let is_lowered = |dtype| matches!(dtype, DType::Float16 | DType::BFloat16);
        let is_same = array.dtype() == dtype;
        let is_converted = (array.dtype() == DType::Float32 && is_lowered(dtype))
            || (is_lowered(array.dtype()) && dtype == DType::Float32);
        (is_same || is_converted).then_some(Self { array, dtype })
    }

    /// The array's name.
    pub fn name(&self) -> &'a str {
        self.array.name()
    }

    /// Element type of the samples.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents, the number of samples first.
    pub fn shape(&self) -> &'a Shape {
        self.array.shape()
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.array.samples()
    }

    /// The samples `start..end`, clamped to what there is, as little-endian elements.
    pub fn rows(&self, start: usize, end: usize) -> Result<Tensor, DataError> {
        let rows = self.array.rows(start, end)?;
        if rows.dtype() == self.dtype {
            return Ok(rows);
        }
        let mut converted = Tensor::zeros(self.dtype, rows.shape().clone())?;
        let (from, to) = (rows.bytes(), converted.bytes_mut());
        match (rows.dtype(), self.dtype) {
            (DType::Float16, _) => widen(from, to, |bits| f16::from_bits(bits).to_f32()),
            (DType::BFloat16, _) => widen(from, to, |bits| bf16::from_bits(bits).to_f32()),
            (_, DType::Float16) => narrow(from, to, |value| f16::from_f32(value).to_bits()),
            _ => narrow(from, to, |value| bf16::from_f32(value).to_bits()),
        }
        Ok(converted)
    }
}

impl<'a> From<&'a Array> for Column<'a> {
    /// The samples as they are.
    fn from(array: &'a Array) -> Self {
        Self { array, dtype: array.dtype() }
    }
}

fn widen(from: &[u8], to: &mut [u8], to_f32: impl Fn(u16) -> f32) {
    for (from, to) in from.as_chunks::<2>().0.iter().zip(to.as_chunks_mut::<4>().0) {
        *to = to_f32(u16::from_le_bytes(*from)).to_le_bytes();
    }
}

fn narrow(from: &[u8], to: &mut [u8], to_bits: impl Fn(f32) -> u16) {
    for (from, to) in from.as_chunks::<4>().0.iter().zip(to.as_chunks_mut::<2>().0) {
        *to = to_bits(f32::from_le_bytes(*from)).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, write_npz};
    use crate::tensor::TensorSpec;

    fn values(of: &Tensor) -> Vec<f64> {
        of.to_f64()
    }

    #[test]
    fn samples_are_rounded_to_the_floats_of_the_input_and_nothing_else_is_converted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.npz");
        let given = [1.0_f32, 1.0 / 3.0, 70_000.0, -1e-9];
        write_npz(&path, [("x", &Tensor::from_f32(Shape(vec![4]), &given).unwrap())]).unwrap();
        let data = Dataset::open(&path, &indexmap::IndexMap::new()).unwrap();
        let column = |dtype| {
            let spec = TensorSpec { name: "x".into(), dtype, dims: None };
            data.column_for(&spec).map(|column| column.rows(0, 4).unwrap())
        };
        assert_eq!(values(&column(DType::Float32).unwrap()), given.map(f64::from));
        let third = f64::from(f16::from_f32(1.0 / 3.0).to_f32());
        let half = column(DType::Float16).unwrap();
        assert_eq!(values(&half), [1.0, third, f64::INFINITY, -0.0]);
        let third = f64::from(bf16::from_f32(1.0 / 3.0).to_f32());
        assert_eq!(values(&column(DType::BFloat16).unwrap())[..2], [1.0, third]);
        for refused in [DType::Float64, DType::Int32, DType::Float8E4M3] {
            assert!(matches!(column(refused), Err(DataError::WrongDType { .. })), "{refused}");
        }

        let raised = folder.path().join("h.npz");
        write_npz(&raised, [("x", &half)]).unwrap();
        let data = Dataset::open(&raised, &indexmap::IndexMap::new()).unwrap();
        let spec = TensorSpec { name: "x".into(), dtype: DType::Float32, dims: None };
        let rows = data.column_for(&spec).unwrap().rows(1, 2).unwrap();
        assert_eq!((rows.dtype(), values(&rows)), (DType::Float32, values(&half)[1..2].to_vec()));
    }
}

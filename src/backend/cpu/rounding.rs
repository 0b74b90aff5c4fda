//! The two operators of quantization, element by element, exactly as ONNX defines them:
//! `saturate(round_half_to_even(x / scale) + zero_point)` and `(q - zero_point) * scale`.

use tract_onnx::prelude::{DatumType, Tensor, TractResult};
use tract_onnx::tract_core::ops::element_wise::ElementWiseMiniOp;

use crate::onnx::proto::tensor_proto::DataType;
use crate::tensor::Float8;

/// The values a quantized type can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grid {
    /// Integers from `low` to `high`, stored as `stored`; 4-bit types stay float32, because
    /// tract has no such type.
    Integers { low: i32, high: i32, stored: DatumType },
    /// FP8, as float32.
    Float8(Float8),
}

impl Grid {
    /// The grid of an ONNX element type.
    pub(super) fn of(number: i32) -> Option<Self> {
        let integers = |low, high, stored| Some(Self::Integers { low, high, stored });
        match DataType::try_from(number).ok()? {
            DataType::Uint8 => integers(0, 255, DatumType::U8),
            DataType::Int8 => integers(-128, 127, DatumType::I8),
            DataType::Uint16 => integers(0, 65_535, DatumType::U16),
            DataType::Int16 => integers(-32_768, 32_767, DatumType::I16),
            DataType::Uint4 => integers(0, 15, DatumType::F32),
            DataType::Int4 => integers(-8, 7, DatumType::F32),
            DataType::Float8e4m3fn => Some(Self::Float8(Float8::E4M3)),
            DataType::Float8e5m2 => Some(Self::Float8(Float8::E5M2)),
            _ => None,
        }
    }

    fn stored(self) -> DatumType {
        match self {
            Self::Integers { stored, .. } => stored,
            Self::Float8(_) => DatumType::F32,
        }
    }
}

/// Quantizes float32 to a grid. Scales are kept as bits so that operators can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quantize {
    pub(super) scale: u32,
    pub(super) zero_point: i32,
    pub(super) grid: Grid,
}

/// Dequantizes any numeric type to float32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dequantize {
    pub(super) scale: u32,
    pub(super) zero_point: i32,
}

#[expect(clippy::cast_precision_loss, reason = "grids of at most 16 bits are exact in float32")]
impl ElementWiseMiniOp for Quantize {
    fn name(&self) -> String {
        "Quantize".to_owned()
    }

    fn operating_datum_type(&self, _dt: DatumType) -> DatumType {
        DatumType::F32
    }

    fn output_type(&self, _input: DatumType) -> Option<DatumType> {
        Some(self.grid.stored())
    }

    fn eval_out_of_place(&self, t: &Tensor, _out: Option<DatumType>) -> TractResult<Tensor> {
        let x = t.try_as_plain_ram()?;
        let x = x.as_slice::<f32>()?;
        let mut y = Tensor::zero_dt(self.grid.stored(), t.shape())?;
        let scale = f32::from_bits(self.scale);
        match self.grid {
            Grid::Float8(format) => {
                let mut view = y.try_as_plain_ram_mut()?;
                for (y, x) in view.as_slice_mut::<f32>()?.iter_mut().zip(x) {
                    *y = format.nearest(x / scale);
                }
            }
            Grid::Integers { low, high, stored } => {
                let (low, high, zero) = (low as f32, high as f32, self.zero_point as f32);
                let values =
                    x.iter().map(|x| ((x / scale).round_ties_even() + zero).clamp(low, high));
                macro_rules! store {
                    ($ty:ty) => {{
                        let mut view = y.try_as_plain_ram_mut()?;
                        for (y, value) in view.as_slice_mut::<$ty>()?.iter_mut().zip(values) {
                            *y = value as $ty;
                        }
                    }};
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "clamped to the type's range"
                )]
                match stored {
                    DatumType::U8 => store!(u8),
                    DatumType::I8 => store!(i8),
                    DatumType::U16 => store!(u16),
                    DatumType::I16 => store!(i16),
                    _ => store!(f32),
                }
            }
        }
        Ok(y)
    }
}

#[expect(clippy::cast_precision_loss, reason = "differences past 2^24 round, as in ONNX")]
impl ElementWiseMiniOp for Dequantize {
    fn name(&self) -> String {
        "Dequantize".to_owned()
    }

    fn output_type(&self, _input: DatumType) -> Option<DatumType> {
        Some(DatumType::F32)
    }

    fn eval_out_of_place(&self, t: &Tensor, _out: Option<DatumType>) -> TractResult<Tensor> {
        let q = t.try_as_plain_ram()?;
        let mut y = Tensor::zero_dt(DatumType::F32, t.shape())?;
        let scale = f32::from_bits(self.scale);
        let zero = self.zero_point;
        macro_rules! fill {
            ($ty:ty, $difference:expr) => {{
                let mut view = y.try_as_plain_ram_mut()?;
                let difference = $difference;
                for (y, &q) in view.as_slice_mut::<f32>()?.iter_mut().zip(q.as_slice::<$ty>()?) {
                    *y = difference(q) * scale;
                }
            }};
        }
        match t.datum_type().unquantized() {
            DatumType::U8 => fill!(u8, |q| (i32::from(q) - zero) as f32),
            DatumType::I8 => fill!(i8, |q| (i32::from(q) - zero) as f32),
            DatumType::U16 => fill!(u16, |q| (i32::from(q) - zero) as f32),
            DatumType::I16 => fill!(i16, |q| (i32::from(q) - zero) as f32),
            DatumType::I32 => fill!(i32, |q: i32| (i64::from(q) - i64::from(zero)) as f32),
            _ => fill!(f32, |q: f32| q - zero as f32),
        }
        Ok(y)
    }
}

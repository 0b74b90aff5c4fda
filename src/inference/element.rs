//! [`Element`]: the Rust types that elements of tensors are read and written as.

use bytemuck::Pod;
use half::{bf16, f16};

use crate::tensor::DType;

/// A Rust type of the same bytes as an element type.
pub trait Element: Pod {
    /// That element type.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($type:ty = $dtype:ident),*) => {
        $(impl Element for $type {
            const DTYPE: DType = DType::$dtype;
        })*
    };
}

elements! {
    f64 = Float64, f32 = Float32, f16 = Float16, bf16 = BFloat16, i64 = Int64, i32 = Int32,
    i16 = Int16, i8 = Int8, u64 = UInt64, u32 = UInt32, u16 = UInt16, u8 = UInt8
}

/// Values were asked for as another type than they have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tensor `{name}` is {has}, not {asked}")]
pub struct WrongType {
    /// The tensor.
    pub name: String,
    /// Its element type.
    pub has: DType,
    /// The one asked for.
    pub asked: DType,
}

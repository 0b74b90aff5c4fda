//! Typed contents of tensors as bytes.

use std::fmt::Display;

use bytemuck::NoUninit;
use bytes::Bytes;

use crate::kserve::InferTensorContents;
use crate::server::protocol::{ProtocolError, datatype};
use crate::tensor::DType;

/// The bytes of an input whose elements came as numbers.
pub(super) fn bytes(
    name: &str,
    dtype: DType,
    contents: InferTensorContents,
) -> Result<Bytes, ProtocolError> {
    let field = field(dtype).ok_or_else(|| {
        let reason = format!(
            "there are no typed contents for {}; send its bytes in `raw_input_contents`",
            datatype(dtype)
        );
        ProtocolError::input(name, reason)
    })?;
    if let Some(other) = filled(&contents).into_iter().flatten().find(|&other| other != field) {
        let reason = format!(
            "it has elements in `{other}`, those of {} belong in `{field}`",
            datatype(dtype)
        );
        return Err(ProtocolError::input(name, reason));
    }
    let bytes = match dtype {
        DType::Bool => elements(contents.bool_contents),
        DType::Int8 => elements(narrow::<_, i8>(name, dtype, &contents.int_contents)?),
        DType::Int16 => elements(narrow::<_, i16>(name, dtype, &contents.int_contents)?),
        DType::Int32 => elements(contents.int_contents),
        DType::Int64 => elements(contents.int64_contents),
        DType::UInt8 => elements(narrow::<_, u8>(name, dtype, &contents.uint_contents)?),
        DType::UInt16 => elements(narrow::<_, u16>(name, dtype, &contents.uint_contents)?),
        DType::UInt32 => elements(contents.uint_contents),
        DType::UInt64 => elements(contents.uint64_contents),
        DType::Float32 => elements(contents.fp32_contents),
        DType::Float64 => elements(contents.fp64_contents),
        DType::Float16 | DType::BFloat16 | DType::Float8E4M3 | DType::Float8E5M2 => Bytes::new(),
    };
    Ok(bytes)
}

/// Whether there are no elements of any type.
pub(super) fn is_empty(contents: &InferTensorContents) -> bool {
    filled(contents).iter().all(Option::is_none)
}

/// The field for elements of a type, if there is one.
fn field(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::Bool => Some("bool_contents"),
        DType::Int8 | DType::Int16 | DType::Int32 => Some("int_contents"),
        DType::Int64 => Some("int64_contents"),
        DType::UInt8 | DType::UInt16 | DType::UInt32 => Some("uint_contents"),
        DType::UInt64 => Some("uint64_contents"),
        DType::Float32 => Some("fp32_contents"),
        DType::Float64 => Some("fp64_contents"),
        DType::Float16 | DType::BFloat16 | DType::Float8E4M3 | DType::Float8E5M2 => None,
    }
}

/// The fields with elements.
fn filled(contents: &InferTensorContents) -> [Option<&'static str>; 8] {
    [
        ("bool_contents", contents.bool_contents.is_empty()),
        ("int_contents", contents.int_contents.is_empty()),
        ("int64_contents", contents.int64_contents.is_empty()),
        ("uint_contents", contents.uint_contents.is_empty()),
        ("uint64_contents", contents.uint64_contents.is_empty()),
        ("fp32_contents", contents.fp32_contents.is_empty()),
        ("fp64_contents", contents.fp64_contents.is_empty()),
        ("bytes_contents", contents.bytes_contents.is_empty()),
    ]
    .map(|(field, empty)| (!empty).then_some(field))
}

/// Numbers as narrower ones.
fn narrow<F, T>(name: &str, dtype: DType, values: &[F]) -> Result<Vec<T>, ProtocolError>
where
    F: Copy + Display,
    T: TryFrom<F>,
{
    let narrowed = |(index, &value)| {
        T::try_from(value).map_err(|_| {
            let reason = format!("element {index} is {value}, which is no {}", datatype(dtype));
            ProtocolError::input(name, reason)
        })
    };
    values.iter().enumerate().map(narrowed).collect()
}

/// Numbers where they are, as bytes.
fn elements<T: NoUninit + Send + 'static>(values: Vec<T>) -> Bytes {
    struct Elements<T>(Vec<T>);
    impl<T: NoUninit> AsRef<[u8]> for Elements<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    Bytes::from_owner(Elements(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dtype: DType, contents: InferTensorContents) -> Result<Bytes, String> {
        bytes("x", dtype, contents).map_err(|error| error.to_string())
    }

    #[test]
    fn elements_of_every_type_become_their_bytes() {
        let contents = InferTensorContents::default;
        let bools = InferTensorContents { bool_contents: vec![true, false], ..contents() };
        assert_eq!(read(DType::Bool, bools).unwrap()[..], [1, 0]);
        let ints = InferTensorContents { int_contents: vec![-2, 127], ..contents() };
        assert_eq!(read(DType::Int8, ints.clone()).unwrap()[..], [0xfe, 0x7f]);
        assert_eq!(read(DType::Int16, ints.clone()).unwrap()[..], [0xfe, 0xff, 0x7f, 0]);
        assert_eq!(read(DType::Int32, ints).unwrap()[..4], (-2_i32).to_le_bytes());
        let uints = InferTensorContents { uint_contents: vec![200, 1], ..contents() };
        assert_eq!(read(DType::UInt8, uints.clone()).unwrap()[..], [200, 1]);
        assert_eq!(read(DType::UInt16, uints.clone()).unwrap()[..], [200, 0, 1, 0]);
        assert_eq!(read(DType::UInt32, uints).unwrap()[..5], [200, 0, 0, 0, 1]);
        let int64 = InferTensorContents { int64_contents: vec![i64::MIN], ..contents() };
        assert_eq!(read(DType::Int64, int64).unwrap()[..], i64::MIN.to_le_bytes());
        let uint64 = InferTensorContents { uint64_contents: vec![u64::MAX], ..contents() };
        assert_eq!(read(DType::UInt64, uint64).unwrap()[..], [0xff; 8]);
        let fp32 = InferTensorContents { fp32_contents: vec![1.5, f32::INFINITY], ..contents() };
        assert_eq!(read(DType::Float32, fp32).unwrap()[4..], f32::INFINITY.to_le_bytes());
        let fp64 = InferTensorContents { fp64_contents: vec![-1.5], ..contents() };
        assert_eq!(read(DType::Float64, fp64).unwrap()[..], (-1.5_f64).to_le_bytes());
    }

    #[test]
    fn elements_that_do_not_fit_their_type_are_refused() {
        let contents = InferTensorContents { int_contents: vec![0, 128], ..Default::default() };
        assert_eq!(
            read(DType::Int8, contents).unwrap_err(),
            "input `x`: element 1 is 128, which is no INT8"
        );
        let contents = InferTensorContents { uint_contents: vec![65_536], ..Default::default() };
        assert!(read(DType::UInt16, contents).unwrap_err().contains("65536"));
    }

    #[test]
    fn elements_in_the_field_of_another_type_are_refused() {
        let contents = InferTensorContents { fp64_contents: vec![1.0], ..Default::default() };
        assert_eq!(
            read(DType::Float32, contents).unwrap_err(),
            "input `x`: it has elements in `fp64_contents`, those of FP32 belong in `fp32_contents`"
        );
        let contents =
            InferTensorContents { bytes_contents: vec![b"text".to_vec()], ..Default::default() };
        assert!(read(DType::UInt8, contents).unwrap_err().contains("`bytes_contents`"));
    }

    #[test]
    fn halves_come_raw_only() {
        for dtype in [DType::Float16, DType::BFloat16, DType::Float8E4M3, DType::Float8E5M2] {
            let contents = InferTensorContents { fp32_contents: vec![1.0], ..Default::default() };
            assert!(read(dtype, contents).unwrap_err().contains("`raw_input_contents`"));
        }
    }
}

//! Tensor elements as JSON numbers: text to bytes and back, without a value in between.

use std::str::FromStr;

use serde::Serialize;

use crate::server::protocol::{clipped, datatype};
use crate::tensor::DType;

/// Reads the numbers of a JSON array, nested in any way, as so many elements of a type. The text
/// is valid JSON; each number is rounded to the type once.
pub(super) fn read(text: &str, dtype: DType, elements: usize) -> Result<Vec<u8>, String> {
    macro_rules! read {
        ($type:ty, $fits:expr) => {
            read_as::<$type, { size_of::<$type>() }>(text, elements, <$type>::to_le_bytes, $fits)
        };
    }
    if !text.starts_with('[') {
        return Err("its `data` is no array".into());
    }
    let values = match dtype {
        DType::Float64 => read!(f64, f64::is_finite),
        DType::Float32 => read!(f32, f32::is_finite),
        DType::Int64 => read!(i64, |_| true),
        DType::Int32 => read!(i32, |_| true),
        DType::Int16 => read!(i16, |_| true),
        DType::Int8 => read!(i8, |_| true),
        DType::UInt64 => read!(u64, |_| true),
        DType::UInt32 => read!(u32, |_| true),
        DType::UInt16 => read!(u16, |_| true),
        DType::UInt8 => read!(u8, |_| true),
        DType::Bool => read_as::<bool, 1>(text, elements, |value| [u8::from(value)], |_| true),
        DType::Float16 | DType::BFloat16 | DType::Float8E4M3 | DType::Float8E5M2 => {
            return Err(format!(
                "JSON has no {}; send its bytes behind the JSON with `binary_data_size`",
                datatype(dtype)
            ));
        }
    };
    values.map_err(|wrong| match wrong {
        Wrong::Count(found) => {
            format!("its `data` has {found} elements, its shape has {elements}")
        }
        Wrong::Element { at, text } => {
            format!("element {at} of its `data` is `{text}`, which is no {}", datatype(dtype))
        }
    })
}

enum Wrong {
    /// So many elements, or at least so many.
    Count(String),
    Element {
        at: usize,
        text: String,
    },
}

fn read_as<T: FromStr + Copy, const SIZE: usize>(
    text: &str,
    elements: usize,
    bytes_of: fn(T) -> [u8; SIZE],
    fits: fn(T) -> bool,
) -> Result<Vec<u8>, Wrong> {
    // Each element takes at least a digit and what comes behind it: what the shape promises is
    // not believed before the text is long enough.
    let mut bytes = Vec::with_capacity(elements.min(text.len() / 2) * SIZE);
    let between = |byte: u8| matches!(byte, b'[' | b']' | b',' | b' ' | b'\n' | b'\r' | b'\t');
    let mut rest = text.as_bytes();
    let mut count = 0_usize;
    while let Some(start) = rest.iter().position(|&byte| !between(byte)) {
        rest = &rest[start..];
        let end = rest.iter().position(|&byte| between(byte)).unwrap_or(rest.len());
        let (token, behind) = rest.split_at(end);
        rest = behind;
        if count == elements {
            return Err(Wrong::Count(format!("more than {elements}")));
        }
        let token = str::from_utf8(token).unwrap_or("text");
        match token.parse::<T>() {
            Ok(value) if fits(value) => bytes.extend_from_slice(&bytes_of(value)),
            _ => return Err(Wrong::Element { at: count, text: clipped(token) }),
        }
        count += 1;
    }
    if count < elements {
        return Err(Wrong::Count(count.to_string()));
    }
    Ok(bytes)
}

/// Writes elements as a flat JSON array.
pub(super) fn write(out: &mut Vec<u8>, dtype: DType, bytes: &[u8]) -> Result<(), String> {
    macro_rules! write {
        ($type:ty, $fits:expr) => {{
            let (chunks, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
            write_all(out, chunks.iter().map(|chunk| <$type>::from_le_bytes(*chunk)), $fits)
        }};
    }
    match dtype {
        DType::Float64 => write!(f64, f64::is_finite),
        DType::Float32 => write!(f32, f32::is_finite),
        DType::Int64 => write!(i64, |_| true),
        DType::Int32 => write!(i32, |_| true),
        DType::Int16 => write!(i16, |_| true),
        DType::Int8 => write!(i8, |_| true),
        DType::UInt64 => write!(u64, |_| true),
        DType::UInt32 => write!(u32, |_| true),
        DType::UInt16 => write!(u16, |_| true),
        DType::UInt8 => write!(u8, |_| true),
        DType::Bool => write_all(out, bytes.iter().map(|&byte| byte != 0), |_| true),
        DType::Float16 | DType::BFloat16 | DType::Float8E4M3 | DType::Float8E5M2 => {
            Err(format!("JSON has no {}; ask for it with `binary_data`", datatype(dtype)))
        }
    }
}

fn write_all<T: Serialize + Copy>(
    out: &mut Vec<u8>,
    values: impl ExactSizeIterator<Item = T>,
    fits: fn(T) -> bool,
) -> Result<(), String> {
    out.reserve(2 + values.len() * (size_of::<T>() + 4));
    out.push(b'[');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if !fits(value) {
            return Err(format!(
                "element {index} is not finite, which JSON cannot say; ask for it with \
                 `binary_data`"
            ));
        }
        serde_json::to_writer(&mut *out, &value).map_err(|error| error.to_string())?;
    }
    out.push(b']');
    Ok(())
}

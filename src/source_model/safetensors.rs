//! Safetensors files: a JSON header that lists the tensors, and their bytes.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{NamedTensor, Tensors};

/// The format's own limit of a header.
const LONGEST_HEADER: u64 = 100_000_000;
/// Tensors that are listed; the others are counted.
const MOST_LISTED: usize = 4096;

/// What is wrong with a header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("its header would be {0} bytes long, which is more than the format allows")]
    TooLong(u64),
    #[error("its header would be {needed} bytes long, and only {found} follow")]
    Truncated { needed: u64, found: u64 },
    #[error("its header is no list of tensors: {0}")]
    Json(#[from] serde_json::Error),
    #[error("its tensors end at byte {needed}, and the file has {found}")]
    DataTruncated { needed: u64, found: u64 },
    #[error("its header lists no tensors")]
    NoTensors,
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

#[derive(Default)]
struct Header {
    tensors: Tensors,
    end: u64,
}

impl Header {
    fn add(&mut self, name: String, tensor: Tensor) -> Result<(), &'static str> {
        let (start, end) = tensor.data_offsets;
        let bytes = end.checked_sub(start).ok_or("a tensor ends before it starts")?;
        self.end = self.end.max(end);
        let all = &mut self.tensors;
        all.count += 1;
        all.bytes = all.bytes.saturating_add(bytes);
        let elements = tensor.shape.iter().fold(1_u64, |all, &extent| all.saturating_mul(extent));
        all.elements = all.elements.saturating_add(elements);
        if all.dtypes.len() < 64 || all.dtypes.contains_key(&tensor.dtype) {
            *all.dtypes.entry(tensor.dtype.clone()).or_default() += 1;
        }
        if all.listed.len() < MOST_LISTED {
            let shape = Some(tensor.shape.into_iter().map(Some).collect());
            all.listed.push(NamedTensor { name, dtype: tensor.dtype, shape });
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        header.add(name, map.next_value()?).map_err(serde::de::Error::custom)?;
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The tensors that a file lists.
pub(super) fn read(mut file: File) -> Result<Tensors, HeaderError> {
    let size = file.metadata()?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER {
        return Err(HeaderError::TooLong(length));
    }
    let data = 8 + length;
    if data > size {
        return Err(HeaderError::Truncated { needed: length, found: size.saturating_sub(8) });
    }
    let header: Header = serde_json::from_reader(BufReader::new(file.take(length)))?;
    let needed = data.saturating_add(header.end);
    if needed > size {
        return Err(HeaderError::DataTruncated { needed, found: size });
    }
    let mut tensors = header.tensors;
    if tensors.count == 0 {
        return Err(HeaderError::NoTensors);
    }
    tensors.listed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

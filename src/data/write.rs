//! Writes `.npz` files, as NumPy's `savez` does.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use npyz::npz::{NpzWriter, file_name_from_array_name};

use crate::tensor::{DType, Shape, Tensor};

use super::{DataError, npy};

/// Writes tensors as the arrays of an `.npz` file. NumPy has no bfloat16 and no float8: those are
/// written as float32, which holds their values exactly.
pub fn write_npz<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<(), DataError> {
    let write = || -> io::Result<()> {
        let mut archive = NpzWriter::new(BufWriter::new(File::create(path)?));
        let zip = archive.zip_writer();
        for (name, tensor) in tensors {
            #[expect(clippy::default_trait_access, reason = "only npyz can name the type")]
            zip.start_file(file_name_from_array_name(name), Default::default())?;
            write_array(zip, tensor)?;
        }
        zip.finish()?.flush()
    };
    write().map_err(|source| DataError::Write { path: path.to_owned(), source })
}

fn write_array(out: &mut impl Write, tensor: &Tensor) -> io::Result<()> {
    let descr = match tensor.dtype() {
        DType::BFloat16 | DType::Float8E4M3 | DType::Float8E5M2 => {
            out.write_all(&header("<f4", tensor.shape()))?;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "these types fit float32 exactly"
            )]
            return tensor
                .to_f64()
                .iter()
                .try_for_each(|value| out.write_all(&(*value as f32).to_le_bytes()));
        }
        DType::Float64 => "<f8",
        DType::Float32 => "<f4",
        DType::Float16 => "<f2",
        DType::Int64 => "<i8",
        DType::Int32 => "<i4",
        DType::Int16 => "<i2",
        DType::Int8 => "|i1",
        DType::UInt64 => "<u8",
        DType::UInt32 => "<u4",
        DType::UInt16 => "<u2",
        DType::UInt8 => "|u1",
        DType::Bool => "|b1",
    };
    out.write_all(&header(descr, tensor.shape()))?;
    out.write_all(tensor.bytes())
}

/// Version 1.0 of the format: the elements start at a multiple of 64 bytes.
fn header(descr: &str, shape: &Shape) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (");
    for extent in &shape.0 {
        text += &extent.to_string();
        text += ", ";
    }
    text += "), }";
    let start = npy::MAGIC.len() + 4;
    let len = (start + text.len() + 1).next_multiple_of(64) - start;
    text.extend(std::iter::repeat_n(' ', len - text.len() - 1));
    text.push('\n');
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [npy::MAGIC, &[1, 0], &len.to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, random};
    use indexmap::IndexMap;

    #[test]
    fn every_type_and_rank_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.npz");
        let tensors: Vec<Tensor> =
            DType::ALL.map(|dtype| random("x", dtype, vec![3, 2, 5].into()).unwrap()).into();
        let names: Vec<String> = DType::ALL.iter().map(|dtype| format!("a/{dtype}")).collect();
        write_npz(&path, names.iter().map(String::as_str).zip(&tensors)).unwrap();
        let read = Dataset::open(&path, &IndexMap::new()).unwrap();
        for (name, tensor) in names.iter().zip(&tensors) {
            let array = read.array(name).unwrap();
            assert_eq!(array.shape(), tensor.shape(), "{name}");
            assert_eq!(array.rows(0, 3).unwrap().to_f64(), tensor.to_f64(), "{name}");
            if tensor.dtype().size() > 2 {
                assert_eq!(array.dtype(), tensor.dtype());
            }
        }
    }

    #[test]
    fn a_header_says_what_numpy_says_and_ends_at_a_multiple_of_64() {
        for (extents, text) in [(vec![], "()"), (vec![3], "(3, )"), (vec![3, 4], "(3, 4, )")] {
            let header = header("<f4", &extents.into());
            assert!(header.len().is_multiple_of(64) && header.ends_with(b"\n"));
            let shown = String::from_utf8_lossy(&header[10..]).into_owned();
            let expected = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {text}, }}");
            assert_eq!(shown.trim_end(), expected);
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_npz(&folder.path().join("no/out.npz"), []).unwrap_err();
        assert!(error.to_string().starts_with("failed to write"), "{error}");
    }
}

//! Sample data for validation and calibration: [`Dataset`], named arrays whose axis 0 counts the
//! samples.
//!
//! Owns the file formats (`.npz`, `.npy`, raw). Knows nothing of stages or of what the samples
//! are used for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::tensor::{Dim, Shape, Tensor, TensorSpec};

mod archive;
mod array;
mod column;
mod error;
mod npy;
mod random;
mod raw;
#[cfg(test)]
mod tests;
mod write;

pub use array::Array;
pub use column::Column;
pub use error::DataError;
pub use random::random;
pub use raw::RawArray;
pub use write::write_npz;

use array::{Storage, header_error};

/// Named arrays in a file or folder. Opening one reads headers only.
#[derive(Debug)]
pub struct Dataset {
    path: PathBuf,
    arrays: BTreeMap<String, Array>,
}

impl Dataset {
    /// Opens an `.npz` file, an `.npy` file (named by its stem), a folder of `.npy` files, or raw
    /// files of the declared arrays. Formats are told by content, not by extension.
    pub fn open(path: &Path, raw: &IndexMap<String, RawArray>) -> Result<Self, DataError> {
        let found = if path.is_dir() { folder(path, raw)? } else { file(path, raw)? };
        let mut arrays = BTreeMap::new();
        for array in found {
            let name = array.name().to_owned();
            if arrays.insert(name.clone(), array).is_some() {
                return Err(DataError::Duplicate { path: path.to_owned(), array: name });
            }
        }
        if arrays.is_empty() {
            if path.is_dir()
                && let arrays = raw::undeclared(path, raw)?
                && !arrays.is_empty()
            {
                return Err(DataError::Undeclared { path: path.to_owned(), arrays });
            }
            let reason = "contains no arrays";
            return Err(DataError::Unrecognized { path: path.to_owned(), reason });
        }
        Ok(Self { path: path.to_owned(), arrays })
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the arrays, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// An array that has at least one sample.
    pub fn array(&self, name: &str) -> Result<&Array, DataError> {
        let found = self.find(name)?;
        if found.samples() == 0 {
            let (path, array) = (self.path.clone(), name.to_owned());
            return Err(DataError::NoSamples { path, array, shape: found.shape().clone() });
        }
        Ok(found)
    }

    /// The samples of every tensor, in the tensors' order.
    pub fn columns_for(&self, tensors: &[TensorSpec]) -> Result<Vec<Column<'_>>, DataError> {
        tensors.iter().map(|tensor| self.column_for(tensor)).collect()
    }

    /// The samples of a tensor: an array of its name, of an element type that does, and of its
    /// shape but for axis 0.
    pub fn column_for(&self, tensor: &TensorSpec) -> Result<Column<'_>, DataError> {
        let array = self.array(&tensor.name)?;
        let extents = &array.shape().0;
        let fits = tensor.dims.as_ref().is_none_or(|dims| {
            dims.len() == extents.len()
                && dims.iter().zip(extents).skip(1).all(|(dim, &extent)| match dim {
                    Dim::Fixed(fixed) => *fixed == extent,
                    Dim::Symbol(_) | Dim::Any => true,
                })
        });
        self.as_column(array, tensor, fits)
    }

    /// All of a tensor: an array of its name, of an element type that does, and of its shape. Unlike
    /// samples it may be a scalar, or empty.
    pub fn tensor_for(&self, tensor: &TensorSpec) -> Result<Tensor, DataError> {
        let array = self.find(&tensor.name)?;
        let column = self.as_column(array, tensor, tensor.accepts(array.shape()))?;
        column.rows(0, usize::MAX)
    }

    /// The shape of an array, whatever it is.
    pub fn shape(&self, name: &str) -> Result<&Shape, DataError> {
        self.find(name).map(Array::shape)
    }

    /// All of an array, whatever it is.
    pub fn whole(&self, name: &str) -> Result<Tensor, DataError> {
        self.find(name)?.rows(0, usize::MAX)
    }

    fn find(&self, name: &str) -> Result<&Array, DataError> {
        self.arrays.get(name).ok_or_else(|| DataError::NoSuchArray {
            path: self.path.clone(),
            array: name.to_owned(),
            present: self.arrays.keys().cloned().collect(),
        })
    }

    /// An array in the element type of a tensor whose shape it `fits`, or not.
    fn as_column<'a>(
        &self,
        array: &'a Array,
        tensor: &TensorSpec,
        fits: bool,
    ) -> Result<Column<'a>, DataError> {
        let column = Column::new(array, tensor.dtype).ok_or_else(|| DataError::WrongDType {
            path: self.path.clone(),
            array: tensor.name.clone(),
            expected: tensor.dtype,
            found: array.dtype(),
        })?;
        if fits {
            return Ok(column);
        }
        Err(DataError::WrongShape {
            path: self.path.clone(),
            array: tensor.name.clone(),
            expected: tensor.dims_text(),
            found: array.shape().clone(),
        })
    }

    /// The number of samples that all these arrays have.
    pub fn common_samples(&self, arrays: &[Column<'_>]) -> Result<usize, DataError> {
        let Some(first) = arrays.first() else { return Ok(0) };
        match arrays.iter().find(|array| array.samples() != first.samples()) {
            None => Ok(first.samples()),
            Some(other) => Err(DataError::SampleCounts {
                path: self.path.clone(),
                array: first.name().to_owned(),
                samples: first.samples(),
                other: other.name().to_owned(),
                other_samples: other.samples(),
            }),
        }
    }
}

fn file(path: &Path, raw: &IndexMap<String, RawArray>) -> Result<Vec<Array>, DataError> {
    let refuse = |reason| Err(DataError::Unrecognized { path: path.to_owned(), reason });
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(8).read_to_end(&mut start))
        .map_err(DataError::read(path))?;
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        return archive::open(path);
    }
    if start.starts_with(npy::MAGIC) {
        return Ok(vec![npy_file(path)?]);
    }
    if start.is_empty() {
        return refuse("is empty");
    }
    match (raw.len(), raw.first()) {
        (1, Some((name, declared))) => Ok(vec![raw::whole(path, name, declared)?]),
        (0, _) => refuse("is neither an .npz nor an .npy file"),
        _ => refuse("is one raw file, but several raw arrays are declared"),
    }
}

fn folder(path: &Path, raw: &IndexMap<String, RawArray>) -> Result<Vec<Array>, DataError> {
    let mut arrays = Vec::new();
    for file in files_of(path)? {
        if file.extension().is_some_and(|extension| extension == "npy") {
            arrays.push(npy_file(&file)?);
        }
    }
    for (name, declared) in raw {
        arrays.push(raw::in_folder(path, name, declared, raw)?);
    }
    Ok(arrays)
}

fn npy_file(path: &Path) -> Result<Array, DataError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let file = File::open(path).map_err(DataError::read(path))?;
    let available = file.metadata().map_err(DataError::read(path))?.len();
    let header =
        npy::read(&mut BufReader::new(&file)).map_err(|error| header_error(error, path, &name))?;
    let offset = header.len as u64;
    Array::from_header(&name, path, &header, available, Storage::Plain { file, offset })
}

/// The files directly in a folder, sorted by name.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::read(folder))? {
        let path = entry.map_err(DataError::read(folder))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

//! Raw samples: files of nothing but elements, whose type and shape the spec declares.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::source::Spanned;
use crate::tensor::{DType, Shape};

use super::array::{Array, Storage};
use super::{DataError, files_of};

/// What raw files hold: one sample each, as little-endian, row-major elements and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawArray {
    /// Type of the elements.
    pub dtype: Spanned<DType>,
    /// Extents of one sample, without the batch axis: `[1, 8, 8]`, or `[]` for one number.
    pub shape: Spanned<Vec<Spanned<usize>>>,
}

impl RawArray {
    fn sample_shape(&self) -> Shape {
        Shape(self.shape.iter().map(|extent| extent.value).collect())
    }

    /// Bytes of one sample, or `None` where they are none or more than memory could hold.
    pub fn sample_bytes(&self) -> Option<usize> {
        self.sample_shape().checked_bytes(self.dtype.value).filter(|&bytes| bytes > 0)
    }
}

fn is_raw(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "bin" || extension == "raw")
}

/// An array declared as raw: `folder/name/*.bin` with a sample each, `folder/name.bin` with all
/// samples, or, where it is the only raw array, `folder/*.bin` with a sample each.
pub(super) fn in_folder(
    folder: &Path,
    name: &str,
    raw: &RawArray,
    all: &IndexMap<String, RawArray>,
) -> Result<Array, DataError> {
    let only = all.len() == 1;
    let own = folder.join(name);
    if own.is_dir() {
        return samples(&own, name, raw);
    }
    for extension in ["bin", "raw"] {
        let file = folder.join(format!("{name}.{extension}"));
        if file.is_file() {
            return whole(&file, name, raw);
        }
    }
    if only && files_of(folder)?.iter().any(|file| is_raw(file)) {
        return samples(folder, name, raw);
    }
    let (path, array) = (folder.to_owned(), name.to_owned());
    Err(DataError::NoRawFiles { path, array, others: undeclared(folder, all)? })
}

/// Arrays, or as many as people read, whose raw files are in a folder though nobody declares them:
/// sub-folders with samples.
pub(super) fn undeclared(
    folder: &Path,
    declared: &IndexMap<String, RawArray>,
) -> Result<Vec<String>, DataError> {
    const MOST: usize = 8;
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::read(folder))? {
        let path = entry.map_err(DataError::read(folder))?.path();
        let Some(name) = path.file_name().and_then(OsStr::to_str) else { continue };
        if !declared.contains_key(name)
            && path.is_dir()
            && files_of(&path)?.iter().any(|file| is_raw(file))
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    names.truncate(MOST);
    Ok(names)
}

/// All samples of an array in one file.
pub(super) fn whole(path: &Path, name: &str, raw: &RawArray) -> Result<Array, DataError> {
    let file = File::open(path).map_err(DataError::read(path))?;
    let found = file.metadata().map_err(DataError::read(path))?.len();
    let row = row_bytes(path, raw, found)?;
    if found == 0 || found % row as u64 != 0 {
        return Err(size_error(path, raw, row, found));
    }
    let count = usize::try_from(found / row as u64).unwrap_or(usize::MAX);
    let storage = Storage::Plain { file, offset: 0 };
    Ok(Array::raw(name, path, raw.dtype.value, with_samples(raw, count), row, storage))
}

/// One sample per file, in the order of the files' names.
fn samples(folder: &Path, name: &str, raw: &RawArray) -> Result<Array, DataError> {
    let mut files: Vec<PathBuf> = files_of(folder)?;
    files.retain(|file| is_raw(file));
    if files.is_empty() {
        let (path, array) = (folder.to_owned(), name.to_owned());
        return Err(DataError::NoRawFiles { path, array, others: Vec::new() });
    }
    let mut row = 0;
    for file in &files {
        let found = file.metadata().map_err(DataError::read(file))?.len();
        row = row_bytes(file, raw, found)?;
        if found != row as u64 {
            return Err(size_error(file, raw, row, found));
        }
    }
    let shape = with_samples(raw, files.len());
    Ok(Array::raw(name, folder, raw.dtype.value, shape, row, Storage::Samples { files }))
}

fn with_samples(raw: &RawArray, count: usize) -> Shape {
    let mut shape = raw.sample_shape();
    shape.0.insert(0, count);
    shape
}

fn row_bytes(path: &Path, raw: &RawArray, found: u64) -> Result<usize, DataError> {
    raw.sample_bytes().ok_or_else(|| size_error(path, raw, 0, found))
}

fn size_error(path: &Path, raw: &RawArray, expected: usize, found: u64) -> DataError {
    DataError::RawSize {
        path: path.to_owned(),
        dtype: raw.dtype.value,
        shape: raw.sample_shape(),
        expected: expected as u64,
        found,
    }
}

//! [`Array`]: one named array on disk, read a few samples at a time.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use npyz::npz::NpzArchive;

use crate::tensor::{DType, Shape, Tensor};

use super::DataError;
use super::npy::{Header, HeaderError};

/// The most that one compressed array may take in memory.
const LARGEST_UNPACKED: u64 = 4 << 30;

/// Where an array's elements are.
#[derive(Debug)]
pub(super) enum Storage {
    /// All in a row in a file.
    Plain { file: File, offset: u64 },
    /// In a compressed entry of an archive; unpacked whole at the first use.
    Packed { entry: usize, header: usize, bytes: Mutex<Option<Arc<[u8]>>> },
    /// One sample per file.
    Samples { files: Vec<PathBuf> },
}

/// One named array of a data set. Axis 0 counts the samples.
///
/// Uncompressed arrays stay on disk; a compressed one is held in memory from its first use.
#[derive(Debug)]
pub struct Array {
    name: String,
    path: PathBuf,
    dtype: DType,
    shape: Shape,
    row_bytes: usize,
    big_endian: bool,
    storage: Storage,
}

impl Array {
    /// An array with a header, in `available` bytes of a file or archive entry.
    pub(super) fn from_header(
        name: &str,
        path: &Path,
        header: &Header,
        available: u64,
        storage: Storage,
    ) -> Result<Self, DataError> {
        let (name, path) = (name.to_owned(), path.to_owned());
        if header.fortran_order && header.shape.iter().filter(|&&extent| extent > 1).count() > 1 {
            return Err(DataError::FortranOrder { path, array: name });
        }
        let shape = Shape(header.shape.clone());
        let Some(bytes) = shape.checked_bytes(header.dtype) else {
            let reason = format!("its shape {shape} does not fit in memory");
            return Err(DataError::Header { path, array: name, reason });
        };
        let expected = bytes as u64;
        let found = available.saturating_sub(header.len as u64);
        let dtype = header.dtype;
        if found != expected {
            return Err(DataError::Size { path, array: name, dtype, shape, expected, found });
        }
        if matches!(storage, Storage::Packed { .. }) && expected > LARGEST_UNPACKED {
            let limit = LARGEST_UNPACKED;
            return Err(DataError::TooLargeToUnpack { path, array: name, bytes: expected, limit });
        }
        let row_bytes = bytes.checked_div(header.shape.first().copied().unwrap_or(1)).unwrap_or(0);
        Ok(Self { name, path, dtype, shape, row_bytes, big_endian: header.big_endian, storage })
    }

    /// A raw array; the caller has compared sizes.
    pub(super) fn raw(
        name: &str,
        path: &Path,
        dtype: DType,
        shape: Shape,
        row_bytes: usize,
        storage: Storage,
    ) -> Self {
        let (name, path) = (name.to_owned(), path.to_owned());
        Self { name, path, dtype, shape, row_bytes, big_endian: false, storage }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents, the number of samples first.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.shape.0.first().copied().unwrap_or(0)
    }

    /// The samples `start..end`, clamped to what there is, as little-endian elements.
    pub fn rows(&self, start: usize, end: usize) -> Result<Tensor, DataError> {
        let end = end.min(self.samples());
        let start = start.min(end);
        let mut shape = self.shape.clone();
        if let Some(first) = shape.0.first_mut() {
            *first = end - start;
        }
        let mut tensor = Tensor::zeros(self.dtype, shape)?;
        self.read(start, tensor.bytes_mut())?;
        if self.big_endian {
            for element in tensor.bytes_mut().chunks_exact_mut(self.dtype.size()) {
                element.reverse();
            }
        }
        if self.dtype == DType::Bool {
            for byte in tensor.bytes_mut() {
                *byte = u8::from(*byte != 0);
            }
        }
        Ok(tensor)
    }

    /// Fills `bytes` with the samples from `start`.
    fn read(&self, start: usize, bytes: &mut [u8]) -> Result<(), DataError> {
        let skip = start.saturating_mul(self.row_bytes);
        match &self.storage {
            Storage::Plain { file, offset } => file
                .read_exact_at(bytes, offset.saturating_add(skip as u64))
                .map_err(DataError::read(&self.path)),
            Storage::Packed { entry, header, bytes: unpacked } => {
                let mut unpacked = unpacked.lock().unwrap_or_else(PoisonError::into_inner);
                let all = match unpacked.as_ref() {
                    Some(all) => Arc::clone(all),
                    None => Arc::clone(unpacked.insert(self.unpack(*entry, *header)?)),
                };
                drop(unpacked);
                if let Some(from) = all.get(skip..).and_then(|rest| rest.get(..bytes.len())) {
                    bytes.copy_from_slice(from);
                }
                Ok(())
            }
            Storage::Samples { files } => {
                if self.row_bytes == 0 {
                    return Ok(());
                }
                for (row, path) in bytes.chunks_exact_mut(self.row_bytes).zip(&files[start..]) {
                    File::open(path)
                        .and_then(|mut file| file.read_exact(row))
                        .map_err(DataError::read(path))?;
                }
                Ok(())
            }
        }
    }

    fn unpack(&self, entry: usize, header: usize) -> Result<Arc<[u8]>, DataError> {
        let damaged = |reason: String| DataError::Archive { path: self.path.clone(), reason };
        let file = File::open(&self.path).map_err(DataError::read(&self.path))?;
        let mut archive =
            NpzArchive::new(BufReader::new(file)).map_err(|error| damaged(error.to_string()))?;
        let entry =
            archive.zip_archive().by_index(entry).map_err(|error| damaged(error.to_string()))?;
        let expected = self.row_bytes.saturating_mul(self.samples().max(1));
        let total = header.saturating_add(expected);
        // One byte more than there should be: it would be a lie in the archive's directory.
        // Nothing is reserved up front, so a false size costs nothing either.
        let mut bytes = Vec::new();
        entry
            .take((total as u64).saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| damaged(format!("array `{}`: {error}", self.name)))?;
        if bytes.len() != total {
            let reason = format!(
                "array `{}` unpacks to {} bytes than its header says",
                self.name,
                if bytes.len() < total { "fewer" } else { "more" }
            );
            return Err(damaged(reason));
        }
        Ok(bytes[header..].into())
    }
}

/// Names the array and file of a header's error.
pub(super) fn header_error(error: HeaderError, path: &Path, array: &str) -> DataError {
    let (path, array) = (path.to_owned(), array.to_owned());
    match error {
        HeaderError::Read(source) => DataError::Read { path, source },
        HeaderError::Syntax(reason) => DataError::Header { path, array, reason },
        HeaderError::Type { descr, reason } => {
            DataError::ElementType { path, array, descr, reason }
        }
    }
}

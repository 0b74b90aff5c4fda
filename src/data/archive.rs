//! NumPy's `.npz`: a zip archive of `.npy` entries.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Mutex;

use npyz::npz::{NpzArchive, array_name_from_file_name};

use super::array::{Array, Storage, header_error};
use super::{DataError, npy};

/// The arrays of an archive. Only headers are read.
pub(super) fn open(path: &Path) -> Result<Vec<Array>, DataError> {
    let damaged = |reason: String| DataError::Archive { path: path.to_owned(), reason };
    let file = File::open(path).map_err(DataError::read(path))?;
    let file_len = file.metadata().map_err(DataError::read(path))?.len();
    let mut archive =
        NpzArchive::new(BufReader::new(file)).map_err(|error| damaged(error.to_string()))?;
    let mut arrays = Vec::new();
    for index in 0..archive.zip_archive().len() {
        let mut entry =
            archive.zip_archive().by_index(index).map_err(|error| damaged(error.to_string()))?;
        let Some(name) = array_name_from_file_name(entry.name()).map(str::to_owned) else {
            continue;
        };
        let (start, size) = (entry.data_start(), entry.size());
        let stored = entry.compression().to_string() == "Stored";
        let array = if stored {
            if start.checked_add(size).is_none_or(|end| end > file_len) {
                return Err(damaged(format!("array `{name}` ends beyond the file's end")));
            }
            let mut file = File::open(path).map_err(DataError::read(path))?;
            file.seek(SeekFrom::Start(start)).map_err(DataError::read(path))?;
            let header = npy::read(&mut BufReader::new(Read::take(&file, size)))
                .map_err(|error| header_error(error, path, &name))?;
            let offset = start + header.len as u64;
            Array::from_header(&name, path, &header, size, Storage::Plain { file, offset })?
        } else {
            let header = npy::read(&mut entry).map_err(|error| header_error(error, path, &name))?;
            let storage =
                Storage::Packed { entry: index, header: header.len, bytes: Mutex::new(None) };
            Array::from_header(&name, path, &header, size, storage)?
        };
        arrays.push(array);
    }
    Ok(arrays)
}

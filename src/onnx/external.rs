//! External data: tensors whose values stand in files beside the model.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::error::{ExternalProblem, OnnxError};
use super::file_type::FileType;
use super::proto::tensor_proto::DataLocation;
use super::proto::{StringStringEntryProto, TensorProto};
use super::scan::{self, ScanError};

/// Where a tensor's external values are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExternalRef {
    /// The file, relative to the model's folder.
    pub location: String,
    /// First byte.
    pub offset: u64,
    /// Number of bytes, where the model says it.
    pub length: Option<u64>,
}

impl ExternalRef {
    /// Fails where a file of `size` bytes, or the length that the model tells, is not what a tensor
    /// of `needed` bytes needs; where those are not known, the length stands for them.
    pub(super) fn check(&self, needed: Option<u64>, size: u64) -> Result<(), ExternalProblem> {
        let location = || self.location.clone();
        let bytes = needed.or(self.length).unwrap_or(0);
        let end = self.offset.saturating_add(bytes);
        if size < end {
            return Err(ExternalProblem::TooShort {
                location: location(),
                needed: end,
                found: size,
            });
        }
        match self.length {
            Some(length) if length != bytes => Err(ExternalProblem::OtherLength {
                location: location(),
                needed: bytes,
                found: length,
            }),
            _ => Ok(()),
        }
    }
}

/// Whether a tensor's values stand in another file.
pub(super) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(DataLocation::External as i32)
}

/// Where a tensor's external values are; `None` where its values are in the model itself.
pub fn external_ref(tensor: &TensorProto) -> Result<Option<ExternalRef>, ExternalProblem> {
    if !is_external(tensor) {
        return Ok(None);
    }
    let entry = |name: &str| {
        tensor
            .external_data
            .iter()
            .find(|entry| entry.key() == name)
            .map(StringStringEntryProto::value)
    };
    let number = |key: &'static str| {
        entry(key)
            .map(|text| {
                text.trim().parse::<u64>().map_err(|_| ExternalProblem::NotANumber {
                    key,
                    value: text.chars().take(80).collect(),
                })
            })
            .transpose()
    };
    let location = entry("location").filter(|text| !text.is_empty());
    Ok(Some(ExternalRef {
        location: location.ok_or(ExternalProblem::NoLocation)?.to_owned(),
        offset: number("offset")?.unwrap_or(0),
        length: number("length")?,
    }))
}

/// The file a location means, if it stays in the model's folder. It may be missing.
fn stay_inside(folder: &Path, location: &str) -> Result<PathBuf, ExternalProblem> {
    let escapes = || ExternalProblem::Escapes { location: location.to_owned() };
    let path = Path::new(location);
    let inside =
        path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside || location.contains('\0') || path.file_name().is_none() {
        return Err(escapes());
    }
    let file = folder.join(path);
    match (fs::canonicalize(folder), fs::canonicalize(&file)) {
        (Ok(folder), Ok(real)) if !real.starts_with(&folder) => Err(escapes()),
        _ => Ok(file),
    }
}

/// The existing regular file of a location and its size in bytes.
pub(super) fn resolve(folder: &Path, location: &str) -> Result<(PathBuf, u64), ExternalProblem> {
    let file = stay_inside(folder, location)?;
    let found = fs::metadata(&file)
        .map_err(|_| ExternalProblem::Missing { location: location.to_owned() })?;
    if !found.is_file() {
        return Err(ExternalProblem::NotAFile { location: location.to_owned() });
    }
    Ok((file, found.len()))
}

/// Opens a tensor's external values at their first byte and gives their length, which is `needed`.
pub(super) fn open(
    folder: &Path,
    external: &ExternalRef,
    needed: u64,
) -> Result<(PathBuf, File), ExternalProblem> {
    let (path, size) = resolve(folder, &external.location)?;
    external.check(Some(needed), size)?;
    let location = || external.location.clone();
    let mut file =
        File::open(&path).map_err(|_| ExternalProblem::Missing { location: location() })?;
    file.seek(SeekFrom::Start(external.offset))
        .map_err(|_| ExternalProblem::NotAFile { location: location() })?;
    Ok((path, file))
}

/// The files, relative to the model's folder, that hold external data of the model file at `path`;
/// sorted, each once. The files may be missing; locations outside the folder are refused. Reads
/// the file's structure only: memory does not grow with the weights.
pub fn external_files(path: &Path) -> Result<Vec<String>, OnnxError> {
    let file = open_model(path)?;
    let size = file.metadata().map_err(OnnxError::io("read", path))?.len();
    let found = scan::locations(BufReader::new(file), size)
        .map_err(|error| scan_error(path, size, error))?;
    let folder = folder_of(path);
    for (location, tensor) in &found {
        stay_inside(folder, location).map_err(|problem| OnnxError::ExternalData {
            model: path.to_owned(),
            tensor: tensor.clone(),
            problem,
        })?;
    }
    Ok(found.into_keys().collect())
}

/// Opens a file and refuses what is plainly no model.
pub(super) fn open_model(path: &Path) -> Result<File, OnnxError> {
    let io = || OnnxError::io("read", path);
    let mut file = File::open(path).map_err(io())?;
    if file.metadata().map_err(io())?.is_dir() {
        return Err(io()(ErrorKind::IsADirectory.into()));
    }
    let mut head = Vec::with_capacity(512);
    file.by_ref().take(512).read_to_end(&mut head).map_err(io())?;
    if head.is_empty() {
        return Err(OnnxError::Empty { path: path.to_owned() });
    }
    if let Some(found) = FileType::recognise(&head) {
        return Err(OnnxError::OtherFile { path: path.to_owned(), found });
    }
    file.rewind().map_err(io())?;
    Ok(file)
}

pub(super) fn scan_error(path: &Path, size: u64, error: ScanError) -> OnnxError {
    let path = path.to_owned();
    match error {
        ScanError::Io(source) => OnnxError::Io { doing: "read", path, source },
        ScanError::Truncated { needed } => OnnxError::Truncated { path, size, needed },
        ScanError::Malformed { offset, reason } => {
            OnnxError::NotProtobuf { path, reason: format!("{reason} at byte {offset}") }
        }
    }
}

/// The folder that a model file's locations are relative to.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

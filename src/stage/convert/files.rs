//! How a model's files get into the artifact.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::onnx::{self, Model};
use crate::stage::StageError;

/// Names that the artifact gives to its own files.
const OWN_FILES: [&str; 2] = ["model.onnx", super::FILE];

/// Copies a model byte for byte, or rewrites it where its external data bears one of our names.
pub(super) fn copy_model(model: &Model, out: &Path) -> Result<(), StageError> {
    take_model(model, out, copy_file)
}

/// Does the same with a model that nobody else needs, without copying its bytes.
pub(super) fn move_model(model: &Model, out: &Path) -> Result<(), StageError> {
    take_model(model, out, move_file)
}

fn take_model(
    model: &Model,
    out: &Path,
    take: fn(&Path, &Path) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let locations = onnx::external_files(model.path())?;
    let is_ours = |location: &String| {
        let mut parts = location.split('/').filter(|part| *part != ".");
        parts.next().is_some_and(|first| OWN_FILES.contains(&first))
    };
    if locations.iter().any(is_ours) {
        return Ok(model.save(out)?);
    }
    take(model.path(), &out.join("model.onnx"))?;
    for location in &locations {
        let target = out.join(location);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(StageError::io("create", folder))?;
        }
        take(&model.folder().join(location), &target)?;
    }
    Ok(())
}

/// Copies the bytes only: permissions of the source are no part of a model.
fn copy_file(from: &Path, to: &Path) -> Result<(), StageError> {
    let mut source = File::open(from).map_err(StageError::io("read", from))?;
    let mut target = File::create_new(to).map_err(StageError::io("create", to))?;
    io::copy(&mut source, &mut target).map_err(StageError::io("write", to)).map(drop)
}

/// Moves a regular file that no other name leads to; anything else is copied.
fn move_file(from: &Path, to: &Path) -> Result<(), StageError> {
    let is_own = |found: fs::Metadata| found.is_file() && found.nlink() == 1;
    let is_plain = fs::symlink_metadata(from).is_ok_and(is_own);
    if !is_plain || fs::rename(from, to).is_err() {
        return copy_file(from, to);
    }
    fs::set_permissions(to, Permissions::from_mode(0o644)).map_err(StageError::io("write", to))
}

//! The model file of engines that are their model: its name, and how it gets into their folder.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::onnx;

use super::EngineManifest;

/// The engine's file.
pub(super) const MODEL: &str = "model.onnx";

/// Copies a model and its external data; the engine's own file names stay free.
pub(super) fn copy(model: &Path, out: &Path) -> Result<(), String> {
    copy_file(model, &out.join(MODEL))?;
    let folder = model.parent().unwrap_or(Path::new(""));
    for relative in onnx::external_files(model).map_err(|error| error.to_string())? {
        let target = out.join(&relative);
        if relative == EngineManifest::FILE || target.exists() {
            return Err(format!(
                "its external data is called `{relative}`, as a file of the engine"
            ));
        }
        copy_file(&folder.join(&relative), &target)?;
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<(), String> {
    let attempt = || -> io::Result<()> {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        // Bytes only: permissions of the source are no part of an engine.
        let (mut source, mut target) = (File::open(from)?, File::create_new(to)?);
        io::copy(&mut source, &mut target).map(drop)
    };
    attempt().map_err(|e| format!("cannot copy `{}` to `{}`: {e}", from.display(), to.display()))
}

//! What an engine needs beside its plan: plug-ins, and the weights that were left out of it.
//!
//! They become files of the engine, so that it runs wherever it is taken.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::onnx::{Model, OnnxError};

use super::job::CompileJob;

/// The folder of plug-ins.
const PLUGINS: &str = "plugins";

/// Copies the libraries of plug-ins. A version-compatible plan holds them itself.
pub(super) fn plugins(job: &CompileJob) -> io::Result<Vec<PathBuf>> {
    if job.options.settings.version_compatible || job.files.plugins.is_empty() {
        return Ok(Vec::new());
    }
    fs::create_dir_all(job.out.join(PLUGINS))?;
    let copy = |(number, file): (usize, &PathBuf)| {
        // Numbered: two may have one name.
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let copied = Path::new(PLUGINS).join(format!("{number}-{name}"));
        fs::copy(file, job.out.join(&copied))?;
        Ok(copied)
    };
    job.files.plugins.iter().enumerate().map(copy).collect()
}

/// Writes the model whose weights the plan lacks.
pub(super) fn weights(job: &CompileJob, model: &Model) -> Result<Option<PathBuf>, OnnxError> {
    if !job.options.settings.strip_weights {
        return Ok(None);
    }
    model.save(&job.out)?;
    Ok(Some(PathBuf::from("model.onnx")))
}

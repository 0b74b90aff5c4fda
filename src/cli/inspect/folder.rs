//! An artifact's folder: every JSON description in it, and its files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize as _, Serialize};
use serde_json::{Map, Value, json};

use crate::stage::calibrate::Report;
use crate::stage::optimize::{Changes, Told};

use super::model::ModelFile;
use super::{Failure, View, tables};

/// A file of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FileSize {
    pub(super) path: String,
    pub(super) bytes: u64,
}

/// A folder that holds no engine.
#[derive(Debug)]
pub(super) struct Folder {
    files: Vec<FileSize>,
    model: Option<ModelFile>,
    descriptions: Map<String, Value>,
}

/// The files and folders directly in a folder, sorted by name.
pub(super) fn files(path: &Path) -> Result<Vec<FileSize>, Failure> {
    let failed =
        |error: std::io::Error| (format!("failed to read `{}`: {error}", path.display()), None);
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        names.push(entry.map_err(failed)?.path());
    }
    names.sort();
    let file = |path: PathBuf| FileSize {
        path: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        bytes: std::fs::metadata(&path).map_or(0, |found| found.len()),
    };
    Ok(names.into_iter().map(file).collect())
}

impl Folder {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let files = files(path)?;
        let mut descriptions = Map::new();
        for file in &files {
            let whole = path.join(&file.path);
            if whole.extension().is_some_and(|extension| extension == "json")
                && let Ok(content) = std::fs::read(&whole)
                && let Ok(value) = serde_json::from_slice::<Value>(&content)
            {
                descriptions.insert(file.path.clone(), value);
            }
        }
        let onnx = path.join("model.onnx");
        let model = onnx.is_file().then(|| ModelFile::read(&onnx)).transpose()?;
        Ok(Self { files, model, descriptions })
    }

    pub(super) fn model(&self) -> Option<&ModelFile> {
        self.model.as_ref()
    }

    pub(super) fn record(&self) -> Value {
        json!({
            "files": self.files,
            "model": self.model.as_ref().map(ModelFile::record),
            "descriptions": self.descriptions,
        })
    }

    pub(super) fn text(&self, view: View) -> String {
        let mut text = tables::files(&self.files);
        if let Some(model) = &self.model {
            let _ = write!(text, "\n{}\n\n{}", model.path().display(), model.text(view));
        }
        for (name, value) in &self.descriptions {
            let _ = write!(text, "\n{name}\n{}\n", description(name, value, view).trim_end());
        }
        text
    }
}

/// A description, as the stage that wrote it shows it where there is such a form.
fn description(name: &str, value: &Value, view: View) -> String {
    let known = match name {
        Changes::FILE => {
            Changes::deserialize(value).ok().map(|changes| view.wrapped(&changes.to_string()))
        }
        Told::FILE => {
            Told::deserialize(value).ok().map(|told| view.wrapped(&told.text(view.listing())))
        }
        Report::FILE => Report::deserialize(value).ok().map(|report| {
            let summary = view.wrapped(&report.summary(view.listing()));
            format!("{summary}\n{}", tables::ranges(&report, view.listing()))
        }),
        _ => None,
    };
    known.unwrap_or_else(|| serde_json::to_string_pretty(value).unwrap_or_default())
}

//! [`Places`]: everything outside the spec that can lead to a library.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::FileError;
use super::loader::Loader;
use super::{Python, PythonError, Source, Wanted, files, python};

/// The places that are searched where nobody named a library.
pub(in crate::backend) const SEARCHED: [Source; 4] =
    [Source::Installed, Source::Python, Source::LibraryPath, Source::System];

/// The folder that `runtime install` writes to: `TRT_PIPELINE_RUNTIMES`, else below
/// `XDG_DATA_HOME`, else below the home folder; `None` where none of them is set.
pub fn runtimes_folder() -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = variable("TRT_PIPELINE_RUNTIMES") {
        return std::path::absolute(folder).ok();
    }
    let data = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| Some(env::home_dir()?.join(".local/share")))?;
    Some(data.join("trt-pipeline/runtimes"))
}

/// Why there is no folder that `runtime install` could have written to.
const NO_RUNTIMES: &str = "neither TRT_PIPELINE_RUNTIMES, XDG_DATA_HOME nor HOME is set";

/// The files in one place that are named as the library is.
#[derive(Debug)]
pub(in crate::backend) struct Sight {
    /// The place.
    pub(in crate::backend) place: Source,
    /// The files, in the place's own order.
    pub(in crate::backend) files: Vec<PathBuf>,
    /// What was looked at, where there is no such file.
    pub(in crate::backend) note: String,
}

/// Everything outside the spec that can lead to a library.
#[derive(Debug)]
pub(in crate::backend) struct Places {
    pub(in crate::backend) option: Option<PathBuf>,
    pub(in crate::backend) variable: Option<OsString>,
    pub(in crate::backend) runtimes: Option<PathBuf>,
    /// `None`: it is asked when its turn comes.
    pub(in crate::backend) python: Option<Result<Python, PythonError>>,
    pub(in crate::backend) loader: Loader,
}

impl Places {
    /// Those of this process; `option` is what the command line named.
    pub(in crate::backend) fn here(wanted: &Wanted, option: Option<PathBuf>) -> Self {
        Self {
            option,
            variable: env::var_os(wanted.variable),
            runtimes: runtimes_folder(),
            python: None,
            loader: Loader::here(),
        }
    }

    /// The places that somebody named, as absolute paths; the first is meant.
    pub(in crate::backend) fn named(&self) -> impl Iterator<Item = (Source, PathBuf)> {
        let option = self.option.as_deref().map(|path| (Source::Option, absolute(path)));
        // An empty variable is one that is not set.
        let variable = self.variable.as_ref().filter(|value| !value.is_empty());
        let variable = variable.map(|path| (Source::Variable, absolute(Path::new(path))));
        option.into_iter().chain(variable)
    }

    /// Looks at one of the places that are searched.
    pub(in crate::backend) fn look(&self, wanted: &Wanted, place: Source) -> Sight {
        let (files, note) = match place {
            Source::Installed => match &self.runtimes {
                Some(folder) => return in_runtimes(wanted, folder),
                None => (Vec::new(), NO_RUNTIMES.to_owned()),
            },
            Source::Python => {
                in_packages(wanted, self.python.clone().unwrap_or_else(python::python))
            }
            Source::LibraryPath => self.loader.in_variable(wanted.is_named),
            Source::Spec | Source::Option | Source::Variable | Source::System => {
                self.loader.in_system(wanted.is_named)
            }
        };
        Sight { place, files, note }
    }
}

/// A path as it is, wherever this process goes.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What `runtime install` put into a folder.
pub(in crate::backend) fn in_runtimes(wanted: &Wanted, folder: &Path) -> Sight {
    let mut found = Vec::new();
    for name in files::sorted_names(folder) {
        // Names with a dot are installations that were not finished.
        if !name.as_encoded_bytes().starts_with(b".") {
            let inside = files::in_folder(&folder.join(name), wanted.is_named);
            found.extend(inside.unwrap_or_default());
        }
    }
    let note = format!("nothing in {}", folder.display());
    Sight { place: Source::Installed, files: found, note }
}

/// The file that somebody named, or the libraries in the folder or below it, where archives and
/// packages have them.
pub(in crate::backend) fn named(wanted: &Wanted, path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let metadata = std::fs::metadata(path).map_err(FileError::read(path))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let found = files::in_folder(path, wanted.is_named).map_err(FileError::read(path))?;
    let below = wanted.below.iter().map(|below| path.join(below));
    let below = below.map(|folder| files::in_folder(&folder, wanted.is_named).unwrap_or_default());
    Ok(std::iter::once(found).chain(below).find(|found| !found.is_empty()).unwrap_or_default())
}

fn in_packages(wanted: &Wanted, python: Result<Python, PythonError>) -> (Vec<PathBuf>, String) {
    let python = match python {
        Ok(python) => python,
        Err(error) => return (Vec::new(), error.to_string()),
    };
    let mut found = Vec::new();
    for folder in &python.folders {
        for name in files::sorted_names(folder) {
            let starts = |start: &str| name.as_encoded_bytes().starts_with(start.as_bytes());
            for (_, inside) in wanted.packages.iter().filter(|(start, _)| starts(start)) {
                let package = folder.join(&name).join(inside);
                found.extend(files::in_folder(&package, wanted.is_named).unwrap_or_default());
            }
        }
    }
    let folders: Vec<String> = python.folders.iter().map(|f| f.display().to_string()).collect();
    let note = format!("no package of {} in {}", python.program.display(), folders.join(", "));
    (files::each_once(found), note)
}

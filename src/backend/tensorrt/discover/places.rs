//! [`Places`]: everything outside the spec that can lead to a library.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::error::LibraryError;
use super::loader::Loader;
use super::{Looked, Python, PythonError, Sighting, Source, library, python};

/// The places that are searched where nobody named a library.
pub(super) const SEARCHED: [Source; 4] =
    [Source::Installed, Source::Python, Source::LibraryPath, Source::System];

/// What `--tensorrt-lib` named.
///
/// One for the process: a process can load one TensorRT library only, so there is nothing that two
/// callers could set differently, and handing it through stages and backends that have nothing to
/// do with it would say otherwise.
static NAMED: OnceLock<PathBuf> = OnceLock::new();

/// From now on, the library or folder that the command line named is used, unless a spec names
/// another. Heeded once.
pub fn name_library(path: PathBuf) {
    // A second call would come from a second command line.
    let _ = NAMED.set(path);
}

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

/// Everything outside the spec that can lead to a library.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) option: Option<PathBuf>,
    pub(super) variable: Option<OsString>,
    pub(super) runtimes: Option<PathBuf>,
    /// `None`: it is asked when its turn comes.
    pub(super) python: Option<Result<Python, PythonError>>,
    pub(super) loader: Loader,
}

impl Places {
    /// Those of this process.
    pub(super) fn here() -> Self {
        Self {
            option: NAMED.get().cloned(),
            variable: env::var_os("TRT_PIPELINE_TENSORRT"),
            runtimes: runtimes_folder(),
            python: None,
            loader: Loader::here(),
        }
    }

    /// The places that somebody named, as absolute paths; the first is meant.
    pub(super) fn named(&self) -> impl Iterator<Item = (Source, PathBuf)> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let option = self.option.as_deref().map(|path| (Source::Option, absolute(path)));
        // An empty variable is one that is not set.
        let variable = self.variable.as_ref().filter(|value| !value.is_empty());
        let variable = variable.map(|path| (Source::Variable, absolute(Path::new(path))));
        option.into_iter().chain(variable)
    }

    /// Looks at one of the places that are searched.
    pub(super) fn look(&self, place: Source) -> Looked {
        match place {
            Source::Installed => match &self.runtimes {
                Some(folder) => installed(folder),
                None => looked(place, (Vec::new(), NO_RUNTIMES.to_owned())),
            },
            Source::Python => look_at_python(self.python.clone().unwrap_or_else(python::python)),
            Source::LibraryPath => looked(place, self.loader.in_variable()),
            Source::Spec | Source::Option | Source::Variable | Source::System => {
                looked(Source::System, self.loader.in_system())
            }
        }
    }
}

/// What `runtime install` put into a folder.
pub fn installed(folder: &Path) -> Looked {
    let mut files = Vec::new();
    for name in sorted_names(folder) {
        // Names with a dot are installations that were not finished.
        if !name.as_encoded_bytes().starts_with(b".") {
            files.extend(library::in_folder(&folder.join(name)).unwrap_or_default());
        }
    }
    looked(Source::Installed, (files, format!("nothing in {}", folder.display())))
}

/// The libraries in one folder of what `runtime install` made.
pub(in crate::backend::tensorrt) fn in_folder(folder: &Path) -> Vec<Sighting> {
    sightings(library::in_folder(folder).unwrap_or_default(), Source::Installed)
}

/// A place with the files that are there.
fn looked(place: Source, (files, note): (Vec<PathBuf>, String)) -> Looked {
    Looked { place, libraries: sightings(files, place), note }
}

/// The names in a folder, sorted; none where it cannot be read.
fn sorted_names(folder: &Path) -> Vec<OsString> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<OsString> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    names
}

/// Examines files.
fn sightings(files: Vec<PathBuf>, place: Source) -> Vec<Sighting> {
    files
        .into_iter()
        .map(|path| {
            let outcome = library::examine(&path, place);
            Sighting { path, outcome, objection: None }
        })
        .collect()
}

/// Looks at a file or folder that somebody named.
pub(super) fn look_at_named(place: Source, path: &Path) -> Looked {
    let libraries = match named_files(path) {
        Ok(files) => sightings(files, place),
        Err(error) => {
            vec![Sighting { path: path.to_owned(), outcome: Err(error), objection: None }]
        }
    };
    Looked { place, libraries, note: format!("nothing in {}", path.display()) }
}

/// The file, or the libraries in the folder or in its `lib`, as NVIDIA's archive has it.
fn named_files(path: &Path) -> Result<Vec<PathBuf>, LibraryError> {
    let metadata = std::fs::metadata(path).map_err(LibraryError::read(path))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let files = library::in_folder(path).map_err(LibraryError::read(path))?;
    if files.is_empty() {
        return Ok(library::in_folder(&path.join("lib")).unwrap_or_default());
    }
    Ok(files)
}

/// The folders of Python packages that bring TensorRT along start with one of these.
const PACKAGES: [&str; 2] = ["tensorrt", "onnxruntime_ep_nv_tensorrt"];

fn look_at_python(python: Result<Python, PythonError>) -> Looked {
    let place = Source::Python;
    let python = match python {
        Ok(python) => python,
        Err(error) => return Looked { place, libraries: Vec::new(), note: error.to_string() },
    };
    let mut files = Vec::new();
    for folder in &python.folders {
        for name in sorted_names(folder) {
            let starts = |package: &str| name.as_encoded_bytes().starts_with(package.as_bytes());
            if PACKAGES.iter().any(|package| starts(package)) {
                files.extend(library::in_folder(&folder.join(name)).unwrap_or_default());
            }
        }
    }
    let folders: Vec<String> = python.folders.iter().map(|f| f.display().to_string()).collect();
    let note = format!("no package of {} in {}", python.program.display(), folders.join(", "));
    looked(place, (library::each_once(files), note))
}

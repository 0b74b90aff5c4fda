//! Finding ONNX Runtime: which library, of which version, from where. It is not loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Serialize;

use crate::backend::library::{
    self as files, FileError, Places, SEARCHED, Sight, Source, Wanted, numbers, suffix,
};

mod error;
#[cfg(test)]
mod tests;

pub use error::{DiscoverError, LibraryError};

/// The oldest version that has all that is called: 1 and this.
const OLDEST_MINOR: u32 = ort::MINOR_VERSION;

/// What is looked for.
static ONNXRUNTIME: Wanted = Wanted {
    product: "ONNX Runtime",
    names: "`libonnxruntime.so.*`",
    example: "libonnxruntime.so.1.32.0",
    is_named,
    setting: "the spec",
    option: "--onnxruntime-lib",
    variable: "TRT_PIPELINE_ONNXRUNTIME",
    // As the archives and the Python package have it.
    below: &["lib", "capi", "onnxruntime/capi"],
    packages: &[("onnxruntime", "capi")],
};

/// The start of the library's name, before `.so`.
const NAME: &str = "libonnxruntime";

fn is_named(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    suffix(name, NAME).is_some()
}

/// A version of the library: its three numbers.
type Version = [u32; 3];

/// An ONNX Runtime that can be used here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its version, such as `1.32.0`.
    pub version: String,
    /// The library.
    pub library: PathBuf,
    /// The linker's digest of the library's content, where it has one.
    pub build_id: Option<String>,
    /// Who or what led to it.
    pub source: Source,
}

impl Found {
    /// Who or what led to it, in a sentence.
    pub fn phrase(&self) -> &'static str {
        self.source.phrase(&ONNXRUNTIME)
    }

    /// What of it goes into a cache key.
    pub(super) fn facts(&self) -> Result<BTreeMap<String, String>, LibraryError> {
        let build = files::identity(&self.library, self.build_id.clone())?;
        Ok(BTreeMap::from([
            ("onnxruntime".to_owned(), self.version.clone()),
            ("onnxruntime_build".to_owned(), build),
        ]))
    }
}

/// One place that was searched, and what is there.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The place.
    pub place: Source,
    /// The files there: what each is, or why it cannot be used.
    pub libraries: Vec<(PathBuf, Result<Found, LibraryError>)>,
    /// What was looked at, where there is no library.
    pub note: String,
}

impl Looked {
    fn of(Sight { place, files, note }: Sight) -> Self {
        let examined = |path: PathBuf| {
            let outcome = examine(&path, place);
            (path, outcome)
        };
        Self { place, libraries: files.into_iter().map(examined).collect(), note }
    }

    /// The newest library that can be used; the first of equals, which the place prefers.
    fn best(&self) -> Option<&Found> {
        let usable = self.libraries.iter().filter_map(|(_, outcome)| outcome.as_ref().ok());
        usable.rev().max_by_key(|found| numbers(&found.version, '.'))
    }

    /// What the place is called in a sentence.
    pub fn phrase(&self) -> &'static str {
        self.place.phrase(&ONNXRUNTIME)
    }
}

/// What `--onnxruntime-lib` named: one for the process, which can load one library only.
static NAMED: OnceLock<PathBuf> = OnceLock::new();

/// From now on, the library or folder that the command line named is used. Heeded once.
pub fn name_library(path: PathBuf) {
    // A second call would come from a second command line.
    let _ = NAMED.set(path);
}

/// Finds the library.
///
/// # Errors
/// A named library cannot be used, or none is anywhere.
pub fn find() -> Result<Found, DiscoverError> {
    find_in(&here())
}

/// Everything there is, for a person to look at: named places first.
pub fn survey() -> Vec<Looked> {
    let here = here();
    let named = here.named().map(|(place, path)| {
        look_at_named(place, &path).unwrap_or_else(|error| Looked {
            place,
            libraries: vec![(path, Err(error))],
            note: String::new(),
        })
    });
    let searched = SEARCHED.map(|place| Looked::of(here.look(&ONNXRUNTIME, place)));
    named.chain(searched).collect()
}

/// What `runtime install` put into a folder.
pub(in crate::backend) fn installed(folder: &Path) -> Looked {
    Looked::of(files::in_runtimes(&ONNXRUNTIME, folder))
}

/// The libraries in one folder of what `runtime install` made.
pub(in crate::backend) fn in_folder(folder: &Path) -> Vec<Result<Found, LibraryError>> {
    let files = files::in_folder(folder, is_named).unwrap_or_default();
    files.iter().map(|path| examine(path, Source::Installed)).collect()
}

fn here() -> Places {
    Places::here(&ONNXRUNTIME, NAMED.get().cloned())
}

fn find_in(places: &Places) -> Result<Found, DiscoverError> {
    if let Some((place, path)) = places.named().next() {
        let named = |source| DiscoverError::Named { place: place.phrase(&ONNXRUNTIME), source };
        let looked = look_at_named(place, &path).map_err(named)?;
        if let Some(found) = looked.best() {
            return Ok(found.clone());
        }
        let error = looked.libraries.into_iter().find_map(|(_, outcome)| outcome.err());
        return Err(named(error.unwrap_or(LibraryError::EmptyFolder { path })));
    }
    let mut searched = Vec::new();
    for place in SEARCHED {
        let looked = Looked::of(places.look(&ONNXRUNTIME, place));
        if let Some(found) = looked.best() {
            return Ok(found.clone());
        }
        searched.push(looked);
    }
    Err(DiscoverError::NotFound { searched })
}

/// Looks at a file or folder that somebody named.
fn look_at_named(place: Source, path: &Path) -> Result<Looked, LibraryError> {
    let files = files::named(&ONNXRUNTIME, path)?;
    if files.is_empty() {
        return Err(LibraryError::EmptyFolder { path: path.to_owned() });
    }
    Ok(Looked::of(Sight { place, files, note: String::new() }))
}

/// Finds out what a file is.
fn examine(path: &Path, source: Source) -> Result<Found, LibraryError> {
    let library = files::read(path)?;
    if !library.exports.contains("OrtGetApiBase") {
        return Err(LibraryError::NotOnnxRuntime { path: path.to_owned() });
    }
    // Its linker was told; builds that were not are known by the name of their file.
    let told = library.versions.iter().find_map(|name| three(name.strip_prefix("VERS_")?));
    let file = std::fs::canonicalize(path).map_err(FileError::read(path))?;
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(version) = told.or_else(|| three(suffix(name, NAME)?)) else {
        return Err(LibraryError::UnknownVersion { path: path.to_owned() });
    };
    let text = version.map(|number| number.to_string()).join(".");
    if version[0] != 1 || version[1] < OLDEST_MINOR {
        return Err(LibraryError::WrongVersion { path: path.to_owned(), version: text });
    }
    let (library, build_id) = (path.to_owned(), library.build_id);
    Ok(Found { version: text, library, build_id, source })
}

/// The version in a text such as `1.32.0`.
fn three(text: &str) -> Option<Version> {
    <Version>::try_from(numbers(text, '.')?).ok()
}

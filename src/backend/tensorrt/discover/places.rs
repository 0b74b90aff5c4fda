//! Where TensorRT is looked for, and what the files there are.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::backend::library::{self as files, Places, Sight, Source, Wanted};

use super::{Looked, Sighting, library};

/// What is looked for.
pub(super) static TENSORRT: Wanted = Wanted {
    product: "TensorRT",
    names: "`libnvinfer.so.*`, `libtensorrt_rtx.so.*`",
    example: "libnvinfer.so.10",
    is_named: library::is_runtime,
    setting: "`tensorrt.library` in the spec",
    option: "--tensorrt-lib",
    variable: "TRT_PIPELINE_TENSORRT",
    // As NVIDIA's archive has it.
    below: &["lib"],
    packages: &[("tensorrt", ""), ("onnxruntime_ep_nv_tensorrt", "")],
};

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

/// The places of this process.
pub(super) fn here() -> Places {
    Places::here(&TENSORRT, NAMED.get().cloned())
}

/// Looks at one of the places that are searched.
pub(super) fn look(places: &Places, place: Source) -> Looked {
    looked(places.look(&TENSORRT, place))
}

/// What `runtime install` put into a folder.
pub fn installed(folder: &Path) -> Looked {
    looked(files::in_runtimes(&TENSORRT, folder))
}

/// The libraries in one folder of what `runtime install` made.
pub(in crate::backend) fn in_folder(folder: &Path) -> Vec<Sighting> {
    let files = files::in_folder(folder, library::is_runtime).unwrap_or_default();
    sightings(files, Source::Installed)
}

/// A place with what its files are.
fn looked(Sight { place, files, note }: Sight) -> Looked {
    Looked { place, libraries: sightings(files, place), note }
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
    let libraries = match files::named(&TENSORRT, path) {
        Ok(files) => sightings(files, place),
        Err(error) => {
            let outcome = Err(error.into());
            vec![Sighting { path: path.to_owned(), outcome, objection: None }]
        }
    };
    Looked { place, libraries, note: format!("nothing in {}", path.display()) }
}

//! Why a library cannot be used, and why none was found.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::backend::BackendError;
use crate::backend::library::FileError;
use crate::backend::tensorrt::Flavor;
use crate::backend::tensorrt::generation::{LibraryVersion, UnknownGeneration};

use super::library::known_versions;
use super::places::TENSORRT;
use super::{Found, Looked, Source};

/// Why a file is not a TensorRT library that can be used here.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LibraryError {
    /// The file is no shared library of this machine.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder without a TensorRT library.
    #[error("the folder `{}` has no `libnvinfer.so.*` and no `libtensorrt_rtx.so.*`", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A library of something else.
    #[error("`{}` is not TensorRT: it has no symbol `tensorrt_version_*`", path.display())]
    NotTensorRt {
        /// The file.
        path: PathBuf,
    },
    /// A part of TensorRT that is no builder.
    #[error("`{}` is {part}, not TensorRT itself", path.display())]
    OtherPart {
        /// The file.
        path: PathBuf,
        /// Which part, with its article.
        part: &'static str,
    },
    /// A version whose interface is not known.
    #[error("`{}` is {} {version}: {source}", path.display(), flavor.product())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The product.
        flavor: Flavor,
        /// The version.
        version: LibraryVersion,
        /// Why it is not known.
        source: UnknownGeneration,
    },
    /// The ONNX parser is a library of its own and not there.
    #[error("the ONNX parser `{name}` is not beside `{}`", runtime.display())]
    ParserMissing {
        /// The library that was found.
        runtime: PathBuf,
        /// The parser's file name.
        name: String,
    },
}

impl LibraryError {
    /// What the user can do next.
    pub fn help(&self) -> String {
        match self {
            Self::File(error) => error.help(&TENSORRT),
            Self::EmptyFolder { .. } | Self::NotTensorRt { .. } => {
                format!("name {} or the folder that holds it", TENSORRT.names)
            }
            Self::OtherPart { .. } => {
                "name `libnvinfer.so.*` or `libtensorrt_rtx.so.*`, or the folder that holds it; the \
                 other parts are found beside it"
                    .into()
            }
            Self::Unknown { .. } => format!(
                "use one of these, or another version of trt-pipeline: {}",
                known_versions()
            ),
            Self::ParserMissing { name, .. } => format!(
                "install `{name}` of the same version into the same folder; it comes with the \
                 TensorRT archive, the Python package, or the system package for ONNX parsers"
            ),
        }
    }
}

/// Why there is no TensorRT to use.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DiscoverError {
    /// A place that was named holds nothing that can be used.
    #[error("{source} (named by {})", place.phrase(&TENSORRT))]
    Named {
        /// Who named it.
        place: Source,
        /// Why it cannot be used.
        source: LibraryError,
    },
    /// A place that was named holds another TensorRT than the spec asks for.
    #[error("{} names `{}`, {} {}, but {objection}", found.source.phrase(&TENSORRT), found.runtime.display(), found.flavor.product(), found.version)]
    Unwanted {
        /// What is there.
        found: Box<Found>,
        /// What the spec asks for.
        objection: String,
    },
    /// Both products are there, and none is chosen.
    #[error("both TensorRT and TensorRT-RTX are here, and none is chosen:{}", listed(found))]
    Ambiguous {
        /// The best of each.
        found: Vec<Found>,
    },
    /// Nothing that can be used is anywhere.
    #[error("no library was found that can be used:{}", searched.iter().map(Lines).map(|lines| lines.to_string()).collect::<String>())]
    NotFound {
        /// Every place, in the order of search.
        searched: Vec<Looked>,
    },
}

fn listed(found: &[Found]) -> String {
    let line = |found: &Found| {
        let (product, place) = (found.flavor.product(), found.source.phrase(&TENSORRT));
        format!("\n  {product} {}: `{}`, from {place}", found.version, found.runtime.display())
    };
    found.iter().map(line).collect()
}

/// One place as lines of a list.
struct Lines<'a>(&'a Looked);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.0.place.phrase(&TENSORRT);
        if self.0.libraries.is_empty() {
            return write!(f, "\n  {place}: {}", self.0.note);
        }
        self.0.libraries.iter().try_for_each(|library| match &library.outcome {
            Ok(found) => {
                let (product, version) = (found.flavor.product(), found.version);
                let why = library.objection.as_deref().unwrap_or("can be used");
                write!(
                    f,
                    "\n  {place}: `{}` is {product} {version}, but {why}",
                    library.path.display()
                )
            }
            Err(error) => write!(f, "\n  {place}: {error}"),
        })
    }
}

impl DiscoverError {
    /// What the user can do next.
    pub fn help(&self) -> String {
        match self {
            Self::Named { source, .. } => source.help(),
            Self::Unwanted { .. } => {
                "change `tensorrt:` in the spec, or name a library that fits it".into()
            }
            Self::Ambiguous { .. } => {
                "say `tensorrt: { flavor: standard }` or `{ flavor: rtx }` in the spec, or name the \
                 library with --tensorrt-lib or TRT_PIPELINE_TENSORRT"
                    .into()
            }
            Self::NotFound { .. } => {
                "`trt-pipeline runtime install tensorrt-rtx` installs one that builds engines \
                 without a GPU, `runtime install tensorrt@8.6` one for data-centre GPUs; or name a \
                 library with --tensorrt-lib or TRT_PIPELINE_TENSORRT; `trt-pipeline doctor` shows \
                 what is here"
                    .into()
            }
        }
    }
}

impl DiscoverError {
    /// As the error of loading an engine: where it asks for another product, no spec does.
    pub(in super::super) fn loading(self, engine: &Path) -> BackendError {
        let Self::Unwanted { found, .. } = &self else { return self.into() };
        let (there, place) = (found.flavor, found.source.phrase(&TENSORRT));
        let wanted = match there {
            Flavor::Standard => Flavor::Rtx,
            Flavor::Rtx => Flavor::Standard,
        };
        BackendError::Unavailable {
            backend: "tensorrt".to_owned(),
            reason: format!(
                "`{}` is an engine of {wanted}, and {place} names `{}`, {there} {}",
                engine.display(),
                found.runtime.display(),
                found.version
            ),
            help: format!("name a library of {wanted} instead, or build the engine again here"),
        }
    }
}

impl From<DiscoverError> for BackendError {
    fn from(error: DiscoverError) -> Self {
        Self::Unavailable {
            backend: "tensorrt".to_owned(),
            reason: error.to_string(),
            help: error.help(),
        }
    }
}

impl From<LibraryError> for BackendError {
    fn from(error: LibraryError) -> Self {
        Self::Unavailable {
            backend: "tensorrt".to_owned(),
            reason: error.to_string(),
            help: error.help(),
        }
    }
}

//! [`TrtError`]: what a call of TensorRT came to.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::BackendError;
use crate::backend::cuda::CudaError;
use crate::onnx::proto::GraphProto;

use super::NAME;
use super::calibration::CalibrationError;
use super::handle::LibraryError;
use super::sys::Missing;
use crate::calibration::CacheError;

/// An error that TensorRT reported about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reported {
    /// Its name in C++, such as `kINVALID_CONFIG`.
    pub(super) code: &'static str,
    /// TensorRT's words.
    pub(super) message: String,
}

/// What the ONNX parser has against a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParserError {
    /// The parser's words.
    pub(super) message: String,
    /// The node's number in the graph, where it is about one.
    pub(super) node: Option<usize>,
    /// The node's name, where the library tells it.
    pub(super) name: Option<String>,
    /// The operator, where the library tells it.
    pub(super) operator: Option<String>,
}

/// Why a call of TensorRT did not do what it should.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum TrtError {
    /// The library has no such method or enumerator.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The call failed.
    #[error("{call} failed{}", words(reported))]
    Failed {
        /// The call, such as `buildSerializedNetwork`.
        call: &'static str,
        /// What was reported while it ran.
        reported: Vec<Reported>,
    },
    /// The ONNX parser refused the model.
    #[error("the ONNX parser refused the model: {}", nodes(.0))]
    Parse(Vec<ParserError>),
    /// CUDA failed.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// The library could not be used.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// Calibration had no batch to give.
    #[error("failed to calibrate: {0}")]
    Calibration(Arc<CalibrationError>),
    /// A library of plug-ins could not be used.
    #[error("failed to load the plug-in library `{}`: {reason}", path.display())]
    Plugin {
        /// The file.
        path: PathBuf,
        /// The loader's words, or TensorRT's.
        reason: String,
    },
    /// A model has not all the weights that an engine takes.
    #[error("the model has not all {of} weights of the engine: it lacks {}", list(missing))]
    MissingWeights {
        /// The names of those that it lacks.
        missing: Vec<String>,
        /// How many the engine takes.
        of: usize,
    },
    /// A run cannot be repeated as it is: where this tensor is, or how large, changes.
    #[error(
        "`{0}` is read or written on the host, or its shape depends on data: a graph would not \
         follow its changes"
    )]
    NoGraph(String),
    /// A number is more than the library's integers can hold.
    #[error("{0} does not fit the 32-bit integers that this TensorRT has")]
    TooWide(i64),
    /// The work was told to stop.
    #[error("cancelled")]
    Cancelled,
}

impl TrtError {
    /// Names the nodes that the parser of 8.6 only numbers.
    pub(super) fn with_names(mut self, graph: &GraphProto) -> Self {
        if let Self::Parse(errors) = &mut self {
            for error in errors.iter_mut().filter(|error| error.name.is_none()) {
                let Some(node) = error.node.and_then(|at| graph.node.get(at)) else { continue };
                let name = Some(node.name()).filter(|name| !name.is_empty());
                error.name = name.or(node.output.first().map(String::as_str)).map(str::to_owned);
                error.operator = Some(node.op_type().to_owned());
            }
        }
        self
    }

    /// As the error of compiling a model.
    pub(super) fn compiling(self, model: &Path) -> BackendError {
        let model = model.display().to_string();
        self.into_error("building the engine", |reason| BackendError::Compile { model, reason })
    }

    /// As an error of the backend; `whole` makes it of one that has no kind of its own there.
    pub(super) fn into_error(
        self,
        doing: &'static str,
        whole: impl FnOnce(String) -> BackendError,
    ) -> BackendError {
        match self {
            Self::Cancelled => BackendError::Cancelled,
            Self::Cuda(error) => cuda_error(&error, doing, whole),
            Self::Calibration(error) => match error.as_ref() {
                CalibrationError::Cuda(error) => cuda_error(error, "calibrating", whole),
                error => BackendError::Setting {
                    setting: "int8".to_owned(),
                    reason: with_causes(error),
                    help: error.help().unwrap_or_else(|| "calibrate with other samples".to_owned()),
                },
            },
            Self::Plugin { .. } => BackendError::Setting {
                setting: "plugins".to_owned(),
                reason: self.to_string(),
                help: "build it for this version of TensorRT (`trt-pipeline doctor` shows it); \
                       `ldd` shows which libraries it needs and does not find"
                    .to_owned(),
            },
            Self::Library(error) => BackendError::Unavailable {
                backend: NAME.to_owned(),
                reason: error.to_string(),
                help: "`trt-pipeline doctor` shows every TensorRT of this machine".to_owned(),
            },
            error if error.is_out_of_memory() => {
                BackendError::OutOfMemory { doing: doing.into(), reason: error.to_string() }
            }
            error => whole(error.to_string()),
        }
    }

    /// Whether TensorRT said that memory could not be had.
    fn is_out_of_memory(&self) -> bool {
        let says = |reported: &Reported| {
            reported.code == "kFAILED_ALLOCATION"
                || reported.message.contains("out of memory")
                || reported.message.contains("OutOfMemory")
        };
        matches!(self, Self::Failed { reported, .. } if reported.iter().any(says))
    }
}

impl From<&CacheError> for BackendError {
    fn from(error: &CacheError) -> Self {
        let help = error.help().unwrap_or("give `data` to calibrate anew").to_owned();
        let setting = "int8.cache".to_owned();
        Self::Setting { setting, reason: with_causes(error), help }
    }
}

fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A failure of CUDA as an error of the backend.
pub(super) fn cuda_error(
    error: &CudaError,
    doing: &'static str,
    whole: impl FnOnce(String) -> BackendError,
) -> BackendError {
    match error {
        CudaError::OutOfMemory { .. } => {
            BackendError::OutOfMemory { doing: doing.into(), reason: error.to_string() }
        }
        CudaError::DeviceLost { device, reason } => {
            BackendError::DeviceLost { device: *device as usize, reason: reason.clone() }
        }
        CudaError::OutOfBounds { .. } | CudaError::NoStream { .. } | CudaError::Call { .. } => {
            whole(error.to_string())
        }
        _ => BackendError::Unavailable {
            backend: NAME.to_owned(),
            reason: error.to_string(),
            help: error.help().unwrap_or("`trt-pipeline doctor` shows what is here").to_owned(),
        },
    }
}

fn words(reported: &[Reported]) -> String {
    if reported.is_empty() {
        return " without saying why (--log-level debug shows all that TensorRT says)".to_owned();
    }
    let each: Vec<String> =
        reported.iter().map(|one| format!("{} ({})", one.message, one.code)).collect();
    format!(": {}", each.join("; "))
}

/// The first few of many names.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

fn nodes(errors: &[ParserError]) -> String {
    let each = errors.iter().map(|error| {
        let place = match (&error.name, &error.operator, error.node) {
            (Some(name), Some(operator), _) => format!("node `{name}` ({operator}): "),
            (_, Some(operator), Some(node)) => format!("node {node} ({operator}): "),
            (_, _, Some(node)) => format!("node {node}: "),
            _ => String::new(),
        };
        format!("{place}{}", error.message)
    });
    each.collect::<Vec<_>>().join("; ")
}
/// Whether TensorRT's reason not to build is that a GPU it should build for lacks a type of the
/// model.
pub(in crate::backend) fn names_a_gpu_too_old(reason: &str) -> bool {
    ["HW-specific datatypes", "check_turing_op_compatibility"]
        .iter()
        .any(|part| reason.contains(part))
}

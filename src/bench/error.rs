//! [`BenchError`]: why an engine could not be measured.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::backend::{BackendError, EngineManifest};
use crate::data::DataError;
use crate::onnx::FileType;
use crate::suggest::did_you_mean;
use crate::tensor::{Shape, TensorError};

use super::endpoint::{Address, EndpointError};

const MANIFEST: &str = EngineManifest::FILE;

const NAME_THE_FOLDER: &str = "name the folder that a `build` stage made, such as build/NAME/STAGE";

/// Why an engine could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// There is nothing at that path.
    #[error("there is no file or folder `{}`", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The file or folder is something else.
    #[error("`{}` is no engine: it is {found}", path.display())]
    NotAnEngine {
        /// The file or folder.
        path: PathBuf,
        /// What it is.
        found: Found,
    },
    /// A device was named for a backend that has none.
    #[error("backend `{backend}` has no devices to choose from")]
    NoDevices {
        /// The backend that made the engine.
        backend: String,
    },
    /// CUDA graphs were asked of a backend that has none.
    #[error("backend `{backend}` has no CUDA graphs")]
    NoGraphs {
        /// The backend that made the engine.
        backend: String,
    },
    /// A shape was given for an input that is not there.
    #[error("the engine has no input `{input}`")]
    UnknownInput {
        /// The name given.
        input: String,
        /// The inputs there are.
        known: Vec<String>,
    },
    /// There is no profile of that number.
    #[error("there is no profile {profile}, the engine has {count}")]
    UnknownProfile {
        /// The number given.
        profile: usize,
        /// How many there are; they count from 0.
        count: usize,
    },
    /// A shape is not one of those the model allows.
    #[error("input `{input}` is {declared}, shape {shape} does not fit")]
    Shape {
        /// The input.
        input: String,
        /// Its axes as people write them.
        declared: String,
        /// The shape given.
        shape: Shape,
    },
    /// No profile takes the shapes.
    #[error("{profiles} not take {shapes}")]
    OutsideProfiles {
        /// The profiles that were asked, with the verb.
        profiles: String,
        /// Inputs with their shapes.
        shapes: String,
        /// What each profile takes.
        ranges: Vec<String>,
    },
    /// Nothing says what shape an input has.
    #[error("the model does not say how many axes input `{input}` has")]
    NoShape {
        /// The input.
        input: String,
    },
    /// The data has another shape than was asked for.
    #[error("array `{input}` of `{}` has shape {found}, asked for is {asked}", path.display())]
    OtherData {
        /// The data file.
        path: PathBuf,
        /// The input.
        input: String,
        /// The array's shape.
        found: Shape,
        /// The shape of the input.
        asked: Shape,
    },
    /// The backend refused or failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A data file is not what it should be.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An input does not fit in memory.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A thread could not be started.
    #[error("failed to start a thread for context {context}")]
    Thread {
        /// Which.
        context: usize,
        /// The system's answer.
        source: io::Error,
    },
    /// An engine to compare with takes other inputs.
    #[error("the engine to compare with has an input `{input}`, which the served model has not")]
    OtherEngine {
        /// Its input.
        input: String,
    },
    /// Nothing tells when the next request is due.
    #[error("failed to wait for the next request")]
    Clock {
        /// The system's answer.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("failed to write `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The endpoint could not be asked.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// An open loop ended before its first run was due.
    #[error("no run was due within {duration:?}")]
    NothingDue {
        /// How long it was.
        duration: Duration,
    },
    /// One engine takes an input that the other does not have.
    #[error("the engines do not take the same inputs: only `{}` has `{input}`", path.display())]
    OtherInputs {
        /// The engine that has it.
        path: PathBuf,
        /// The input.
        input: String,
    },
    /// It was told to stop before anything was measured.
    #[error("interrupted before the first measured run")]
    Interrupted,
}

/// What somebody took for an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A model, or a folder with one.
    Model,
    /// The engine's file without its folder.
    BareEngine,
    /// A folder without `engine.json`.
    Folder,
    /// A file of another kind, where that is known.
    File(Option<FileType>),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model => f.write_str("an ONNX model"),
            Self::BareEngine => write!(f, "the file of one, without its `{MANIFEST}`"),
            Self::Folder => write!(f, "a folder without `{MANIFEST}`"),
            Self::File(Some(known)) => known.fmt(f),
            Self::File(None) => f.write_str("a file of an unknown kind"),
        }
    }
}

impl BenchError {
    /// Whether the command line is wrong, rather than the engine or the data.
    pub fn is_usage(&self) -> bool {
        if let Self::Endpoint(error) = self {
            return error.is_usage();
        }
        matches!(
            self,
            Self::Missing { .. }
                | Self::NotAnEngine { .. }
                | Self::NoDevices { .. }
                | Self::NoGraphs { .. }
                | Self::NothingDue { .. }
                | Self::OtherInputs { .. }
                | Self::UnknownInput { .. }
                | Self::UnknownProfile { .. }
                | Self::Shape { .. }
                | Self::OutsideProfiles { .. }
                | Self::NoShape { .. }
                | Self::OtherData { .. }
                | Self::OtherEngine { .. }
        )
    }

    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NotAnEngine { found: Found::Model, .. } => {
                "a `build` stage compiles it: `trt-pipeline init` writes a spec with one, \
                 `trt-pipeline run SPEC` builds it, then measure build/NAME/STAGE"
                    .into()
            }
            Self::Missing { path } => match path.to_str().and_then(Address::with_scheme) {
                Some(url) => format!("did you mean `{url}`?"),
                None => NAME_THE_FOLDER.into(),
            },
            Self::NotAnEngine { .. } => NAME_THE_FOLDER.into(),
            Self::NoDevices { .. } => "leave out `--devices`".into(),
            Self::NoGraphs { .. } => "leave out `--graphs`".into(),
            Self::NothingDue { .. } => "raise `--rate` or `--duration`".into(),
            Self::OtherInputs { .. } => {
                "only engines of the same inputs do the same work; measure each alone".into()
            }
            Self::UnknownInput { input, known } => {
                did_you_mean(input, known.iter().map(String::as_str), "inputs")
            }
            Self::UnknownProfile { count: 0, .. } => {
                "leave out `--profile`, and give shapes with `--shapes`".into()
            }
            Self::UnknownProfile { count: 1, .. } => "the only profile is 0".into(),
            Self::UnknownProfile { count, .. } => format!("profiles are 0 to {}", count - 1),
            Self::Shape { .. } => {
                "give an extent for each axis; those with a number are fixed".into()
            }
            Self::OutsideProfiles { ranges, .. } => ranges.join("\n"),
            Self::OtherEngine { .. } => {
                "`--engine` names the engine of the model that is measured".into()
            }
            Self::NoShape { input } => format!("add `--shapes {input}=1x3x224x224`"),
            Self::OtherData { .. } => {
                "axis 0 may be smaller than the data's, the others must be equal; leave out \
                 `--shapes` to take those of the data"
                    .into()
            }
            Self::Backend(error) => return error.help(),
            Self::Data(error) => return error.help(),
            Self::Endpoint(error) => return error.help(),
            Self::Tensor(_)
            | Self::Thread { .. }
            | Self::Clock { .. }
            | Self::Write { .. }
            | Self::Interrupted => return None,
        })
    }
}

//! [`ConvertError`]: why a model of another framework did not become an ONNX model.

use std::io;
use std::path::{Path, PathBuf};

use crate::backend::BackendError;
use crate::data::DataError;
use crate::source_model::SourceModelError;

/// Why a model of another framework did not become an ONNX model.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The file is not what it should be.
    #[error(transparent)]
    Source(#[from] SourceModelError),
    /// There is no such Python.
    #[error("the Python that exports models is not there: {searched}")]
    NoPython {
        /// What was looked for, and where.
        searched: String,
    },
    /// The Python is too old.
    #[error("`{}` is Python {version}, exporting models needs 3.9 or newer", program.display())]
    OldPython {
        /// The program.
        program: PathBuf,
        /// Its version.
        version: String,
    },
    /// The program does not answer as a Python does.
    #[error("`{}` does not work as a Python: it {reason}{}", program.display(), shown(output))]
    NotPython {
        /// The program.
        program: PathBuf,
        /// What it did instead.
        reason: String,
        /// The last lines it wrote.
        output: String,
    },
    /// The program was asked for its version in vain.
    #[error("`{}` did not answer within {seconds} s when asked for its version{}", program.display(), shown(output))]
    SilentPython {
        /// The program.
        program: PathBuf,
        /// How long it was waited for.
        seconds: f64,
        /// Whether `timeout_seconds` makes that less than usual.
        is_short: bool,
        /// The last lines it wrote.
        output: String,
    },
    /// A package is not installed.
    #[error("{message}")]
    MissingPackage {
        /// The Python that lacks it.
        program: PathBuf,
        /// Its name for `pip`.
        package: String,
        /// What needs it.
        message: String,
    },
    /// The export says why it cannot be done.
    #[error("{message}{}", shown(output))]
    Refused {
        /// The sort of failure, such as `unsupported_operator`.
        kind: String,
        /// Why.
        message: String,
        /// What to do.
        help: String,
        /// The last lines it wrote.
        output: String,
    },
    /// The export ended without saying why.
    #[error("the export {ending}{}", shown(output))]
    Crashed {
        /// How it ended, such as `was killed by signal 9`.
        ending: String,
        /// The signal that killed it.
        signal: Option<i32>,
        /// Whether its memory was limited.
        is_limited: bool,
        /// The last lines it wrote.
        output: String,
    },
    /// The export did not get the memory it asked for.
    #[error(
        "the export needs more than the {limit} MiB that `memory_limit_mib` allows: {reason}{}",
        shown(output)
    )]
    OutOfMemory {
        /// The limit.
        limit: u64,
        /// How that showed.
        reason: String,
        /// The last lines it wrote.
        output: String,
    },
    /// The export did not end in time and was killed.
    #[error("the export did not end within {seconds} s and was killed{}", shown(output))]
    TimedOut {
        /// The limit.
        seconds: f64,
        /// The last lines it wrote.
        output: String,
    },
    /// The export ended well without making what it must.
    #[error("the export ended without an error, but {problem}{}", shown(output))]
    NotMade {
        /// What is missing or wrong.
        problem: String,
        /// The last lines it wrote.
        output: String,
    },
    /// The system refused to start or watch the export.
    #[error("failed to {doing} `{}`", program.display())]
    System {
        /// The verb.
        doing: &'static str,
        /// The Python.
        program: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// What the framework computed on a sample cannot be compared.
    #[error("the export's sample {case} cannot be compared: {problem}")]
    Sample {
        /// The number of the case.
        case: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A sample's file cannot be read.
    #[error("the export's sample {case} cannot be compared: {source}")]
    SampleData {
        /// The number of the case.
        case: usize,
        /// Why.
        source: DataError,
    },
    /// The exported model does not run.
    #[error("the exported model cannot be compared with its framework: {source}")]
    NotRun {
        /// The backend's words.
        source: BackendError,
    },
    /// The limits hold because there was nothing to compare.
    #[error("the exported model was not held to its framework:{}", lines(blank))]
    NothingCompared {
        /// A line for each output that no numbers were compared of.
        blank: Vec<String>,
    },
    /// The exported model computes something else.
    #[error("the exported model does not compute what its framework does:{}", lines(broken))]
    Differs {
        /// A line for each output that is too far off.
        broken: Vec<String>,
    },
}

fn lines(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("\n  {line}")).collect();
    lines.concat()
}

fn shown(output: &str) -> String {
    if output.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = output.lines().map(|line| format!("\n  | {line}")).collect();
    format!("; its last output:{}", lines.concat())
}

/// A command that installs packages into a Python.
fn install(program: &Path, packages: &str) -> String {
    let program = program.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let quote = if program.chars().all(is_plain) { "" } else { "'" };
    format!("{quote}{program}{quote} -m pip install {packages}")
}

impl ConvertError {
    /// Whether something it needs is not on this machine.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::NoPython { .. }
                | Self::OldPython { .. }
                | Self::NotPython { .. }
                | Self::SilentPython { .. }
                | Self::MissingPackage { .. }
        )
    }

    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Source(error) => return error.help(),
            Self::NoPython { .. } => "install Python 3.9 or newer with the model's framework, or name \
                 one: `python: PROGRAM`, or `venv: FOLDER` for a virtual environment"
                .into(),
            Self::SilentPython { is_short: true, .. } => {
                "raise `timeout_seconds`, or name another Python: `python: PROGRAM` or `venv: FOLDER`"
                    .into()
            }
            Self::OldPython { .. } | Self::NotPython { .. } | Self::SilentPython { .. } => {
                "name another one: `python: PROGRAM`, or `venv: FOLDER` for a virtual environment"
                    .into()
            }
            Self::MissingPackage { program, package, .. } => {
                let install = install(program, package);
                format!(
                    "run `{install}`, or name a Python that has it: `python: PROGRAM` or `venv: FOLDER`"
                )
            }
            Self::Refused { help, .. } if !help.is_empty() => help.clone(),
            Self::Crashed { signal: Some(9), .. } => {
                "the system kills programs that way when memory runs out (`dmesg` tells); end others, \
                 or use a machine with more of it"
                    .into()
            }
            Self::Crashed { signal: Some(6 | 11), is_limited: true, .. } => {
                "a library that it uses broke down, as some do when they get no memory: raise \
                 `memory_limit_mib`, or name a Python with other versions of its packages, `python: \
                 PROGRAM` or `venv: FOLDER`"
                    .into()
            }
            Self::Crashed { signal: Some(4 | 6 | 7 | 8 | 11), .. } => {
                "a library that it uses broke down: name a Python with other versions of its \
                 packages, `python: PROGRAM` or `venv: FOLDER`"
                    .into()
            }
            Self::OutOfMemory { .. } => "raise `memory_limit_mib`, or leave it out".into(),
            Self::TimedOut { .. } => "raise `timeout_seconds`, or leave it out".into(),
            Self::NotRun { source: BackendError::Cancelled } => return None,
            Self::NotRun { source: source @ BackendError::Unavailable { .. } } => {
                return source.help();
            }
            Self::NotRun { .. } => {
                "ONNX Runtime may run it: `check: { backend: onnxruntime }`".into()
            }
            Self::NothingCompared { .. } => "give inputs for which it computes numbers: `samples: \
                 FILE.npz`, or a `range:` for each of its `inputs`"
                .into(),
            Self::Differs { .. } => "where the difference is what float32 gives, raise the limit that it \
                 is over, in `check`; where it is in some samples only, the export may have fixed what \
                 depends on values or sizes, of which its warnings tell"
                .into(),
            _ => return None,
        })
    }
}

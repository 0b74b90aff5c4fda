//! Compiling, in a process of its own: `compile` starts it, [`compile_here`] is what it does.
//!
//! TensorRT may take minutes, gigabytes and, where it has a defect, the process with it. In a
//! child, cancelling, a time limit, a crash and exhausted memory are ordinary failures of one
//! stage. The two talk in JSON: a job in a file, messages line by line, the outcome in a file.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use crate::backend::cuda::{Driver, Slot};
use crate::backend::{BackendError, CompileRequest, EngineManifest};
use crate::process::{self, Ending, Job, JobError, Outcome};

use tracing::level_filters::LevelFilter;

use super::{Flavor, Options, Refit, SettingError};

mod candidates;
mod companions;
mod configure;
mod graph_types;
mod here;
mod interface;
mod job;
mod precision;
mod profiles;
mod watch;

pub use here::compile_here;
pub use job::Message;

use job::CompileJob;

/// The hidden command of this program that compiles.
pub const COMMAND: &str = "compile-tensorrt";

/// The job's file and the outcome's, in the scratch folder, and that of the node that the parser is
/// at, `NAME [OPERATOR]`.
const JOB: &str = "job.json";
const OUTCOME: &str = "outcome.json";
const NODE: &str = "node.txt";

/// Compiles in a child process.
pub(super) fn compile(request: &CompileRequest<'_>) -> Result<EngineManifest, BackendError> {
    let failed = |reason: String| BackendError::Compile {
        model: request.model.display().to_string(),
        reason,
    };
    let found = super::find(request.tensorrt)?;
    if let Some(warning) = &found.warning {
        tracing::warn!("{warning}");
    }
    if let Some(lacking) = lacking(&request.tensorrt.unsupported(found.generation, found.version)) {
        return Err(lacking);
    }
    if found.flavor == Flavor::Rtx {
        refit_without_driver(request.tensorrt)?;
    }
    found.parser()?;
    let _slot = if request.tensorrt.compute_capabilities.is_empty() {
        request.progress.report("waiting for the GPU", 0, None);
        match Slot::take(request.kept, 0, request.cancel) {
            Ok(Some(slot)) => Some(slot),
            Ok(None) => return Err(BackendError::Cancelled),
            Err(error) => return Err(failed(format!("cannot lock the GPU: {error}"))),
        }
    } else {
        None
    };
    let job = CompileJob::new(request, found);
    let (job_file, outcome_file) = (request.scratch.join(JOB), request.scratch.join(OUTCOME));
    let text = serde_json::to_vec(&job).map_err(|error| failed(error.to_string()))?;
    fs::write(&job_file, text).map_err(|error| failed(format!("cannot write the job: {error}")))?;
    let program = std::env::current_exe()
        .map_err(|error| failed(format!("cannot find this program's own file: {error}")))?;
    let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let level = LevelFilter::current().to_string();
    let arguments = [
        COMMAND.into(),
        job_file.into_os_string(),
        outcome_file.clone().into(),
        std::process::id().to_string().into(),
        "--log-level".into(),
        level.into(),
    ];
    let child = Job {
        program: &program,
        args: &arguments,
        env: &environment,
        folder: request.scratch,
        timeout: request.timeout,
        memory_limit: None,
        cancel: request.cancel,
    };
    let mut on_line = |line: &str| Message::pass_on(line, request.progress);
    let Outcome { ending, output } = process::run(&child, Some(&mut on_line)).map_err(|error| {
        let (JobError::Start(source) | JobError::Watch(source)) = error;
        failed(format!("the compiling process could not be run: {source}"))
    })?;
    match ending {
        Ending::Cancelled => Err(BackendError::Cancelled),
        Ending::TimedOut => {
            let seconds = request.timeout.unwrap_or_default().as_secs_f64();
            Err(BackendError::TimedOut { seconds })
        }
        Ending::Exited(status) => match outcome(&outcome_file) {
            Some(outcome) => outcome,
            None => Err(BackendError::Crashed {
                model: request.model.display().to_string(),
                ending: crashed(status, &request.scratch.join(NODE), &output),
            }),
        },
    }
}

/// All that the library does not have, as one error.
fn lacking(errors: &[SettingError]) -> Option<BackendError> {
    let joined = |part: fn(&SettingError) -> &str, with: &str| {
        let mut parts: Vec<&str> = errors.iter().map(part).collect();
        parts.dedup();
        parts.join(with)
    };
    (!errors.is_empty()).then(|| BackendError::Setting {
        setting: joined(|error| error.setting, "`, `"),
        reason: joined(|error| &error.reason, "; "),
        help: joined(|error| &error.help, "; "),
    })
}

/// TensorRT-RTX builds without a GPU, but engines whose weights can be exchanged it compiles with
/// the CUDA driver.
fn refit_without_driver(options: &Options) -> Result<(), BackendError> {
    match Driver::get() {
        Err(error) if options.settings.refit != Refit::None => Err(BackendError::Setting {
            setting: "tensorrt.refit".to_owned(),
            reason: format!("TensorRT-RTX makes such engines with the CUDA driver, and {error}"),
            help: "remove it, or build on a machine with an NVIDIA GPU".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What the child wrote before it ended, if it did.
fn outcome(file: &Path) -> Option<Result<EngineManifest, BackendError>> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// How the child ended without an outcome, and the last it wrote for people.
fn crashed(status: ExitStatus, node: &Path, output: &str) -> String {
    const KILL: i32 = 9;
    let hint = match status.signal() {
        Some(KILL) => ", as the system does where memory runs out",
        _ => "",
    };
    let ending = Outcome::describe(status);
    let node = fs::read_to_string(node).unwrap_or_default();
    let place = match node.trim_end().strip_suffix(']').and_then(|node| node.rsplit_once(" [")) {
        Some((name, operator)) => format!(" while it parsed node `{name}` ({operator})"),
        None => String::new(),
    };
    let lines: Vec<String> = output.lines().filter_map(Message::text).collect();
    let said = match &lines[..] {
        [] => "it wrote nothing".to_owned(),
        lines => format!("the last it wrote:\n{}", lines.join("\n")),
    };
    format!("{ending}{hint}{place}; {said}")
}

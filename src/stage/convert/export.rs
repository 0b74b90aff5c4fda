//! Has Python export a model: writes the request, runs the script, reads what came of it.
//!
//! Everything that comes back is taken for hostile: it is bounded, and believed only where it fits
//! what lies in the folder. Knows nothing of what the model computes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::artifact::{Digest, Hasher};
use crate::onnx::Model;
use crate::process::{self, Ending, Job, JobError, Listeners, Outcome};
use crate::source_model::SourceKind;
use crate::stage::{ResolvedInput, StageContext, StageError};

use super::answer::{Answer, FORMAT, on_one_line, printable, tells_of_memory};
use super::noise::without_noise;
use super::python::{Versions, environment};
use super::settings::{Exporter, NamedInput};
use super::telling::Telling;
use super::{Convert, ConvertError};

/// The scripts, by file name: those that are run, and what they import.
const SCRIPTS: [(&str, &str); 10] = [
    ("cases.py", include_str!("python/cases.py")),
    ("common.py", include_str!("python/common.py")),
    ("export_script.py", include_str!("python/export_script.py")),
    ("export_tensorflow.py", include_str!("python/export_tensorflow.py")),
    ("export_torch.py", include_str!("python/export_torch.py")),
    ("earlier_opset.py", include_str!("python/earlier_opset.py")),
    ("onnx_file.py", include_str!("python/onnx_file.py")),
    ("tensorflow_source.py", include_str!("python/tensorflow_source.py")),
    ("torch_source.py", include_str!("python/torch_source.py")),
    ("torch_symbolics.py", include_str!("python/torch_symbolics.py")),
];

/// The status with which a script ends that says why it failed.
const FAILED: i32 = 3;
const MOST_WARNINGS: usize = 20;

/// What exports a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framework {
    Torch,
    TensorFlow,
    /// The user's own script.
    Own,
}

impl Framework {
    pub(super) fn of(kind: SourceKind) -> Self {
        match kind {
            SourceKind::SavedModel | SourceKind::GraphDef | SourceKind::Keras => Self::TensorFlow,
            _ => Self::Torch,
        }
    }

    fn script(self) -> &'static str {
        match self {
            Self::Torch => "export_torch.py",
            Self::TensorFlow => "export_tensorflow.py",
            Self::Own => "export_script.py",
        }
    }

    /// Of all versions, those that can change what it exports.
    pub(super) fn versions(self, mut all: Versions) -> Versions {
        let of_others: &[&str] = match self {
            Self::Torch => &["tensorflow", "tf2onnx", "keras"],
            Self::TensorFlow => {
                &["torch", "torchvision", "transformers", "onnxscript", "safetensors"]
            }
            Self::Own => &[],
        };
        all.retain(|name, _| !of_others.contains(&name.as_str()));
        all
    }
}

/// Digest of the scripts, which decide what is exported as much as the packages do.
pub(super) fn scripts_digest() -> Digest {
    let mut hasher = Hasher::new("export scripts");
    for (name, script) in SCRIPTS {
        hasher.field(name.as_bytes());
        hasher.field(script.as_bytes());
    }
    hasher.finish()
}

/// What a script is asked for; all paths are absolute.
#[derive(Debug, Serialize)]
struct Request<'a> {
    format: u32,
    kind: Value,
    model: &'a Path,
    out: &'a Path,
    result: &'a Path,
    cases: &'a Path,
    opset: Option<u32>,
    exporter: Exporter,
    inputs: Vec<NamedInput<'a>>,
    outputs: Vec<&'a str>,
    signature: Option<&'a str>,
    module: Option<&'a Path>,
    factory: Option<&'a str>,
    arguments: &'a BTreeMap<String, Value>,
    script: Option<&'a Path>,
    samples: Option<&'a Path>,
    seed: u64,
}

/// What an export left behind.
#[derive(Debug)]
pub(super) struct Exported {
    /// The model, loaded from its folder.
    pub(super) model: Model,
    /// A folder for each sample.
    pub(super) cases: PathBuf,
    /// The exporter, in its own words.
    pub(super) exporter: String,
    pub(super) warnings: Vec<String>,
    /// What was chosen where there was a choice, such as a signature.
    pub(super) choices: BTreeMap<String, Value>,
}

impl Convert {
    /// Has a Python export the model, which is of this kind.
    pub(super) fn export(
        &self,
        framework: Framework,
        kind: Option<SourceKind>,
        program: &Path,
        cx: &StageContext<'_>,
    ) -> Result<Exported, StageError> {
        let place = |name: &str| cx.scratch.join(name);
        let (out, cases, scripts) = (place("model"), place("cases"), place("scripts"));
        for folder in [&out, &cases, &scripts, &place("work")] {
            fs::create_dir(folder).map_err(StageError::io("create", folder))?;
        }
        for (name, text) in SCRIPTS {
            let path = scripts.join(name);
            fs::write(&path, text).map_err(StageError::io("write", &path))?;
        }
        let input = |role: &str| cx.inputs.get(role).map(|input: &ResolvedInput| &*input.path);
        let result = place("result.json");
        let request = Request {
            format: FORMAT,
            kind: match framework {
                Framework::Own => Value::from("script"),
                _ => serde_json::json!(kind),
            },
            model: &cx.input("model")?.path,
            out: &out,
            result: &result,
            cases: &cases,
            opset: self.opset.as_ref().map(|opset| opset.value),
            exporter: self.exporter.value,
            inputs: self.named_inputs(),
            outputs: self.outputs.iter().map(|name| name.as_str()).collect(),
            signature: self.signature.as_ref().map(|name| name.as_str()),
            module: input("module"),
            factory: self.factory.as_ref().map(|name| name.as_str()),
            arguments: &self.arguments,
            script: input("script"),
            samples: input("samples"),
            seed: 0,
        };
        let path = place("request.json");
        super::write_json(&path, &request)?;
        let (ending, output) =
            self.run_python(program, &scripts.join(framework.script()), &path, cx)?;
        let answer = self.answer(program, ending, &result, &output)?;
        exported(answer, &out, cases, &output)
    }

    fn run_python(
        &self,
        program: &Path,
        script: &Path,
        request: &Path,
        cx: &StageContext<'_>,
    ) -> Result<(std::process::ExitStatus, String), StageError> {
        let args = ["-B".into(), "-u".into(), script.into(), request.into()];
        let args: [OsString; 4] = args;
        let folder = cx.scratch.join("work");
        let job = Job {
            program,
            args: &args,
            env: &environment(&folder),
            folder: &folder,
            timeout: self.timeout(),
            memory_limit: self.memory_limit(),
            cancel: cx.cancel,
        };
        let telling = Telling::new(cx.progress);
        let (mut on_out, mut on_err) =
            (|line: &str| telling.hear(line), |line: &str| telling.hear(line));
        let listeners = Listeners { stdout: Some(&mut on_out), stderr: Some(&mut on_err) };
        let Outcome { ending, output } = process::run_heard(&job, listeners).map_err(|error| {
            let (doing, source) = match error {
                JobError::Start(source) => ("start", source),
                JobError::Watch(source) => ("watch", source),
            };
            ConvertError::System { doing, program: program.to_owned(), source }
        })?;
        let output = without_noise(&output, cx.scratch);
        match ending {
            Ending::Cancelled => Err(StageError::Cancelled),
            Ending::TimedOut => {
                let seconds = self.timeout().unwrap_or_default().as_secs_f64();
                Err(ConvertError::TimedOut { seconds, output }.into())
            }
            Ending::Exited(status) => Ok((status, output)),
        }
    }

    /// What the script says, where it ended as it says.
    fn answer(
        &self,
        program: &Path,
        status: std::process::ExitStatus,
        result: &Path,
        output: &str,
    ) -> Result<Answer, ConvertError> {
        let limit = self.memory_limit_mib.as_ref().map(|limit| limit.value);
        let is_short = tells_of_memory(output);
        let output = || output.to_owned();
        let read = Answer::read(result);
        match (status.code(), read) {
            (Some(0 | FAILED), Ok(Answer { error: Some(refusal), .. })) => {
                Err(refusal.into_error(program, limit, output()))
            }
            (Some(0), Ok(answer)) => Ok(answer),
            (Some(0), Err(problem)) => Err(ConvertError::NotMade { problem, output: output() }),
            _ => Err(match limit.filter(|_| is_short) {
                Some(limit) => {
                    let reason = format!("it {}", Outcome::describe(status));
                    ConvertError::OutOfMemory { limit, reason, output: output() }
                }
                None => ConvertError::Crashed {
                    ending: Outcome::describe(status),
                    signal: status.signal(),
                    is_limited: limit.is_some(),
                    output: output(),
                },
            }),
        }
    }
}

/// Takes what was exported, if it is what the script says.
fn exported(
    answer: Answer,
    out: &Path,
    cases: PathBuf,
    output: &str,
) -> Result<Exported, StageError> {
    let lie = |problem: String| ConvertError::NotMade { problem, output: output.to_owned() };
    let path = out.join("model.onnx");
    if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
        return Err(lie("wrote no model.onnx".to_owned()).into());
    }
    let model = Model::load(&path)?;
    model.check()?;
    let signature = model.signature()?;
    let inputs: Vec<&str> = answer.inputs.iter().map(|input| input.name.as_str()).collect();
    let outputs: Vec<&str> = answer.outputs.iter().map(String::as_str).collect();
    for (what, said, there) in
        [("inputs", inputs, &signature.inputs), ("outputs", outputs, &signature.outputs)]
    {
        let mut there: Vec<&str> = there.iter().map(|tensor| tensor.name.as_str()).collect();
        let mut said = said;
        there.sort_unstable();
        said.sort_unstable();
        if said != there {
            let [said, there] = [said, there].map(|names| on_one_line(&names.join(", ")));
            let problem = format!("the model has the {what} [{there}], its result says [{said}]");
            return Err(lie(problem).into());
        }
    }
    let warnings = answer.warnings.iter().take(MOST_WARNINGS);
    Ok(Exported {
        model,
        cases,
        exporter: printable(&answer.exporter),
        warnings: warnings.map(|text| printable(text)).collect(),
        choices: answer.choices,
    })
}

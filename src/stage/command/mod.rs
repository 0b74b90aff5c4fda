//! `command`: any program, with declared inputs and outputs.
//!
//! Owns the settings and how they become a process and its files. Knows nothing of what the
//! program does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::artifact::ArtifactKind;
use crate::process::{self, Ending, Job, JobError, Outcome};
use crate::source::{Span, Spanned};
use crate::suggest::did_you_mean;

use super::{CheckContext, FileRef, Input, Problem, Stage, StageContext, StageError, ToolProbe};

mod error;
mod outputs;
mod placeholder;
#[cfg(test)]
mod tests;

pub use error::{CommandError, Searched};

use placeholder::{Place, fill, places};

/// Runs a program on declared inputs; the files it declares are its artifact.
///
/// The program runs in an empty scratch folder. It sees `PATH`, the declared `env`, and `HOME`
/// and `TMPDIR` set to the scratch folder. `${inputs.NAME}` and `${outputs.NAME}` stand for
/// absolute paths.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments; no shell is involved. A program without `/` is searched in
    /// `PATH`, one with `/` is relative to the spec's folder.
    pub run: Spanned<Vec<Spanned<String>>>,
    /// Files the program reads, by name: a path relative to the spec, or
    /// `{ from: stage, path: file in its artifact }`.
    #[serde(default)]
    pub inputs: IndexMap<String, Spanned<FileRef>>,
    /// Files or folders the program makes, by name: a path in this stage's artifact.
    #[serde(default)]
    pub outputs: IndexMap<String, Spanned<String>>,
    /// Environment variables for the program.
    #[serde(default)]
    pub env: IndexMap<String, Spanned<String>>,
    /// Says that the same inputs give the same bytes on every machine, so that the lock file
    /// can hold the result to it.
    #[serde(default)]
    pub deterministic: Spanned<bool>,
    /// Kills the program after this many seconds; no limit by default. Not part of the cache key.
    #[serde(default)]
    pub timeout_seconds: Option<Spanned<f64>>,
}

impl Command {
    fn program(&self) -> Option<&Spanned<String>> {
        self.run.first()
    }

    /// The program's file, where the settings alone tell it: not for `${inputs.x}`.
    fn program_file(
        &self,
        program: &str,
        spec_dir: &Path,
    ) -> Option<Result<PathBuf, CommandError>> {
        if places(program).next().is_some() {
            return None;
        }
        let path = match self.env.get("PATH") {
            Some(path) => OsString::from(path.value.clone()),
            None => std::env::var_os("PATH").unwrap_or_default(),
        };
        Some(find_program(program, spec_dir, &path))
    }

    /// The child's environment.
    fn environment(&self, cx: &StageContext<'_>) -> Vec<(OsString, OsString)> {
        let mut env: IndexMap<String, OsString> = IndexMap::from([
            ("HOME".to_owned(), cx.scratch.as_os_str().to_owned()),
            ("TMPDIR".to_owned(), cx.scratch.as_os_str().to_owned()),
            ("LANG".to_owned(), "C.UTF-8".into()),
        ]);
        if let Some(path) = std::env::var_os("PATH") {
            env.insert("PATH".to_owned(), path);
        }
        for (name, value) in &self.env {
            env.insert(name.clone(), self.fill(value, cx));
        }
        env.into_iter().map(|(name, value)| (name.into(), value)).collect()
    }

    fn fill(&self, word: &str, cx: &StageContext<'_>) -> OsString {
        fill(word, |place| match place {
            Place::Input(name) => cx.inputs.get(&input_role(name)).map(|input| input.path.clone()),
            Place::Output(name) => self.outputs.get(name).map(|path| cx.out.join(&path.value)),
        })
    }

    fn timeout(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.timeout_seconds.as_ref()?.value).ok()
    }

    fn check_words(&self, problems: &mut Vec<Problem>) {
        for word in self.run.iter().chain(self.env.values()) {
            for place in places(word) {
                let (kind, name, known) = match place {
                    Place::Input(name) if !self.inputs.contains_key(name) => {
                        ("inputs", name, self.inputs.keys().collect::<Vec<_>>())
                    }
                    Place::Output(name) if !self.outputs.contains_key(name) => {
                        ("outputs", name, self.outputs.keys().collect())
                    }
                    _ => continue,
                };
                let known = known.iter().map(|name| name.as_str());
                problems.push(Problem {
                    code: "command::unknown_placeholder",
                    message: format!("`${{{kind}.{name}}}` is not declared under `{kind}`"),
                    span: word.span,
                    label: format!("no `{name}` under `{kind}`"),
                    help: Some(did_you_mean(name, known, &format!("{kind} of this command"))),
                });
            }
            if word.contains('\0') {
                problems.push(problem(
                    "command::nul",
                    "a NUL character cannot be passed to a program",
                    word.span,
                ));
            }
        }
    }

    fn check_outputs(&self, problems: &mut Vec<Problem>) {
        let mut seen: BTreeMap<PathBuf, &str> = BTreeMap::new();
        for (name, path) in &self.outputs {
            match artifact_path(path) {
                Err(reason) => problems.push(Problem {
                    help: Some("a path such as `out.txt` or `folder/out.txt`".into()),
                    ..problem(
                        "command::output_path",
                        format!("output `{name}` has the path `{path}`, which {reason}"),
                        path.span,
                    )
                }),
                Ok(normal) => {
                    if let Some(other) = seen.insert(normal, name) {
                        problems.push(problem(
                            "command::duplicate_output",
                            format!("outputs `{other}` and `{name}` have the same path `{path}`"),
                            path.span,
                        ));
                    }
                }
            }
        }
    }
}

fn problem(code: &'static str, message: impl Into<String>, span: Span) -> Problem {
    Problem { code, message: message.into(), span, label: "here".into(), help: None }
}

fn input_role(name: &str) -> String {
    format!("inputs.{name}")
}

/// A path inside an artifact without its `.` parts, or why it is none.
fn artifact_path(path: &str) -> Result<PathBuf, &'static str> {
    let mut normal = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => normal.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err("leads out of the artifact with `..`"),
            Component::RootDir | Component::Prefix(_) => return Err("is absolute"),
        }
    }
    if path.contains('\0') {
        return Err("contains a NUL character");
    }
    if normal.as_os_str().is_empty() { Err("names no file") } else { Ok(normal) }
}

/// Finds the file of a program: in `path`, or relative to `spec_dir` where it contains a `/`.
pub(super) fn find_program(
    program: &str,
    spec_dir: &Path,
    path: &std::ffi::OsStr,
) -> Result<PathBuf, CommandError> {
    let not_found =
        |searched| Err(CommandError::NotFound { program: program.to_owned(), searched });
    if program.contains('/') {
        let file = spec_dir.join(program);
        return if file.exists() { Ok(file) } else { not_found(Searched::File(file)) };
    }
    // A relative folder in PATH would mean another place for us than for the program.
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|file| {
            file.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
        .map_or_else(|| not_found(Searched::Path(path.to_string_lossy().into_owned())), Ok)
}

impl Stage for Command {
    fn kind(&self) -> &'static str {
        "command"
    }

    fn version(&self) -> u32 {
        1
    }

    fn makes(&self) -> ArtifactKind {
        ArtifactKind::Files
    }

    fn inputs(&self) -> Vec<Input> {
        self.inputs.iter().map(|(name, file)| Input::data(input_role(name), file)).collect()
    }

    fn settings(&self) -> serde_json::Value {
        let mut settings = serde_json::json!({ "run": self.run });
        if !self.outputs.is_empty() {
            settings["outputs"] = serde_json::json!(self.outputs);
        }
        if !self.env.is_empty() {
            settings["env"] = serde_json::json!(self.env);
        }
        settings
    }

    fn tools(&self, probe: &dyn ToolProbe) -> Result<BTreeMap<String, String>, StageError> {
        let Some(program) = self.program() else { return Ok(BTreeMap::new()) };
        let search = || self.program_file(program, probe.spec_dir());
        // A search path of the command's own finds other programs under the same names.
        let known = if self.env.contains_key("PATH") {
            None
        } else {
            probe.program(program, &|| search().and_then(Result::ok))
        };
        let file = match known {
            Some(file) => file,
            None => match search() {
                Some(file) => file?,
                None => return Ok(BTreeMap::new()),
            },
        };
        let digest = probe.file_digest(&file).map_err(StageError::io("read", &file))?;
        Ok(BTreeMap::from([("program".to_owned(), digest.to_string())]))
    }

    fn declared_files(&self) -> Option<Vec<&str>> {
        Some(self.outputs.values().map(|path| path.value.as_str()).collect())
    }

    fn deterministic(&self, _tools: &BTreeMap<String, String>) -> bool {
        self.deterministic.value
    }

    fn check(&self, _cx: &CheckContext<'_>) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.program().is_none_or(|program| program.is_empty()) {
            problems.push(Problem {
                help: Some(
                    "write the program and its arguments: `run: [\"tool\", \"arg\"]`".into(),
                ),
                ..problem("command::empty_run", "`run` names no program", self.run.span)
            });
        }
        self.check_words(&mut problems);
        self.check_outputs(&mut problems);
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                problems.push(problem(
                    "command::env_name",
                    format!("`{name}` cannot be the name of an environment variable"),
                    value.span,
                ));
            }
        }
        if let Some(seconds) = &self.timeout_seconds
            && !(seconds.value > 0.0 && self.timeout().is_some())
        {
            problems.push(problem(
                "command::timeout",
                format!("`timeout_seconds` is {seconds}, expected a number above 0"),
                seconds.span,
            ));
        }
        problems
    }

    fn run(&self, cx: &StageContext<'_>) -> Result<(), StageError> {
        if cx.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        let Some(program) = self.program() else {
            return Err(StageError::Setting {
                message: "`run` names no program".into(),
                span: self.run.span,
                help: None,
            });
        };
        let file = match self.program_file(program, cx.spec_dir) {
            Some(file) => file?,
            None => PathBuf::from(self.fill(program, cx)),
        };
        outputs::prepare(self, cx.out)?;
        let args: Vec<OsString> = self.run[1..].iter().map(|word| self.fill(word, cx)).collect();
        let env = self.environment(cx);
        cx.progress.report("run", 0, None);
        let job = Job {
            program: &file,
            args: &args,
            env: &env,
            folder: cx.scratch,
            timeout: self.timeout(),
            memory_limit: None,
            cancel: cx.cancel,
        };
        let name = program.value.clone();
        let Outcome { ending, output } = process::run(&job, None).map_err(|error| match error {
            JobError::Start(source) => start_error(&name, &file, source),
            JobError::Watch(source) => {
                CommandError::System { doing: "watch", program: name.clone(), source }
            }
        })?;
        match ending {
            Ending::Cancelled => return Err(StageError::Cancelled),
            Ending::TimedOut => {
                let seconds = self.timeout().unwrap_or_default().as_secs_f64();
                return Err(CommandError::TimedOut { program: name, seconds, output }.into());
            }
            Ending::Exited(status) if !status.success() => {
                let ending = Outcome::describe(status);
                return Err(CommandError::Failed { program: name, ending, output }.into());
            }
            Ending::Exited(_) => {}
        }
        outputs::collect(self, &name, cx.out, &output)
    }
}

fn start_error(program: &str, file: &Path, source: std::io::Error) -> CommandError {
    let not_executable = matches!(source.kind(), std::io::ErrorKind::PermissionDenied)
        || source.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error());
    if not_executable {
        return CommandError::NotExecutable { path: file.to_owned(), source };
    }
    if source.kind() == std::io::ErrorKind::NotFound && !file.exists() {
        let searched = Searched::File(file.to_owned());
        return CommandError::NotFound { program: program.to_owned(), searched };
    }
    // A file that is there and "not found" is a script whose interpreter is missing.
    CommandError::System { doing: "start", program: program.to_owned(), source }
}

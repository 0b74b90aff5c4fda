//! The Python that exports models: which one, and the versions of it and its packages.
//!
//! Knows nothing of what is exported.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::artifact::{Digest, FileStat, Hasher};
use crate::process::{self, CancelToken, Ending, Job, JobError, Outcome};
use crate::source::Span;
use crate::stage::command::find_program;
use crate::stage::{StageContext, StageError, ToolProbe};

use super::{Convert, ConvertError};

/// How long Python may take to tell its versions, where the settings do not give it less.
const PATIENCE: Duration = Duration::from_mins(1);
/// The oldest Python that the scripts run on.
const OLDEST: [u32; 2] = [3, 9];

const VERSIONS: &str = include_str!("python/versions.py");
/// The folders that packages are imported from, before the versions.
const FOLDERS: &str = "import json, sys\nprint(json.dumps([path for path in sys.path if path]))\n";
/// Any Python answers this one.
const VERSION: &str = "import sys\nprint('%d.%d.%d' % tuple(sys.version_info[:3]))\n";

/// Under this name a Python's versions are kept.
const MEMO: &str = "python-versions";

/// The version of Python, as `python`, and of the packages that it has, by name.
pub(super) type Versions = BTreeMap<String, String>;

/// The child's whole environment: no network for model hubs, no GPU, nothing of the user's settings
/// for Python.
pub(super) fn environment(scratch: &Path) -> Vec<(OsString, OsString)> {
    let kept = ["PATH", "HOME"]
        .into_iter()
        .filter_map(|name| Some((OsString::from(name), env::var_os(name)?)));
    let fixed = [
        ("LANG", "C.UTF-8"),
        ("HF_HUB_OFFLINE", "1"),
        ("TRANSFORMERS_OFFLINE", "1"),
        ("HF_DATASETS_OFFLINE", "1"),
        ("CUDA_VISIBLE_DEVICES", "-1"),
        ("TF_CPP_MIN_LOG_LEVEL", "1"),
        ("PYTHONSAFEPATH", "1"),
        ("PYTHONHASHSEED", "0"),
    ];
    let fixed = fixed.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let scratch = (OsString::from("TMPDIR"), scratch.as_os_str().to_owned());
    kept.chain(fixed).chain([scratch]).collect()
}

impl Convert {
    /// The program that the settings name.
    pub(super) fn python(&self, spec_dir: &Path) -> Result<PathBuf, ConvertError> {
        if let Some(venv) = &self.venv {
            let program = spec_dir.join(&venv.value).join("bin/python");
            return if program.is_file() {
                Ok(program)
            } else {
                let searched = format!("there is no `{}`", program.display());
                Err(ConvertError::NoPython { searched })
            };
        }
        // Without the `.` of `./python`.
        let plain = |path: PathBuf| path.components().collect::<PathBuf>();
        let name = self.python.as_ref().map_or("python3", |python| python.as_str());
        let path = env::var_os("PATH").unwrap_or_default();
        let program = find_program(name, spec_dir, &path).map(plain).map_err(|error| {
            let searched = if name.contains('/') {
                error.to_string()
            } else {
                format!("{error}, which is {}", path.display())
            };
            ConvertError::NoPython { searched }
        })?;
        // A pipe would be waited for.
        if !program.is_file() {
            let searched = format!("`{}` is not a regular file", program.display());
            return Err(ConvertError::NoPython { searched });
        }
        Ok(program)
    }

    /// The versions of the Python that the settings name, as far as possible from memory.
    pub(super) fn versions(&self, probe: &dyn ToolProbe) -> Result<Versions, StageError> {
        self.known_versions(probe).map_err(|error| self.placed(error))
    }

    fn known_versions(&self, probe: &dyn ToolProbe) -> Result<Versions, StageError> {
        let program = self.python(probe.spec_dir())?;
        let key = identity(&program);
        let remembered = key.as_ref().and_then(|key| probe.remembered(MEMO, key));
        if let Some(answer) =
            remembered.and_then(|fact| serde_json::from_value::<Answer>(fact).ok())
            && answer.folders.iter().all(|(folder, stat)| stat_of(folder) == *stat)
        {
            return Ok(recent(&program, answer.versions)?);
        }
        let answer = ask(&program, &self.bounds(probe.cancel()))?;
        if let (Some(key), Ok(fact)) = (key, serde_json::to_value(&answer)) {
            probe.remember(MEMO, &key, &fact);
        }
        Ok(recent(&program, answer.versions)?)
    }

    /// The Python that the settings name, and its versions, asked now.
    pub(super) fn versions_now(
        &self,
        cx: &StageContext<'_>,
    ) -> Result<(PathBuf, Versions), StageError> {
        cx.progress.report("asking Python for its versions", 0, None);
        let ask = |program: PathBuf| -> Result<_, StageError> {
            let versions = ask(&program, &self.bounds(cx.cancel))?.versions;
            let versions = recent(&program, versions)?;
            Ok((program, versions))
        };
        let program = self.python(cx.spec_dir).map_err(StageError::from);
        program.and_then(ask).map_err(|error| self.placed(error))
    }

    /// The setting that names the Python.
    pub(super) fn python_span(&self) -> Option<Span> {
        self.venv.as_ref().or(self.python.as_ref()).map(|named| named.span)
    }

    fn bounds<'a>(&self, cancel: &'a CancelToken) -> Bounds<'a> {
        Bounds {
            patience: self.timeout().map_or(PATIENCE, |limit| limit.min(PATIENCE)),
            memory_limit: self.memory_limit(),
            cancel,
        }
    }
}

/// What holds for a Python that is asked.
struct Bounds<'a> {
    patience: Duration,
    memory_limit: Option<u64>,
    cancel: &'a CancelToken,
}

/// What a Python said, and the folders of packages as they were then.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    folders: Vec<(PathBuf, String)>,
    versions: Versions,
}

/// All that tells one Python from another, but for its packages: the program and its virtual
/// environment by stat, the home folder, and what is asked. `None` for a script, which may start any
/// Python.
fn identity(program: &Path) -> Option<Digest> {
    let mut magic = [0; 4];
    File::open(program).ok()?.read_exact(&mut magic).ok()?;
    if magic != *b"\x7fELF" {
        return None;
    }
    let mut hasher = Hasher::new(MEMO);
    hasher.field(program.as_os_str().as_encoded_bytes());
    hasher.field(stat_of(program).as_bytes());
    hasher.field(stat_of(&program.parent()?.join("../pyvenv.cfg")).as_bytes());
    hasher.field(env::var_os("HOME").unwrap_or_default().as_encoded_bytes());
    hasher.field(VERSIONS.as_bytes());
    Some(hasher.finish())
}

fn stat_of(path: &Path) -> String {
    match fs::metadata(path) {
        Ok(metadata) => format!("{:?}", FileStat::of(&metadata)),
        Err(_) => "absent".to_owned(),
    }
}

/// The versions, if Python itself is new enough.
fn recent(program: &Path, versions: Versions) -> Result<Versions, ConvertError> {
    let python = versions.get("python").map_or("", String::as_str);
    let mut numbers = python.split('.').map_while(|part| part.parse::<u32>().ok());
    let version = [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)];
    if version < OLDEST {
        let (program, version) = (program.to_owned(), python.to_owned());
        return Err(ConvertError::OldPython { program, version });
    }
    Ok(versions)
}

/// Asks a Python for its versions.
fn ask(program: &Path, bounds: &Bounds<'_>) -> Result<Answer, StageError> {
    let failure = match run(program, &format!("{FOLDERS}{VERSIONS}"), bounds) {
        Ok(lines) => match answer(&lines) {
            Some(answer) => return Ok(answer),
            None => ConvertError::NotPython {
                program: program.to_owned(),
                reason: "answered something else than its versions".to_owned(),
                output: String::new(),
            }
            .into(),
        },
        Err(error) if error.is_timeout() || bounds.cancel.is_cancelled() => return Err(error),
        Err(error) => error,
    };
    // One that is too old stumbles over the question.
    if let Ok(lines) = run(program, VERSION, bounds)
        && let [version] = lines.as_slice()
        && version.split('.').all(|part| part.parse::<u32>().is_ok())
    {
        recent(program, Versions::from([("python".to_owned(), version.clone())]))?;
    }
    Err(failure)
}

fn answer(lines: &[String]) -> Option<Answer> {
    let [folders, versions] = lines else { return None };
    let folders: Vec<PathBuf> = serde_json::from_str(folders).ok()?;
    let versions: BTreeMap<String, Option<String>> = serde_json::from_str(versions).ok()?;
    let stated = |folder: PathBuf| (folder.clone(), stat_of(&folder));
    Some(Answer {
        folders: folders.into_iter().map(stated).collect(),
        versions: versions.into_iter().filter_map(|(name, it)| Some((name, it?))).collect(),
    })
}

/// The first lines that a Python prints when it runs a text.
fn run(program: &Path, text: &str, bounds: &Bounds<'_>) -> Result<Vec<String>, StageError> {
    let &Bounds { patience, memory_limit, cancel } = bounds;
    let failed = |reason: String, output: String| {
        let program = program.to_owned();
        StageError::from(ConvertError::NotPython { program, reason, output })
    };
    let folder = tempfile::tempdir()
        .map_err(|error| failed(format!("has no folder to run in: {error}"), String::new()))?;
    let job = Job {
        program,
        args: &["-B", "-u", "-c", text].map(OsString::from),
        env: &environment(folder.path()),
        folder: folder.path(),
        timeout: Some(patience),
        memory_limit,
        cancel,
    };
    let mut lines: Vec<String> = Vec::new();
    let mut keep = |line: &str| {
        if lines.len() < 3 {
            lines.push(line.to_owned());
        }
    };
    match process::run(&job, Some(&mut keep)) {
        Err(JobError::Start(error)) => {
            Err(failed(format!("cannot be run: {error}"), String::new()))
        }
        Err(JobError::Watch(error)) => Err(failed(format!("was lost: {error}"), String::new())),
        Ok(Outcome { ending: Ending::Exited(status), .. }) if status.success() => Ok(lines),
        Ok(Outcome { ending: Ending::Exited(status), output }) => {
            Err(failed(Outcome::describe(status), output))
        }
        Ok(Outcome { ending: Ending::Cancelled, .. }) => Err(StageError::Cancelled),
        Ok(Outcome { ending: Ending::TimedOut, output }) => {
            let (program, seconds) = (program.to_owned(), patience.as_secs_f64());
            let is_short = patience < PATIENCE;
            Err(ConvertError::SilentPython { program, seconds, is_short, output }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::LazyLock;

    use super::*;
    use crate::stage::FailureClass;

    fn bounds(patience: Duration) -> Bounds<'static> {
        static NEVER: LazyLock<CancelToken> = LazyLock::new(CancelToken::default);
        Bounds { patience, memory_limit: None, cancel: &NEVER }
    }

    fn script(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("python3");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_real_python_tells_its_version_and_where_its_packages_are() {
        let path = env::var_os("PATH").unwrap();
        let program = find_program("python3", Path::new("/"), &path).unwrap();
        let answer = ask(&program, &bounds(PATIENCE)).unwrap();
        assert!(answer.versions["python"].starts_with("3."), "{answer:?}");
        assert!(answer.folders.iter().any(|(folder, _)| folder.is_dir()), "{answer:?}");
    }

    #[test]
    fn a_python_that_is_too_old_is_told_by_its_version_even_where_it_cannot_read_the_question() {
        let folder = tempfile::tempdir().unwrap();
        let old = "#!/bin/sh\ncase \"$4\" in *metadata*) echo SyntaxError >&2; exit 1;; esac\necho 2.7.18\n";
        let program = script(folder.path(), old);
        let error = ask(&program, &bounds(PATIENCE)).unwrap_err();
        assert!(
            error.to_string().ends_with("is Python 2.7.18, exporting models needs 3.9 or newer"),
            "{error}"
        );
        assert_eq!(error.class(), FailureClass::Unavailable);
    }

    #[test]
    fn a_program_that_fails_lies_or_hangs_is_no_python() {
        let dir = tempfile::tempdir().unwrap();
        let ask = |text: &str, patience| {
            // A new folder each: a file that was just run cannot be written.
            let folder = tempfile::tempdir_in(dir.path()).unwrap();
            let program = script(folder.path(), text);
            ask(&program, &bounds(patience)).unwrap_err().to_string()
        };
        let fails = ask("#!/bin/sh\necho no home >&2\nexit 3\n", PATIENCE);
        assert!(
            fails.ends_with("it exited with status 3; its last output:\n  | no home"),
            "{fails}"
        );
        let lies = ask("#!/bin/sh\necho '[]'\necho '[]'\n", PATIENCE);
        assert!(lies.ends_with("it answered something else than its versions"), "{lies}");
        let asked = dir.path().join("asked");
        let silent = format!("#!/bin/sh\necho >>{}\nexec sleep 600\n", asked.display());
        let hangs = ask(&silent, Duration::from_secs(1));
        assert!(hangs.contains("did not answer within 1 s when asked for its version"), "{hangs}");
        assert_eq!(fs::read_to_string(asked).unwrap(), "\n", "it is asked once");
    }

    #[test]
    fn a_script_is_asked_each_time_and_a_program_is_known_by_its_stat() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(identity(&script(folder.path(), "#!/bin/sh\n")), None);
        let program = folder.path().join("python");
        fs::write(&program, b"\x7fELF one").unwrap();
        let before = identity(&program);
        assert!(before.is_some());
        fs::write(&program, b"\x7fELF other").unwrap();
        assert_ne!(identity(&program), before);
    }
}

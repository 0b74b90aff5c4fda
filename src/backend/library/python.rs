//! The `python3` in `PATH`: where its packages are. Asked once, and not again while its file is the
//! same.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::artifact::FileStat;
use crate::process::{self, CancelToken, Ending, Job, JobError, Outcome};

/// How long Python may take to say where its packages are.
const PATIENCE: Duration = Duration::from_secs(20);

/// What Python is asked. A package's own code is not run, apart from what its installation put
/// into `.pth` files.
const QUESTION: &str = r#"
import json, os, platform, site, sys
folders = site.getsitepackages()
if sys.prefix == sys.base_prefix:
    folders.append(site.getusersitepackages())
folders = [folder for folder in dict.fromkeys(folders) if os.path.isdir(folder)]
print(json.dumps({"version": platform.python_version(), "folders": folders}))
"#;

/// A Python and the folders of its packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Python {
    /// The program, as `PATH` leads to it.
    pub program: PathBuf,
    /// Its version.
    pub version: String,
    /// The folders of its packages, in the order of search.
    pub folders: Vec<PathBuf>,
}

impl Python {
    /// Whether a package (by the name of its folder) is installed.
    pub fn has(&self, package: &str) -> bool {
        self.folders.iter().any(|folder| folder.join(package).is_dir())
    }
}

/// Why Python's packages are not known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PythonError {
    /// None is in `PATH`.
    #[error("there is no python3 in PATH")]
    Missing,
    /// It did not answer.
    #[error("`{} -I` {reason}", program.display())]
    NoAnswer {
        /// The program.
        program: PathBuf,
        /// What it did instead.
        reason: String,
    },
}

/// The `python3` in `PATH`.
///
/// # Errors
/// There is none, or it does not say where its packages are.
pub fn python() -> Result<Python, PythonError> {
    static ANSWER: OnceLock<Result<Python, PythonError>> = OnceLock::new();
    ANSWER
        .get_or_init(|| {
            let program = program_in_path("python3").ok_or(PythonError::Missing)?;
            let memory = memory_file();
            if let Some(known) = memory.as_deref().and_then(|file| remembered(file, &program)) {
                return Ok(known);
            }
            let python = ask(&program, PATIENCE)?;
            if let Some(file) = memory {
                remember(&file, &python);
            }
            Ok(python)
        })
        .clone()
}

/// The file that a shell would run.
pub(in crate::backend) fn program_in_path(name: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        fs::metadata(path)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(is_program)
}

/// Runs a Python and reads its answer.
fn ask(program: &Path, patience: Duration) -> Result<Python, PythonError> {
    let failed = |reason: String| PythonError::NoAnswer { program: program.to_owned(), reason };
    let folder = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let env: Vec<_> = env::vars_os().collect();
    let job = Job {
        program,
        args: &["-I", "-c", QUESTION].map(OsString::from),
        env: &env,
        folder: &folder,
        timeout: Some(patience),
        memory_limit: None,
        cancel: &CancelToken::default(),
    };
    let mut answer = String::new();
    let outcome = process::run(&job, Some(&mut |line| line.clone_into(&mut answer)));
    match outcome {
        Err(JobError::Start(error)) => return Err(failed(format!("cannot be run: {error}"))),
        Err(JobError::Watch(error)) => return Err(failed(format!("was lost: {error}"))),
        Ok(Outcome { ending: Ending::Exited(status), .. }) if status.success() => {}
        Ok(Outcome { ending: Ending::Exited(status), .. }) => {
            return Err(failed(Outcome::describe(status)));
        }
        Ok(Outcome { ending: Ending::TimedOut | Ending::Cancelled, .. }) => {
            return Err(failed(format!("did not answer within {} s", patience.as_secs())));
        }
    }
    let answer: Answer = serde_json::from_str(&answer)
        .map_err(|_| failed("answered something else than was asked".to_owned()))?;
    Ok(Python { program: program.to_owned(), version: answer.version, folders: answer.folders })
}

/// What [`QUESTION`] prints.
#[derive(Debug, Deserialize)]
struct Answer {
    version: String,
    folders: Vec<PathBuf>,
}

/// An answer, and what it was true for.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    format: u32,
    identity: Vec<String>,
    python: Python,
}

const FORMAT: u32 = 1;

/// Where the last answer is kept; `None` where there is no folder for such things.
fn memory_file() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache")))?;
    Some(cache.join("trt-pipeline/python.json"))
}

/// Everything that an answer depends on: the program and its virtual environment, by stat, and the
/// home folder. `None` for a script, which may start any Python.
fn identity(program: &Path) -> Option<Vec<String>> {
    let mut magic = [0; 4];
    File::open(program).ok()?.read_exact(&mut magic).ok()?;
    if magic != *b"\x7fELF" {
        return None;
    }
    let stat = |path: &Path| match fs::metadata(path) {
        Ok(metadata) => format!("{:?}", FileStat::of(&metadata)),
        Err(_) => "absent".to_owned(),
    };
    let environment = program.parent()?.join("../pyvenv.cfg");
    let home = env::var_os("HOME").unwrap_or_default();
    Some(vec![
        program.to_str()?.to_owned(),
        stat(program),
        stat(&environment),
        home.to_string_lossy().into_owned(),
    ])
}

fn remembered(file: &Path, program: &Path) -> Option<Python> {
    let memory: Memory = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    (memory.format == FORMAT && memory.identity == identity(program)?).then_some(memory.python)
}

/// Keeps an answer. Losing it costs time only, so nothing here fails.
fn remember(file: &Path, python: &Python) {
    let write = || -> Option<()> {
        let memory =
            Memory { format: FORMAT, identity: identity(&python.program)?, python: python.clone() };
        let folder = file.parent()?;
        fs::create_dir_all(folder).ok()?;
        let mut temporary = tempfile::NamedTempFile::new_in(folder).ok()?;
        temporary.write_all(&serde_json::to_vec(&memory).ok()?).ok()?;
        temporary.persist(file).ok()?;
        Some(())
    };
    if write().is_none() {
        tracing::debug!("what Python said is not kept in `{}`", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of this text.
    fn script(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("python3");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_answer_of_a_real_python_names_folders_that_exist() {
        let python = ask(&program_in_path("python3").unwrap(), PATIENCE).unwrap();
        assert!(python.version.starts_with("3."), "{python:?}");
        assert!(!python.folders.is_empty() && python.folders.iter().all(|f| f.is_dir()));
        assert!(!python.has("no_such_package"));
    }

    #[test]
    fn a_python_that_fails_lies_or_hangs_is_told_from_one_that_answers() {
        let dir = tempfile::tempdir().unwrap();
        let ask = |text: &str, patience| {
            // A new folder each: a file that was just run cannot be written.
            let folder = tempfile::tempdir_in(dir.path()).unwrap();
            ask(&script(folder.path(), text), patience).unwrap_err().to_string()
        };
        let ends = ask("#!/bin/sh\nexit 3\n", PATIENCE);
        assert!(ends.ends_with("exited with status 3"), "{ends}");
        let lies = ask("#!/bin/sh\necho '[]'\n", PATIENCE);
        assert!(lies.ends_with("answered something else than was asked"), "{lies}");
        let hangs = ask("#!/bin/sh\nexec sleep 60\n", Duration::from_millis(200));
        assert!(hangs.ends_with("did not answer within 0 s"), "{hangs}");
    }

    #[test]
    fn an_answer_is_remembered_for_the_same_program_only() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("python3");
        fs::write(&program, b"\x7fELF one").unwrap();
        let python = Python {
            program: program.clone(),
            version: "3.99.0".to_owned(),
            folders: vec![dir.path().to_owned()],
        };
        let file = dir.path().join("deep/python.json");
        remember(&file, &python);
        assert_eq!(remembered(&file, &program), Some(python.clone()));
        fs::write(dir.path().join("../pyvenv.cfg"), "").ok();
        fs::write(&program, b"\x7fELF other").unwrap();
        assert_eq!(remembered(&file, &program), None, "the program changed");
        fs::write(&file, b"{").unwrap();
        assert_eq!(remembered(&file, &program), None, "the file is damaged");
    }

    #[test]
    fn a_script_is_asked_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let program = script(dir.path(), "#!/bin/sh\nexec python3 \"$@\"\n");
        assert_eq!(identity(&program), None);
    }
}

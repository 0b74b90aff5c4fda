//! Packages through pip: downloaded, and held to their SHA-256.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::backend::library::program_in_path;
use crate::process::{self, CancelToken, Ending, Job, JobError, Outcome};
use crate::progress::Progress;

use super::catalog::Wheel;
use super::error::InstallError;

/// Where downloads arrive.
pub(super) const INCOMING: &str = "incoming";
/// How often a running download is measured.
const BEAT: Duration = Duration::from_millis(250);

/// Python's installer.
#[derive(Debug)]
pub struct Pip {
    pub(super) python: PathBuf,
}

impl Pip {
    /// That of the `python3` in `PATH`, to download packages for this machine.
    ///
    /// # Errors
    /// There are no packages for this machine, there is no Python, or it has no pip.
    pub fn find() -> Result<Self, InstallError> {
        if std::env::consts::ARCH != "x86_64" {
            return Err(InstallError::WrongMachine);
        }
        let python = program_in_path("python3").ok_or(InstallError::NoPython)?;
        let pip = Self { python };
        let folder = std::env::temp_dir();
        let asked = pip.run(&["--version"], &folder, &folder, &CancelToken::default());
        match asked {
            Ok(Outcome { ending: Ending::Exited(status), .. }) if status.success() => Ok(pip),
            _ => Err(InstallError::NoPip { python: pip.python }),
        }
    }

    /// Runs `python3 -m pip` in a folder that has no Python files, with its temporary files in
    /// `temporary`.
    fn run(
        &self,
        args: &[&str],
        folder: &Path,
        temporary: &Path,
        cancel: &CancelToken,
    ) -> Result<Outcome, JobError> {
        let args: Vec<OsString> = ["-m", "pip"].iter().chain(args).map(OsString::from).collect();
        let env: Vec<_> = std::env::vars_os()
            .filter(|(name, _)| name != "TMPDIR")
            .chain([("TMPDIR".into(), temporary.into())])
            .collect();
        let job = Job {
            program: &self.python,
            args: &args,
            env: &env,
            folder,
            timeout: None,
            memory_limit: None,
            cancel,
        };
        process::run(&job, None)
    }

    /// Downloads a package and checks it, unless that was done before; gives its file.
    pub(super) fn download(
        &self,
        wheel: &Wheel,
        partial: &Path,
        progress: &dyn Progress,
        cancel: &CancelToken,
    ) -> Result<PathBuf, InstallError> {
        let kept = partial.join(wheel.file);
        if kept.exists() {
            match check(wheel, &kept, progress, cancel) {
                Err(InstallError::Digest { .. }) => {}
                other => return other.map(|()| kept),
            }
        }
        let incoming = partial.join(INCOMING);
        // What a killed process left is of no use.
        let _ = fs::remove_dir_all(&incoming);
        let temporary = incoming.join("tmp");
        fs::create_dir_all(&temporary).map_err(InstallError::io("create", &temporary))?;
        let outcome = measured(wheel, &incoming, progress, || {
            let target = incoming.to_string_lossy();
            let args = [
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--no-cache-dir",
                "--no-input",
                "--disable-pip-version-check",
                "--progress-bar=off",
                "--python-version",
                wheel.python,
                "--platform",
                wheel.platform,
                "--dest",
                &target,
                wheel.package,
            ];
            self.run(&args, &incoming, &temporary, cancel)
        });
        let failed = |ending: String, output: String| InstallError::Download {
            package: wheel.package,
            ending,
            output,
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(JobError::Start(error)) => {
                return Err(failed(format!("could not be started ({error})"), String::new()));
            }
            Err(JobError::Watch(error)) => {
                return Err(failed(format!("was lost ({error})"), String::new()));
            }
        };
        let file = incoming.join(wheel.file);
        match outcome.ending {
            Ending::Cancelled => return Err(InstallError::Cancelled { kept: None }),
            Ending::Exited(status) if status.success() && file.exists() => {}
            Ending::Exited(status) => {
                return Err(failed(Outcome::describe(status), outcome.output));
            }
            Ending::TimedOut => return Err(failed("took too long".to_owned(), outcome.output)),
        }
        check(wheel, &file, progress, cancel)?;
        fs::rename(&file, &kept).map_err(InstallError::io("move", &file))?;
        let _ = fs::remove_dir_all(&incoming);
        Ok(kept)
    }
}

/// Does something while the growth of a folder is reported.
fn measured<T>(
    wheel: &Wheel,
    folder: &Path,
    progress: &dyn Progress,
    work: impl FnOnce() -> T,
) -> T {
    let (done, over) = channel::<()>();
    let phase = &format!("downloading {}", wheel.package);
    progress.report(phase, 0, Some(wheel.bytes));
    std::thread::scope(|scope| {
        let watch = move || {
            while over.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                progress.report(phase, size_of_tree(folder).min(wheel.bytes), Some(wheel.bytes));
            }
        };
        let watching =
            std::thread::Builder::new().name("download".to_owned()).spawn_scoped(scope, watch);
        if let Err(error) = watching {
            tracing::debug!("the download is not measured: {error}");
        }
        let result = work();
        drop(done);
        result
    })
}

/// Bytes of all files below a folder; what vanishes meanwhile does not count.
fn size_of_tree(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of_tree(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// Holds a file to the SHA-256 of its package; removes it where it is another.
fn check(
    wheel: &Wheel,
    path: &Path,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<(), InstallError> {
    let phase = format!("checking {}", wheel.package);
    let mut file = File::open(path).map_err(InstallError::io("read", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        progress.report(&phase, done, Some(wheel.bytes));
        if cancel.is_cancelled() {
            return Err(InstallError::Cancelled { kept: None });
        }
        match file.read(&mut buffer).map_err(InstallError::io("read", path))? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                done += count as u64;
            }
        }
    }
    let found = format!("{:x}", hasher.finalize());
    if found == wheel.sha256 {
        return Ok(());
    }
    fs::remove_file(path).map_err(InstallError::io("remove", path))?;
    Err(InstallError::Digest { file: wheel.file, expected: wheel.sha256, found })
}

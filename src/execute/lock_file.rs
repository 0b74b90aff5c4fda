//! The lock file: `<spec stem>.lock` beside the spec, committed with it.
//!
//! `stages` holds what is the same on every machine: each stage's request and, where the result
//! is deterministic, its artifact. `targets` holds what each machine that ran the pipeline got;
//! a run touches its own target only.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::artifact::{Digest, Hasher};

/// The file's content.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// Version of this format.
    pub version: u32,
    /// What was asked of each stage, by name, in the spec's order.
    pub stages: IndexMap<String, LockedStage>,
    /// What each machine got, by target id.
    #[serde(default)]
    pub targets: BTreeMap<String, LockedTarget>,
}

/// What is the same on every machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedStage {
    /// Digest of kind, version, settings and inputs, without tools.
    pub request: Digest,
    /// Digest of the artifact, where every machine makes the same bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
}

/// What one machine got.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedTarget {
    /// Its results by stage.
    pub stages: IndexMap<String, TargetStage>,
}

/// One stage's result on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetStage {
    /// The cache key.
    pub key: Digest,
    /// The artifact, where it is an engine. Reports hold timings and differ every time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    /// The tools that entered the key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
}

/// Why a lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockFileError {
    /// It cannot be read or written.
    #[error("failed to {doing} the lock file `{}`", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is not a lock file.
    #[error("the lock file `{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        reason: String,
    },
}

impl LockFileError {
    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Damaged { .. } => Some(
                "resolve the conflict if it has one, or delete the file: the next run writes it \
                 anew"
                    .to_owned(),
            ),
            Self::Io { .. } => None,
        }
    }
}

const HEADER: &str = "\
# Written by trt-pipeline; commit it. `trt-pipeline run --locked` holds a run to it.
";

/// Where a spec's lock file is.
pub fn path_for(spec: &Path) -> PathBuf {
    spec.with_extension("lock")
}

impl LockFile {
    /// Reads the text of a lock file.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LockFileError> {
        let damaged = |reason| LockFileError::Damaged { path: path.to_owned(), reason };
        let lock: Self = serde_yaml::from_str(text).map_err(|error| damaged(error.to_string()))?;
        match lock.version {
            1 => Ok(lock),
            other => Err(damaged(format!("version {other} is unknown, this build knows 1"))),
        }
    }

    /// The text to write.
    pub fn to_text(&self) -> Result<String, LockFileError> {
        serde_yaml::to_string(self).map(|body| format!("{HEADER}{body}")).map_err(|error| {
            LockFileError::Damaged { path: PathBuf::new(), reason: error.to_string() }
        })
    }
}

/// The text of a lock file, if there is one.
pub fn read(path: &Path) -> Result<Option<String>, LockFileError> {
    let failed = |source| LockFileError::Io { doing: "read", path: path.to_owned(), source };
    // A pipe would be waited for.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed(source)),
    }
}

/// Replaces a lock file as a whole.
pub fn write(path: &Path, text: &str) -> Result<(), LockFileError> {
    let failed = |source| LockFileError::Io { doing: "write", path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut temp = tempfile::Builder::new().prefix(".lock-").tempfile_in(folder).map_err(failed)?;
    io::Write::write_all(&mut temp, text.as_bytes()).map_err(failed)?;
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    temp.as_file().set_permissions(mode).map_err(failed)?;
    temp.as_file().sync_all().map_err(failed)?;
    temp.persist(path).map(drop).map_err(|error| failed(error.error))
}

/// Names this machine by what its hardware is, so that an update of its software does not make
/// it another one.
pub fn target_id(hardware: &BTreeMap<String, String>) -> String {
    let mut hasher = Hasher::new("target");
    for (name, value) in hardware {
        hasher.field(name.as_bytes());
        hasher.field(value.as_bytes());
    }
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{arch}-{os}-{}", &hasher.finish().to_string()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_survives_the_round_trip() {
        let digest = Digest::of(b"x");
        let mut lock = LockFile { version: 1, ..LockFile::default() };
        lock.stages.insert("b".into(), LockedStage { request: digest, artifact: None });
        lock.stages.insert("a".into(), LockedStage { request: digest, artifact: Some(digest) });
        let tools = BTreeMap::from([("cpu".to_owned(), "avx2: yes".to_owned())]);
        let stage = TargetStage { key: digest, artifact: Some(digest), tools };
        lock.targets.entry("x".into()).or_default().stages.insert("b".into(), stage);
        let text = lock.to_text().unwrap();
        assert_eq!(LockFile::parse(Path::new("x.lock"), &text).unwrap(), lock);
        assert!(LockFile::parse(Path::new("x.lock"), "version: 2\nstages: {}\n").is_err());
        assert!(LockFile::parse(Path::new("x.lock"), "<<<<<<< HEAD\n").is_err());
    }
}

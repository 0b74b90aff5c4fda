//! [`StageResult`]: what a stage made for one key, as it is kept in the store.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Artifact, Digest, Fingerprint, tree_digest};

/// The layout of result files.
const FORMAT: u32 = 1;

/// What a stage made for one key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageResult {
    /// Layout of the file, 1.
    pub format: u32,
    /// The cache key: [`Fingerprint::key`] of `fingerprint`.
    pub key: Digest,
    /// Everything that could have changed the result.
    pub fingerprint: Fingerprint,
    /// What was made.
    pub artifact: Artifact,
    /// Seconds the stage took.
    pub seconds: f64,
    /// When it ended, RFC 3339 in UTC.
    pub created: String,
    /// The pipeline it was first made for; information only.
    pub pipeline: String,
    /// The stage it was first made for; information only.
    pub stage: String,
}

/// What a text claiming to be a result turned out to be.
#[derive(Debug)]
pub(crate) enum Decoded {
    Result(Box<StageResult>),
    /// Written by a version with another layout.
    OtherFormat,
    Damaged(String),
}

impl StageResult {
    /// A result made just now.
    pub fn new(
        fingerprint: Fingerprint,
        artifact: Artifact,
        seconds: f64,
        pipeline: &str,
        stage: &str,
    ) -> Self {
        Self {
            format: FORMAT,
            key: fingerprint.key(),
            fingerprint,
            artifact,
            seconds,
            created: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            pipeline: pipeline.to_owned(),
            stage: stage.to_owned(),
        }
    }

    /// Reads a result file and checks that it is the one for `key`.
    pub(crate) fn decode(text: &[u8], key: &Digest) -> Decoded {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let result: Self = match serde_json::from_slice(text) {
            Ok(result) => result,
            Err(error) => {
                return match serde_json::from_slice::<Version>(text) {
                    Ok(Version { format }) if format != FORMAT => Decoded::OtherFormat,
                    _ => Decoded::Damaged(format!("the result is not readable: {error}")),
                };
            }
        };
        if result.format != FORMAT {
            return Decoded::OtherFormat;
        }
        if result.key != *key || result.fingerprint.key() != *key {
            return Decoded::Damaged("the result belongs to another key".to_owned());
        }
        let files = &result.artifact.files;
        if !files.iter().all(|file| is_inside(&file.path))
            || !files.is_sorted_by(|a, b| a.path < b.path)
            || tree_digest(files) != result.artifact.digest
        {
            return Decoded::Damaged("the list of files does not match its digest".to_owned());
        }
        Decoded::Result(Box::new(result))
    }
}

/// Whether a stored relative path stays inside the artifact.
fn is_inside(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
}

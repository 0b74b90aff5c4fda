//! [`StageResult`]: what a stage made for one key, as it is kept in the store.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Artifact, Digest, Fingerprint, tree_digest};

/// The layout of result files.
const FORMAT: u32 = 1;

const CHECK: &[u8] = b"{\"check\":\"";
const AFTER_CHECK: &[u8] = b"\",";

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

/// What a stage made, without what it stood on: whoever has the key has that already.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct StageHit {
    /// The cache key.
    pub key: Digest,
    /// What was made.
    pub artifact: Artifact,
    /// Seconds the stage took.
    pub seconds: f64,
    format: u32,
}

impl From<StageResult> for StageHit {
    fn from(result: StageResult) -> Self {
        let StageResult { format, key, artifact, seconds, .. } = result;
        Self { key, artifact, seconds, format }
    }
}

/// The parts of a result file that decide whether it is the one looked for.
pub(crate) trait Stored: serde::de::DeserializeOwned {
    fn format(&self) -> u32;
    fn key(&self) -> &Digest;
    fn artifact(&self) -> &Artifact;
}

impl Stored for StageResult {
    fn format(&self) -> u32 {
        self.format
    }
    fn key(&self) -> &Digest {
        &self.key
    }
    fn artifact(&self) -> &Artifact {
        &self.artifact
    }
}

impl Stored for StageHit {
    fn format(&self) -> u32 {
        self.format
    }
    fn key(&self) -> &Digest {
        &self.key
    }
    fn artifact(&self) -> &Artifact {
        &self.artifact
    }
}

/// What a text claiming to be a result turned out to be.
#[derive(Debug)]
pub(crate) enum Decoded<T = StageResult> {
    Result(Box<T>),
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

    /// The text of a result file: one line of JSON whose first field `check` is the digest of
    /// all that follows it. So damage shows without computing the key again, which would take
    /// as long as everything else that a hit costs.
    pub(crate) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let mut body = serde_json::to_vec(self)?;
        if let Some(brace) = body.first_mut() {
            *brace = b' ';
        }
        body.push(b'\n');
        let check = Digest::of(&body);
        Ok([CHECK, check.to_string().as_bytes(), AFTER_CHECK, &body].concat())
    }
}

impl<T: Stored> Decoded<T> {
    /// Reads a result file and checks that it is the one for `key`.
    pub(crate) fn of(text: &[u8], key: &Digest) -> Self {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let is_other =
            || serde_json::from_slice(text).is_ok_and(|Version { format }| format != FORMAT);
        let damaged = |reason: &str| Self::Damaged(reason.to_owned());
        if !is_intact(text) {
            return if is_other() { Self::OtherFormat } else { damaged("the result was changed") };
        }
        let result: T = match serde_json::from_slice(text) {
            Ok(result) => result,
            Err(_) if is_other() => return Self::OtherFormat,
            Err(error) => return damaged(&format!("the result is not readable: {error}")),
        };
        if result.format() != FORMAT {
            return Self::OtherFormat;
        }
        if result.key() != key {
            return damaged("the result belongs to another key");
        }
        let artifact = result.artifact();
        let files = &artifact.files;
        if !files.iter().all(|file| is_inside(&file.path))
            || !files.is_sorted_by(|a, b| a.path < b.path)
            || tree_digest(files) != artifact.digest
        {
            return damaged("the list of files does not match its digest");
        }
        Self::Result(Box::new(result))
    }
}

/// Whether the text carries the digest of itself.
fn is_intact(text: &[u8]) -> bool {
    let parts = text.strip_prefix(CHECK).and_then(|rest| rest.split_at_checked(64));
    parts.is_some_and(|(check, rest)| {
        let check = std::str::from_utf8(check).ok().and_then(|check| check.parse().ok());
        rest.strip_prefix(AFTER_CHECK).is_some_and(|body| check == Some(Digest::of(body)))
    })
}

/// Whether a stored relative path stays inside the artifact.
fn is_inside(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
}

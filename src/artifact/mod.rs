//! What stages make: [`Artifact`], a tree of regular files named by its content.
//!
//! Owns digests, fingerprints, the store, the stat database and locks on keys. Knows nothing of
//! specs, plans or of what is inside the files.

use serde::{Deserialize, Serialize};

mod commit;
mod digest;
mod error;
mod fingerprint;
mod gc;
mod hash;
mod input;
mod inventory;
mod link;
mod lock;
mod memo;
mod result;
mod stamp;
mod stat;
mod stat_db;
mod store;
mod tree;

#[cfg(test)]
mod tests;

pub use commit::Scratch;
pub use digest::{Digest, Hasher};
pub use error::StoreError;
pub(crate) use fingerprint::canonical_json;
pub use fingerprint::{FieldChange, Fingerprint};
pub use gc::{GcOptions, GcReport};
pub use input::InputStamp;
pub use inventory::{Damage, Inventory, VerifyReport};
pub use lock::{KeyLock, Lease};
pub use result::{StageHit, StageResult};
pub use stat::{FileStamp, FileStat};
pub use store::{Lookup, Store};

/// What an artifact is for; decides which stages accept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactKind {
    /// An ONNX model: `model.onnx` and its external data.
    Model,
    /// A compiled engine: `engine.json` and the file it names.
    Engine,
    /// A validation report: `report.json` and `report.md`.
    Report,
    /// What to serve and how: `deployment.json`.
    Deployment,
    /// Files that a command declared.
    Files,
}

impl ArtifactKind {
    /// The word used in messages and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Engine => "engine",
            Self::Report => "report",
            Self::Deployment => "deployment",
            Self::Files => "files",
        }
    }
}

impl std::fmt::Display for ArtifactKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path relative to the artifact's root, with `/` between its parts.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the content.
    pub digest: Digest,
    /// Whether the owner may execute it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// A tree of regular files, named by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// What it is for.
    pub kind: ArtifactKind,
    /// Digest of the tree: [`tree_digest`] of `files`.
    pub digest: Digest,
    /// Its files, sorted by path.
    pub files: Vec<FileEntry>,
}

/// Digest of a tree: BLAKE3 over (path, size, content digest, executable bit) of every file,
/// sorted by path.
pub fn tree_digest(files: &[FileEntry]) -> Digest {
    let mut hasher = Hasher::new("tree");
    for file in files {
        hasher.field(file.path.as_bytes());
        hasher.field(&file.size.to_le_bytes());
        hasher.field(file.digest.as_bytes());
        hasher.field(&[u8::from(file.executable)]);
    }
    hasher.finish()
}

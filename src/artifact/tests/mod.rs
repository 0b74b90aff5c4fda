//! Tests of the store as a whole. [`TestStore`] is a store in a folder of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::*;

mod child;
mod collection;
mod concurrency;
mod faults;
mod inputs;
mod mounts;
mod objects;
mod stat_records;

/// A store in a folder of its own, gone with it.
struct TestStore {
    folder: tempfile::TempDir,
    store: Store,
}

impl TestStore {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join(".trt-pipeline"));
        Self { folder, store }
    }

    /// The store as another process sees it.
    fn reopened(&self) -> Store {
        Store::open(self.store.root().to_owned())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn commit(&self, files: &[(&str, &[u8])]) -> Artifact {
        let scratch = self.store.scratch().unwrap();
        let dir = scratch.path().join("out");
        fill(&dir, files);
        self.store.commit(&dir, ArtifactKind::Files).unwrap()
    }

    /// Stores files and a result that refers to them.
    fn result(&self, files: &[(&str, &[u8])]) -> StageResult {
        let artifact = self.commit(files);
        let result = StageResult::new(fingerprint(files.len()), artifact, 0.5, "p", "s");
        self.store.record(&result).unwrap();
        result
    }

    fn object_file(&self, artifact: &Artifact, name: &str) -> PathBuf {
        self.store.object_path(&artifact.digest).join(name)
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        let _ = tree::remove(self.store.root());
    }
}

fn fill(dir: &Path, files: &[(&str, &[u8])]) {
    fs::create_dir_all(dir).unwrap();
    for (name, content) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn fingerprint(seed: usize) -> Fingerprint {
    Fingerprint {
        kind: "command".into(),
        version: 1,
        settings: serde_json::json!({ "seed": seed, "f": 0.1, "t": "\u{e9}\u{1f600}" }),
        inputs: BTreeMap::from([("model".to_owned(), Digest::of(b"a"))]),
        tools: BTreeMap::new(),
    }
}

/// Overwrites a stored file in place, as an editor that ignores its permissions would.
fn tamper(path: &Path, content: &[u8]) {
    tree::set_mode(path, 0o644).unwrap();
    fs::write(path, content).unwrap();
    tree::set_mode(path, 0o444).unwrap();
}

/// Moves a file's time of the last write into the past. The time of the last change stays now.
fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[track_caller]
fn damage(lookup: &Lookup) -> &str {
    match lookup {
        Lookup::Damaged { reason } => reason,
        other => panic!("not damaged: {other:?}"),
    }
}

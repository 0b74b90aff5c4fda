//! What the store holds, and whether all of it is intact.

use std::fs;
use std::path::{Path, PathBuf};

use super::gc::digests_in;
use super::result::Decoded;
use super::stamp::read_stamp;
use super::store::describe;
use super::{Digest, FileEntry, StageResult, Store, StoreError, tree, tree_digest};

/// What the store holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    /// Every readable result, the newest first.
    pub results: Vec<StageResult>,
    /// Artifacts, whether or not a result refers to them.
    pub objects: usize,
    /// Bytes of all artifacts.
    pub bytes: u64,
}

/// What [`Store::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Results read.
    pub results: usize,
    /// Artifacts read.
    pub objects: usize,
    /// Bytes hashed.
    pub bytes: u64,
    /// What is damaged; none of it is used, and building it again repairs it.
    pub damaged: Vec<Damage>,
}

/// Something damaged in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The result file or artifact folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl Store {
    /// Lists results and artifacts.
    ///
    /// # Errors
    /// The store's folder cannot be read.
    pub fn ls(&self) -> Result<Inventory, StoreError> {
        let mut inventory = Inventory::default();
        for (key, path) in digests_in(&self.folder("results"), ".json")? {
            let text = fs::read(&path).unwrap_or_default();
            if let Decoded::Result(result) = Decoded::<StageResult>::of(&text, &key) {
                inventory.results.push(*result);
            }
        }
        inventory.results.sort_by(|a, b| b.created.cmp(&a.created).then(a.key.cmp(&b.key)));
        for (_, path) in digests_in(&self.folder("objects"), "")? {
            inventory.objects += 1;
            inventory.bytes += tree::size(&path);
        }
        Ok(inventory)
    }

    /// Reads and hashes every stored file. The stat database is not believed but corrected, so
    /// that damage which left no trace in a stat, such as a bad disk's, is a miss from here on.
    ///
    /// # Errors
    /// The store's folder cannot be read, or the stat database not be corrected.
    pub fn verify(&self) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        for (digest, path) in digests_in(&self.folder("objects"), "")? {
            report.objects += 1;
            match self.reread(&path, &mut report.bytes) {
                Ok(found) if found == digest => {}
                Ok(_) => report.damage(path, "its content was changed".to_owned()),
                Err(error) => report.damage(path, describe(&error)),
            }
        }
        for (key, path) in digests_in(&self.folder("results"), ".json")? {
            report.results += 1;
            let text = match fs::read(&path) {
                Ok(text) => text,
                Err(error) => {
                    report.damage(path, error.to_string());
                    continue;
                }
            };
            match Decoded::<StageResult>::of(&text, &key) {
                Decoded::Result(result) if result.fingerprint.key() != key => {
                    report.damage(path, "its key is not that of its fingerprint".to_owned());
                }
                Decoded::Result(result) => {
                    let object = self.object_path(&result.artifact.digest);
                    if !object.is_dir() {
                        report.damage(path, format!("`{}` is missing", object.display()));
                    }
                }
                Decoded::OtherFormat => {}
                Decoded::Damaged(reason) => report.damage(path, reason),
            }
        }
        self.flush()?;
        Ok(report)
    }

    /// The digest of an artifact as it is on disk now.
    fn reread(&self, root: &Path, bytes: &mut u64) -> Result<Digest, StoreError> {
        let mut files = Vec::new();
        for (name, path) in tree::list(root)?.files {
            let stamp = read_stamp(&path, rustix::fs::OFlags::NOFOLLOW)?;
            if stamp.settled {
                self.stats.put(stamp.stat, stamp.digest);
            }
            *bytes += stamp.size;
            files.push(FileEntry {
                path: name,
                size: stamp.size,
                digest: stamp.digest,
                executable: stamp.executable,
            });
        }
        Ok(tree_digest(&files))
    }
}

impl VerifyReport {
    fn damage(&mut self, path: PathBuf, reason: String) {
        self.damaged.push(Damage { path, reason });
    }
}

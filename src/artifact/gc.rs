//! Removing from the store what nothing refers to any more.
//!
//! Roots are found, not declared: every digest in a `*.lock` file and every symbolic link to a
//! stored artifact below the project folders, and the leases of running servers. A digest counts
//! as a key and as an artifact, so a root more is kept rather than one less.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::result::Decoded;
use super::{Digest, Lease, StageResult, Store, StoreError, tree};

/// Memos, and what stages kept from run to run, are dropped when they are older than this.
const MEMO_AGE: Duration = Duration::from_hours(30 * 24);

/// Bytes of a lock file that are searched for digests.
const LOCK_FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// What [`Store::gc`] may remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct GcOptions {
    /// Only say what would be removed.
    pub dry_run: bool,
    /// Keep results younger than this, and their artifacts, even if nothing refers to them.
    pub keep_newer_than: Option<Duration>,
}

/// What [`Store::gc`] removed or would remove, and what stayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Keys of the results.
    pub results: Vec<Digest>,
    /// Artifacts.
    pub objects: Vec<Digest>,
    /// Things that killed processes left behind.
    pub leftovers: usize,
    /// Bytes of all files removed.
    pub bytes: u64,
    /// Artifacts that stayed.
    pub kept_objects: usize,
}

/// A file in `results/`.
struct Recorded {
    path: PathBuf,
    /// The artifacts and keys it refers to; `None` if it is damaged.
    refers_to: Option<Vec<Digest>>,
    modified: Option<SystemTime>,
}

impl Store {
    /// Removes results and artifacts that nothing refers to, and what killed processes left
    /// behind. `roots` are the project folders to search for lock files and `build/` links.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process uses the store; or something cannot be read
    /// or removed.
    pub fn gc(&self, roots: &[PathBuf], options: &GcOptions) -> Result<GcReport, StoreError> {
        if !self.root().exists() {
            return Ok(GcReport::default());
        }
        self.alone(|| self.collect(roots, options))
    }

    fn collect(&self, roots: &[PathBuf], options: &GcOptions) -> Result<GcReport, StoreError> {
        let mut live = BTreeSet::new();
        for lease in Lease::held(&self.leases(), !options.dry_run)? {
            live.extend(mentioned(lease.as_bytes()));
        }
        let skip = fs::metadata(self.root()).map_err(StoreError::io("read", self.root()))?;
        for root in roots {
            search(root, &skip, &mut live);
        }
        let results = self.recorded()?;
        let now = SystemTime::now();
        let is_young = |result: &Recorded| match (options.keep_newer_than, result.modified) {
            (Some(limit), Some(time)) => now.duration_since(time).is_ok_and(|age| age < limit),
            _ => false,
        };
        live.extend(results.iter().filter(|(_, result)| is_young(result)).map(|(key, _)| *key));
        self.follow(&results, &mut live);

        let mut report = GcReport::default();
        for (key, result) in &results {
            let is_live = result.refers_to.as_ref().is_some_and(|refers_to| {
                live.contains(key) || refers_to.iter().any(|digest| live.contains(digest))
            });
            if !is_live {
                report.results.push(*key);
                report.take(&result.path, options)?;
            }
        }
        for (digest, path) in digests_in(&self.folder("objects"), "")? {
            if live.contains(&digest) {
                report.kept_objects += 1;
            } else {
                report.objects.push(digest);
                report.take(&path, options)?;
            }
        }
        for path in entries(&self.folder("tmp"))? {
            report.leftovers += 1;
            report.take(&path, options)?;
        }
        for (_, path) in digests_in(&self.folder("locks"), "")? {
            // A lock may be held longer than the store it came from is open.
            if fs::File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                report.leftovers += 1;
                report.take(&path, options)?;
            }
        }
        // Both only save time.
        let [memos, kept] = [entries(&self.folder("memo"))?, entries(&self.folder("kept"))?];
        for namespace in memos.into_iter().chain(kept) {
            for path in entries(&namespace)? {
                let modified = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified());
                let age = modified.ok().and_then(|time| now.duration_since(time).ok());
                if age.is_some_and(|age| age > MEMO_AGE) {
                    report.take(&path, options)?;
                }
            }
        }
        Ok(report)
    }

    fn recorded(&self) -> Result<BTreeMap<Digest, Recorded>, StoreError> {
        let mut results = BTreeMap::new();
        for (key, path) in digests_in(&self.folder("results"), ".json")? {
            let text = fs::read(&path).map_err(StoreError::io("read", &path))?;
            let refers_to = match Decoded::<StageResult>::of(&text, &key) {
                Decoded::Result(result) => Some(vec![result.artifact.digest]),
                // Of a newer version: whatever it names may be its artifact.
                Decoded::OtherFormat => Some(mentioned(&text).collect()),
                Decoded::Damaged(_) => None,
            };
            let modified =
                fs::symlink_metadata(&path).and_then(|metadata| metadata.modified()).ok();
            results.insert(key, Recorded { path, refers_to, modified });
        }
        Ok(results)
    }

    /// Adds what live keys and live deployments refer to.
    fn follow(&self, results: &BTreeMap<Digest, Recorded>, live: &mut BTreeSet<Digest>) {
        let mut open: Vec<Digest> = live.iter().copied().collect();
        while let Some(digest) = open.pop() {
            let made = results.get(&digest).and_then(|result| result.refers_to.clone());
            let manifest = self.object_path(&digest).join("deployment.json");
            let served = fs::read(manifest).unwrap_or_default();
            for next in made.into_iter().flatten().chain(mentioned(&served)) {
                if live.insert(next) {
                    open.push(next);
                }
            }
        }
    }
}

impl GcReport {
    fn take(&mut self, path: &Path, options: &GcOptions) -> Result<(), StoreError> {
        self.bytes += tree::size(path);
        if options.dry_run { Ok(()) } else { tree::remove(path) }
    }
}

/// The digests in a text: runs of exactly 64 hexadecimal digits.
fn mentioned(text: &[u8]) -> impl Iterator<Item = Digest> {
    text.split(|byte| !byte.is_ascii_hexdigit())
        .filter(|run| run.len() == 64)
        .filter_map(|run| std::str::from_utf8(run).ok()?.parse().ok())
}

/// Adds the digests that lock files and links below a folder refer to. What cannot be read is
/// passed over: the worst that follows is a stage built again.
fn search(root: &Path, skip: &Metadata, live: &mut BTreeSet<Digest>) {
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!("`{}` is not searched for lock files: {error}", folder.display());
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(file_type) = entry.file_type() else { continue };
            if file_type.is_symlink() {
                let target = fs::read_link(&path).unwrap_or_default();
                let parts = target.iter().filter_map(OsStr::to_str);
                live.extend(parts.filter_map(|part| part.parse::<Digest>().ok()));
            } else if file_type.is_dir() {
                let is_store = || {
                    fs::metadata(&path)
                        .is_ok_and(|m| (m.dev(), m.ino()) == (skip.dev(), skip.ino()))
                };
                if entry.file_name() != ".git" && !is_store() {
                    open.push(path);
                }
            } else if file_type.is_file() && path.extension() == Some(OsStr::new("lock")) {
                let mut text = Vec::new();
                let read = fs::File::open(&path)
                    .and_then(|file| file.take(LOCK_FILE_LIMIT).read_to_end(&mut text));
                if let Err(error) = read {
                    tracing::warn!("`{}` cannot be read: {error}", path.display());
                }
                live.extend(mentioned(&text));
            }
        }
    }
}

/// What is in a folder of the store, sorted; nothing if there is no such folder.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listed = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    match listed {
        Ok(mut paths) => {
            paths.sort();
            Ok(paths)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StoreError::io("read", folder)(error)),
    }
}

/// What is named by a digest in a folder of the store, sorted.
pub(super) fn digests_in(
    folder: &Path,
    suffix: &str,
) -> Result<Vec<(Digest, PathBuf)>, StoreError> {
    let named = |path: PathBuf| {
        let digest = path.file_name()?.to_str()?.strip_suffix(suffix)?.parse().ok()?;
        Some((digest, path))
    };
    Ok(entries(folder)?.into_iter().filter_map(named).collect())
}

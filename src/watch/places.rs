//! [`Places`]: the folders in which something can happen that changes what paths lead to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// As many links in a row as the system follows.
const MOST_LINKS: usize = 40;

/// Where to look for changes of some paths: every folder and link on the way to each, and
/// everything in those that are folders. All by real paths, without links in them.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Entries on the way to a path.
    on_the_way: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// Folders of which everything in them belongs to a path.
    inside: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
}

impl Places {
    /// The places for these absolute paths, as things are now.
    pub(super) fn of(paths: &BTreeSet<PathBuf>) -> Self {
        let mut places = Self::default();
        for path in paths {
            places.trace(path, path);
        }
        places
    }

    /// The folders to be watched, each by itself.
    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        let above = self.on_the_way.keys().filter_map(|entry| entry.parent()).map(Path::to_owned);
        above.chain(self.inside.keys().cloned()).collect()
    }

    /// The paths that a change of this entry concerns.
    pub(super) fn concerned(&self, entry: &Path) -> BTreeSet<PathBuf> {
        let folder = entry.parent().and_then(|folder| self.inside.get(folder));
        let found = [self.on_the_way.get(entry), self.inside.get(entry), folder];
        found.into_iter().flatten().flatten().cloned().collect()
    }

    /// Goes the way that the system goes, on behalf of the watched `path`.
    fn trace(&mut self, way: &Path, path: &Path) {
        let mut ahead = parts(way);
        let mut real = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            if part == ".." {
                real.pop();
                continue;
            }
            let entry = real.join(part);
            self.on_the_way.entry(entry.clone()).or_default().insert(path.to_owned());
            // Where the way ends early, it may lead on later.
            let Ok(found) = fs::symlink_metadata(&entry) else { return };
            if !found.is_symlink() {
                real = entry;
                continue;
            }
            links += 1;
            let Ok(target) = fs::read_link(&entry) else { return };
            if links > MOST_LINKS {
                return;
            }
            if target.is_absolute() {
                real = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                ahead.push_front(part);
            }
        }
        if real.is_dir() {
            self.enter(real, path);
        }
    }

    /// Takes in a folder and those in it.
    fn enter(&mut self, folder: PathBuf, path: &Path) {
        let mut open = vec![folder];
        while let Some(folder) = open.pop() {
            if !self.inside.entry(folder.clone()).or_default().insert(path.to_owned()) {
                continue;
            }
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => open.push(entry.path()),
                    Ok(kind) if kind.is_symlink() => self.trace(&entry.path(), path),
                    _ => {}
                }
            }
        }
    }
}

/// The steps of a path, those that lead nowhere left out.
fn parts(path: &Path) -> VecDeque<OsString> {
    let step = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(step).collect()
}

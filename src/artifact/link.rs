//! Links from a project's `build/` folder into the store.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Digest, Store, StoreError};

/// The way from each folder of links to `objects/`: finding it takes a dozen system calls.
pub(super) type LinkTargets = Mutex<HashMap<PathBuf, PathBuf>>;

impl Store {
    /// Makes `build_dir/stage` a symbolic link to a stored artifact; a link that is right already
    /// is not touched. The link is relative where the project and the store share a folder, so
    /// that both can be moved together.
    ///
    /// # Errors
    /// The link cannot be written, or something that is no link stands in its place.
    pub fn link(&self, build_dir: &Path, stage: &str, digest: &Digest) -> Result<(), StoreError> {
        let mut parts = Path::new(stage).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(StoreError::LinkName { name: stage.to_owned() });
        }
        let path = build_dir.join(stage);
        let mut target = self.way_to_objects(build_dir)?;
        target.push(digest.to_string());
        match fs::read_link(&path) {
            Ok(now) if now == target => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(StoreError::LinkObstructed { path });
            }
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        }
        let link = tempfile::Builder::new()
            .prefix(".link-")
            .make_in(build_dir, |path| std::os::unix::fs::symlink(&target, path))
            .map_err(StoreError::io("create", &path))?;
        fs::rename(link.path(), &path).map_err(StoreError::io("create", &path))?;
        // Renamed: nothing is left to remove.
        let _ = link.into_temp_path().keep();
        Ok(())
    }

    /// Removes what [`Self::link`] made, if it is there: the stage has no current artifact.
    ///
    /// # Errors
    /// The link cannot be removed.
    pub fn unlink(&self, build_dir: &Path, stage: &str) -> Result<(), StoreError> {
        let path = build_dir.join(stage);
        let is_ours = fs::read_link(&path).is_ok_and(|target| {
            target.parent().and_then(Path::file_name).is_some_and(|name| name == "objects")
        });
        if !is_ours {
            return Ok(());
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn way_to_objects(&self, build_dir: &Path) -> Result<PathBuf, StoreError> {
        let mut targets = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = targets.get(build_dir) {
            return Ok(target.clone());
        }
        if !build_dir.is_dir() {
            fs::create_dir_all(build_dir).map_err(StoreError::io("create", build_dir))?;
            // Links into a cache that is not committed are not committed either.
            let ignore = build_dir.join(".gitignore");
            fs::write(&ignore, "*\n").map_err(StoreError::io("write", &ignore))?;
        }
        let real = |path: &Path| path.canonicalize().map_err(StoreError::io("read", path));
        let from = real(build_dir)?;
        let to = real(self.root())?.join("objects");
        let target = relative(&from, &to).unwrap_or(to);
        targets.insert(build_dir.to_owned(), target.clone());
        Ok(target)
    }
}

/// The way from a folder to another by `..`, unless they have only the root in common.
fn relative(from: &Path, to: &Path) -> Option<PathBuf> {
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    if shared <= 1 {
        return None;
    }
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    Some(up.chain(to.components().skip(shared)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_way_goes_through_the_shared_folder() {
        let way = |from: &str, to: &str| relative(Path::new(from), Path::new(to));
        assert_eq!(way("/p/build/x", "/p/.t/objects"), Some("../../.t/objects".into()));
        assert_eq!(way("/p/build", "/q/objects"), None);
    }
}

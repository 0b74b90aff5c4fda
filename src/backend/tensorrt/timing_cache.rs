//! [`TimingCacheFile`]: measurements of kernels, kept from build to build.
//!
//! Owns the file and how several builds share it. What is in it is TensorRT's business. A cache
//! only saves time: whatever goes wrong with it here is a warning, and the build goes on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::backend::regular;

use super::{Flavor, LibraryVersion};

/// The file with the timings of one library on one GPU, or one that the user named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimingCacheFile {
    path: PathBuf,
}

impl TimingCacheFile {
    /// The file in a folder for all of them. Timings of another library or GPU are of no use, so
    /// each has its own.
    pub(super) fn managed(
        folder: &Path,
        flavor: Flavor,
        version: LibraryVersion,
        gpu: &str,
        compute_capability: (u32, u32),
    ) -> Self {
        let gpu: String = gpu
            .chars()
            .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' })
            .collect();
        let (major, minor) = compute_capability;
        let name = format!("{}-{version}-{gpu}-{major}.{minor}.timing", flavor.name());
        Self { path: folder.join(name) }
    }

    /// The file that the user named.
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// What is in it; nothing where it is not there.
    pub(super) fn read(&self) -> Vec<u8> {
        self.content().unwrap_or_else(|error| {
            self.warn("read", &error);
            Vec::new()
        })
    }

    fn content(&self) -> io::Result<Vec<u8>> {
        match regular::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            content => content,
        }
    }

    /// Keeps what `combined` makes of the timings that are in the file by now: those of a build
    /// that ended meanwhile must not be lost. Nothing is written where it makes nothing new.
    pub(super) fn save(&self, combined: impl FnOnce(&[u8]) -> Option<Vec<u8>>) {
        if let Err(error) = self.replace(combined) {
            self.warn("write", &error);
        }
    }

    /// Other processes read the file without the lock, so it is replaced in one step. The lock is
    /// the folder's own: a file for it would be left beside the user's.
    fn replace(&self, combined: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        // Held for moments, and released with the file.
        let lock = File::open(folder)?;
        if let Err(error) = lock.lock() {
            // Some network file systems lock no folders. What may be lost then is time.
            tracing::debug!("cannot lock `{}`: {error}", folder.display());
        }
        // What cannot be read was warned of when the build began.
        let known = self.content().unwrap_or_default();
        let Some(bytes) = combined(&known).filter(|bytes| *bytes != known) else { return Ok(()) };
        let mut file = tempfile::Builder::new().prefix(".timing-").tempfile_in(folder)?;
        file.write_all(&bytes)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    fn warn(&self, doing: &str, error: &io::Error) {
        tracing::warn!(
            "failed to {doing} the timing cache `{}`: {error}; building takes longer without",
            self.path.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn file(dir: &TempDir) -> TimingCacheFile {
        let version = "8.6.0.12".parse().unwrap();
        TimingCacheFile::managed(dir.path(), Flavor::Standard, version, "NVIDIA H200 NVL", (9, 0))
    }

    fn append(file: &TimingCacheFile, more: &[u8]) {
        file.save(|known| Some([known, more].concat()));
    }

    fn names(dir: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn every_library_and_gpu_has_a_file_of_its_own() {
        let dir = TempDir::new().unwrap();
        append(&file(&dir), b"timings");
        assert_eq!(names(&dir), ["standard-8.6.0.12-nvidia-h200-nvl-9.0.timing"]);
    }

    #[test]
    fn what_is_saved_is_read_and_what_is_not_there_is_empty() {
        let dir = TempDir::new().unwrap();
        let file = TimingCacheFile::at(&dir.path().join("new/folder/my.cache"));
        assert_eq!(file.read(), b"");
        append(&file, b"one");
        append(&file, b" two");
        assert_eq!(file.read(), b"one two");
        file.save(|_| None);
        assert_eq!(file.read(), b"one two");
    }

    #[test]
    fn builds_at_the_same_time_lose_nothing_of_each_other() {
        let dir = TempDir::new().unwrap();
        let file = file(&dir);
        std::thread::scope(|scope| {
            for build in 0..8_u8 {
                let file = &file;
                scope.spawn(move || (0..25).for_each(|_| append(file, &[b'a' + build])));
            }
        });
        let text = String::from_utf8(file.read()).unwrap();
        let of = |build| text.matches(build).count();
        assert_eq!(["a", "b", "c", "d", "e", "f", "g", "h"].map(of), [25; 8]);
        assert_eq!(names(&dir).len(), 1, "nothing is left behind");
    }

    #[test]
    fn a_file_that_cannot_be_had_is_as_good_as_none() {
        let dir = TempDir::new().unwrap();
        let folder = TimingCacheFile::at(dir.path());
        assert_eq!(folder.read(), b"");
        let below_a_file = dir.path().join("file");
        fs::write(&below_a_file, "x").unwrap();
        let file = TimingCacheFile::at(&below_a_file.join("timings"));
        file.save(|_| Some(b"lost".to_vec()));
        assert_eq!(file.read(), b"");
        assert_eq!(fs::read(below_a_file).unwrap(), b"x");
    }
}

//! Where the system's loader looks for libraries: `LD_LIBRARY_PATH`, its cache, its folders.
//!
//! The cache is read as `ldconfig` writes it; no program is run.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::files;

/// What the loader goes by.
#[derive(Debug)]
pub(in crate::backend) struct Loader {
    /// `LD_LIBRARY_PATH`.
    pub(in crate::backend) variable: Option<OsString>,
    /// The cache that `ldconfig` writes.
    pub(in crate::backend) cache: PathBuf,
    /// The folders it searches by itself.
    pub(in crate::backend) folders: Vec<PathBuf>,
}

impl Loader {
    /// That of this process.
    pub(in crate::backend) fn here() -> Self {
        let triple = format!("{}-linux-gnu", env::consts::ARCH);
        let roots = ["/lib", "/usr/lib"].map(PathBuf::from);
        let folders = roots.iter().map(|root| root.join(&triple));
        let folders =
            folders.chain(["/lib64", "/usr/lib64"].map(PathBuf::from)).chain(roots.clone());
        Self {
            variable: env::var_os("LD_LIBRARY_PATH").filter(|value| !value.is_empty()),
            cache: PathBuf::from("/etc/ld.so.cache"),
            folders: folders.collect(),
        }
    }

    /// The libraries in `LD_LIBRARY_PATH` that are named so, and what was looked at.
    pub(super) fn in_variable(&self, is_named: fn(&Path) -> bool) -> (Vec<PathBuf>, String) {
        let Some(variable) = &self.variable else {
            return (Vec::new(), "it is not set".to_owned());
        };
        let folders: Vec<PathBuf> =
            env::split_paths(variable).filter(|path| !path.as_os_str().is_empty()).collect();
        let note = format!("nothing in {}", variable.display());
        (in_folders(&folders, is_named), note)
    }

    /// The libraries named so that the loader knows without `LD_LIBRARY_PATH`, and what was looked
    /// at.
    pub(super) fn in_system(&self, is_named: fn(&Path) -> bool) -> (Vec<PathBuf>, String) {
        let cached = fs::read(&self.cache).ok().map(|bytes| cached_libraries(&bytes));
        let note = format!(
            "nothing in {} or {}",
            if cached.is_some() {
                self.cache.display().to_string()
            } else {
                format!("{} (which cannot be read)", self.cache.display())
            },
            self.folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ")
        );
        let mut files: Vec<PathBuf> = cached.unwrap_or_default();
        files.retain(|file| is_named(file) && file.exists());
        files.extend(in_folders(&self.folders, is_named));
        (files::each_once(files), note)
    }
}

/// The libraries in folders. As for the loader, one of the same name in an earlier folder hides
/// those in later ones.
fn in_folders(folders: &[PathBuf], is_named: fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in folders {
        for file in files::in_folder(folder, is_named).unwrap_or_default() {
            if files.iter().all(|other| other.file_name() != file.file_name()) {
                files.push(file);
            }
        }
    }
    files
}

/// The start of the part of the loader's cache that all glibc since 2.2 read; older ones put
/// another part in front of it.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Bytes before the first entry, and of an entry.
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// The paths in a loader's cache; those that can be read of a damaged one.
fn cached_libraries(bytes: &[u8]) -> Vec<PathBuf> {
    let Some(start) = bytes.windows(MAGIC.len()).position(|window| window == MAGIC) else {
        return Vec::new();
    };
    let bytes = &bytes[start..];
    let number = |at: usize| {
        let field = bytes.get(at..at + 4)?;
        Some(u32::from_ne_bytes(field.try_into().ok()?) as usize)
    };
    let path = |entry: usize| {
        // Flags, offset of the name, offset of the path, each of 4 bytes.
        let text = bytes.get(number(HEADER + entry * ENTRY + 8)?..)?;
        let end = text.iter().position(|byte| *byte == 0)?;
        Some(PathBuf::from(std::str::from_utf8(&text[..end]).ok()?))
    };
    (0..number(MAGIC.len()).unwrap_or(0)).map_while(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_named(file: &Path) -> bool {
        file.to_string_lossy().contains("libnvinfer.so")
    }

    /// A cache as `ldconfig` writes it.
    fn cache(paths: &[&str]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(u32::try_from(paths.len()).unwrap().to_ne_bytes());
        bytes.resize(HEADER, 0);
        let mut strings = Vec::new();
        for path in paths {
            let at = u32::try_from(HEADER + paths.len() * ENTRY + strings.len()).unwrap();
            bytes.extend([0; 8]);
            bytes.extend(at.to_ne_bytes());
            bytes.extend([0; 12]);
            strings.extend(path.bytes().chain([0]));
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn the_loaders_cache_is_read_with_and_without_an_old_part_in_front() {
        let paths = ["/usr/lib/libnvinfer.so.10", "/usr/lib/libz.so.1"];
        let expected: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        assert_eq!(cached_libraries(&cache(&paths)), expected);
        let old = [&b"ld.so-1.7.0\0\0\0\0\0"[..], &cache(&paths)].concat();
        assert_eq!(cached_libraries(&old), expected);
    }

    #[test]
    fn a_damaged_cache_gives_what_can_be_read() {
        let whole = cache(&["/usr/lib/libnvinfer.so.10", "/usr/lib/libz.so.1"]);
        for length in 0..whole.len() {
            let found = cached_libraries(&whole[..length]);
            assert!(found.len() < 2, "{length}: {found:?}");
        }
        let mut endless = whole.clone();
        endless[MAGIC.len()..MAGIC.len() + 4].fill(0xff);
        assert!(cached_libraries(&endless).len() < 10);
        assert!(cached_libraries(b"anything").is_empty());
    }

    #[test]
    fn the_cache_of_this_system_lists_the_c_library() {
        let Ok(bytes) = fs::read("/etc/ld.so.cache") else { return };
        let libraries = cached_libraries(&bytes);
        assert!(libraries.iter().any(|path| path.ends_with("libc.so.6")), "{libraries:?}");
    }

    #[test]
    fn an_earlier_folder_of_the_variable_hides_a_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        for (folder, file) in
            [(&a, "libnvinfer.so.10"), (&b, "libnvinfer.so.10"), (&b, "libnvinfer.so.8")]
        {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join(file), b"x").unwrap();
        }
        let variable = env::join_paths([&a, Path::new(""), &b]).unwrap();
        let loader = Loader { variable: Some(variable), cache: a.join("none"), folders: vec![] };
        let (files, _) = loader.in_variable(is_named);
        assert_eq!(files, [a.join("libnvinfer.so.10"), b.join("libnvinfer.so.8")]);
        assert!(loader.in_system(is_named).1.contains("cannot be read"));
    }
}

//! Files of libraries: their names, and which are in a folder.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Every library in a folder that is named so, each file once: under its shortest name.
pub(in crate::backend) fn in_folder(
    folder: &Path,
    is_named: fn(&Path) -> bool,
) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = folder.join(entry?.file_name());
        if is_named(&file) {
            files.push(file);
        }
    }
    // A name without a version comes last.
    let unversioned = |path: &PathBuf| path.extension().is_some_and(|end| end == "so");
    files.sort_by_key(|path| (unversioned(path), path.as_os_str().len(), path.clone()));
    Ok(each_once(files))
}

/// The names in a folder, sorted; none where it cannot be read.
pub(super) fn sorted_names(folder: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<OsString> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    names
}

/// Leaves out other names of a file that is there already.
pub(super) fn each_once(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = Vec::new();
    files.retain(|path| {
        let file = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let new = !seen.contains(&file);
        if new {
            seen.push(file);
        }
        new
    });
    files
}

/// The version in `NAME.so.VERSION`; empty for `NAME.so`.
pub(in crate::backend) fn suffix<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    let rest = file.strip_prefix(name)?.strip_prefix(".so")?;
    if rest.is_empty() {
        return Some("");
    }
    let version = rest.strip_prefix('.')?;
    numbers(version, '.').map(|_| version)
}

/// Plain decimal numbers with a separator between them.
pub(in crate::backend) fn numbers(text: &str, separator: char) -> Option<Vec<u32>> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.split(separator).map(|part| is_number(part).then(|| part.parse().ok())?).collect()
}

//! The files a command declared: room for them before, their presence after.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::stage::StageError;

use super::{Command, CommandError, artifact_path};

/// How many undeclared files a message names.
const NAMED: usize = 5;

/// Makes the folders in which outputs will stand.
pub(super) fn prepare(command: &Command, out: &Path) -> Result<(), StageError> {
    for path in command.outputs.values() {
        if let Some(parent) = out.join(&path.value).parent() {
            fs::create_dir_all(parent).map_err(StageError::io("create", parent))?;
        }
    }
    Ok(())
}

/// Checks that every declared output is there, and nothing else.
pub(super) fn collect(
    command: &Command,
    program: &str,
    out: &Path,
    output: &str,
) -> Result<(), StageError> {
    let mut declared = BTreeSet::new();
    for (name, path) in &command.outputs {
        let file = out.join(&path.value);
        let found = match fs::symlink_metadata(&file).map(|meta| meta.file_type()) {
            Ok(kind) if kind.is_file() || kind.is_dir() => None,
            Ok(kind) if kind.is_symlink() => Some("a symbolic link"),
            Ok(_) => Some("something that is neither a file nor a folder"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some("nothing"),
            Err(error) => return Err(StageError::io("read", file)(error)),
        };
        if let Some(found) = found {
            return Err(CommandError::MissingOutput {
                program: program.to_owned(),
                name: name.clone(),
                path: path.value.clone(),
                found,
                output: output.to_owned(),
            }
            .into());
        }
        // The check refused every other path.
        declared.extend(artifact_path(path));
    }
    let mut paths = Vec::new();
    undeclared(out, Path::new(""), &declared, &mut paths)?;
    if paths.is_empty() {
        return Ok(());
    }
    paths.sort();
    if paths.len() > NAMED {
        let more = paths.len() - NAMED;
        paths.truncate(NAMED);
        paths.push(format!("and {more} more"));
    }
    Err(CommandError::Undeclared { program: program.to_owned(), paths }.into())
}

fn undeclared(
    out: &Path,
    inside: &Path,
    declared: &BTreeSet<PathBuf>,
    paths: &mut Vec<String>,
) -> Result<(), StageError> {
    let folder = out.join(inside);
    for entry in fs::read_dir(&folder).map_err(StageError::io("read", &folder))? {
        let entry = entry.map_err(StageError::io("read", &folder))?;
        let path = inside.join(entry.file_name());
        if declared.contains(&path) {
            continue;
        }
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && declared.iter().any(|output| output.starts_with(&path)) {
            undeclared(out, &path, declared, paths)?;
        } else {
            paths.push(format!("`{}`", path.display()));
        }
    }
    Ok(())
}

//! `init`: a small pipeline to start from, that runs as it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::ExitStatus;
use super::console::Console;

/// The files of the starter project.
const FILES: [(&str, &[u8]); 4] = [
    ("pipeline.yaml", include_bytes!("starter/pipeline.yaml")),
    ("iris.onnx", include_bytes!("starter/iris.onnx")),
    ("holdout.npz", include_bytes!("starter/holdout.npz")),
    (".gitignore", include_bytes!("starter/.gitignore")),
];

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The folder to write to; it may exist, its files are never overwritten
    #[arg(default_value = ".")]
    folder: PathBuf,
}

pub(super) fn init(args: &InitArgs, console: &Console) -> ExitStatus {
    match write_all(&args.folder) {
        Ok(written) => {
            for path in &written {
                console.line(&format!("wrote {}", path.display()));
            }
            let spec = args.folder.join("pipeline.yaml");
            console.line(&format!("\nnext: trt-pipeline run {}", spec.display()));
            ExitStatus::OK
        }
        Err((path, error)) => {
            let help = match error.kind() {
                io::ErrorKind::AlreadyExists => Some("choose another folder, or move the file"),
                _ => None,
            };
            let message = match error.kind() {
                io::ErrorKind::AlreadyExists => format!("`{}` exists already", path.display()),
                _ => format!("failed to write `{}`: {error}", path.display()),
            };
            console.error("init", &message, help);
            ExitStatus::USAGE
        }
    }
}

fn write_all(folder: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let schema = crate::spec::schema::pipeline_schema_text();
    let mut files: Vec<(&str, &[u8])> = FILES.to_vec();
    files.push(("pipeline.schema.json", schema.as_bytes()));
    // Nothing is written unless all of it can be.
    for (name, _) in &files {
        let path = folder.join(name);
        if path.symlink_metadata().is_ok() {
            return Err((path, io::Error::from(io::ErrorKind::AlreadyExists)));
        }
    }
    let mut written = Vec::new();
    for (name, content) in files {
        let path = folder.join(name);
        let write = || -> io::Result<()> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut file = fs::File::create_new(&path)?;
            io::Write::write_all(&mut file, content)
        };
        write().map_err(|error| (path.clone(), error))?;
        written.push(path);
    }
    Ok(written)
}

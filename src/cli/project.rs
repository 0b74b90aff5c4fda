//! From a path on the command line to a plan and the store that belongs to it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::artifact::{Digest, InputStamp, Store, StoreError};
use crate::plan::Plan;
use crate::source::SourceFile;
use crate::spec::{InvalidSpec, Overrides, tree};

use super::ExitStatus;
use super::console::Console;
use super::diagnostic::{invalid_in_words, show_invalid};

/// Which spec, and with which variables.
#[derive(Debug, Clone, Args)]
pub(super) struct SpecArgs {
    /// The pipeline's YAML file
    pub(super) spec: PathBuf,
    /// Give a variable another value; the value is a YAML scalar
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    pub(super) set: Vec<(String, String)>,
}

/// Where the cache is.
#[derive(Debug, Args)]
pub(super) struct CacheDir {
    /// The cache's folder [default: .trt-pipeline beside .git, else beside the spec]
    #[arg(long, global = true, value_name = "DIR", env = "TRT_PIPELINE_CACHE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(super) cache_dir: Option<PathBuf>,
}

pub(super) fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Why a pipeline cannot be run as it is.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Something that stands in no file.
    Told {
        /// Stable identifier.
        code: &'static str,
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The spec has errors.
    Invalid(InvalidSpec),
}

impl Refusal {
    /// Shows it.
    pub(super) fn show(&self, console: &Console) {
        match self {
            Self::Told { code, message, help } => console.error(code, message, help.as_deref()),
            Self::Invalid(invalid) => show_invalid(invalid, console),
        }
    }

    /// It in plain words, a line for each thing that is wrong.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Told { message, help: None, .. } => message.clone(),
            Self::Told { message, help: Some(help), .. } => format!("{message} ({help})"),
            Self::Invalid(invalid) => invalid_in_words(invalid),
        }
    }
}

/// Reads a spec and plans it; what is wrong has been shown.
pub(super) fn load(args: &SpecArgs, console: &Console) -> Result<Plan, ExitStatus> {
    read_plan(args).map_err(|refusal| {
        refusal.show(console);
        ExitStatus::USAGE
    })
}

/// Reads a spec and plans it.
pub(super) fn read_plan(args: &SpecArgs) -> Result<Plan, Refusal> {
    let overrides = Overrides { set: args.set.clone() };
    Plan::parse(&args.spec, read_spec(&args.spec)?, &overrides).map_err(Refusal::Invalid)
}

/// Reads the text of a spec.
pub(super) fn read_spec(path: &Path) -> Result<Arc<SourceFile>, Refusal> {
    let name = path.display();
    let fail = |message: String, help: Option<&str>| {
        let help = help.map(str::to_owned);
        Refusal::Told { code: "spec::file", message, help }
    };
    // What a spec names, and its lock file, stand beside it; a pipe has no such place.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let message = format!("the spec `{name}` is not a regular file");
        return Err(fail(message, Some("save it as a file: the paths in it start at its folder")));
    }
    let read = || -> std::io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(size.min(tree::MAX_BYTES) + 1);
        file.take(tree::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => Some("`trt-pipeline init` writes a spec to start from"),
            std::io::ErrorKind::IsADirectory => Some("name the YAML file in that folder"),
            _ => None,
        };
        fail(format!("failed to read the spec `{name}`: {error}"), help)
    })?;
    if bytes.len() > tree::MAX_BYTES {
        let message = format!("the spec `{name}` is larger than {} MiB", tree::MAX_BYTES >> 20);
        return Err(fail(message, Some("a spec names data files, it does not contain them")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = String::from_utf8_lossy(&error.as_bytes()[..at]).matches('\n').count() + 1;
        let message = format!("the spec `{name}` is not UTF-8 text (line {line}, byte {at})");
        fail(message, Some("save the file as UTF-8"))
    })?;
    Ok(Arc::new(SourceFile::new(name.to_string(), text)))
}

/// The folder that holds the cache and the `build` links: the nearest one above with `.git`,
/// else the given one.
pub(super) fn root_of(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let root = absolute.ancestors().find(|above| above.join(".git").exists());
    root.unwrap_or(&absolute).to_owned()
}

/// The store of a project.
pub(super) fn store_of(root: &Path, args: &CacheDir) -> Store {
    // An empty variable is one that is not set.
    match args.cache_dir.as_ref().filter(|dir| !dir.as_os_str().is_empty()) {
        Some(dir) => Store::open(std::path::absolute(dir).unwrap_or_else(|_| dir.clone())),
        None => Store::open(root.join(".trt-pipeline")),
    }
}

/// The store and the digest that a folder in one has, such as what `build/NAME/STAGE` points to.
pub(super) fn stored_at(folder: &Path) -> Option<(Store, Digest)> {
    let real = std::fs::canonicalize(folder).ok()?;
    let digest = real.file_name()?.to_str()?.parse().ok()?;
    let objects = real.parent()?;
    let store = objects.parent().filter(|_| objects.ends_with("objects"))?;
    Some((Store::open(store.to_owned()), digest))
}

/// Reads a file or folder and gives its digest and those of its files.
pub(super) fn hash(path: &Path) -> Result<InputStamp, StoreError> {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let Some((store, _)) = stored_at(&real) else {
        // No store knows it, so one that is not there will do.
        return Store::open(real.with_file_name(".trt-pipeline")).hash_input(&real);
    };
    let stamp = store.hash_input(&real)?;
    if let Err(error) = store.flush() {
        tracing::debug!("{error}");
    }
    Ok(stamp)
}

/// Checks that a folder, where it is a stored one, holds what was stored: to be called before
/// what is in it is loaded.
pub(super) fn check_stored(folder: &Path) -> Result<(), StoreError> {
    let Some((_, digest)) = stored_at(folder) else { return Ok(()) };
    let stamp = hash(folder)?;
    if stamp.digest == digest {
        return Ok(());
    }
    let reason = format!("its content has digest {}", stamp.digest);
    Err(StoreError::Damaged { path: stamp.path, reason })
}

//! Installing libraries from public packages, for one user, without being root.
//!
//! Owns what can be installed and how it gets into its folder: whole, or not at all. Everything
//! happens in a folder beside it whose name starts with a dot, which is renamed at the end; what was
//! downloaded there survives an interruption. Asks nobody and prints nothing.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use crate::process::CancelToken;
use crate::progress::Progress;

mod catalog;
mod download;
mod error;
mod product;
#[cfg(test)]
mod tests;
mod unpack;

pub use catalog::{Licence, RUNTIMES, Runtime, RuntimeName};
pub use download::Pip;
pub use error::InstallError;
pub use product::{Installed, Product};

/// The runtime in a folder of runtimes, if it is there and can be used.
pub fn installed(runtime: &Runtime, folder: &Path) -> Option<Installed> {
    in_folder(runtime, &folder.join(runtime.folder())).ok()
}

/// Every library in a folder of runtimes: its file, and what it is or why it cannot be used.
pub fn list(folder: &Path) -> Vec<(PathBuf, Result<Installed, String>)> {
    product::all(folder)
}

/// Installs a runtime into a folder of runtimes; one that is there already is replaced.
///
/// # Errors
/// It could not be downloaded, checked, unpacked or put in its place; nothing was changed.
pub fn install(
    runtime: &Runtime,
    folder: &Path,
    pip: &Pip,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<Installed, InstallError> {
    let partial = folder.join(format!(".{}.partial", runtime.folder()));
    fs::create_dir_all(&partial).map_err(InstallError::io("create", &partial))?;
    let _lock = Lock::take(&partial)?;
    check_space(runtime, &partial)?;
    let work = Work { runtime, partial: &partial, pip, progress, cancel };
    match work
        .unpacked()
        .and_then(|unpacked| put(&unpacked, &folder.join(runtime.folder()), &partial))
    {
        Ok(()) => {
            fs::remove_dir_all(&partial).map_err(InstallError::io("remove", &partial))?;
            in_folder(runtime, &folder.join(runtime.folder()))
        }
        Err(error) => Err(error.keeping(clean_up(&partial))),
    }
}

/// One installation.
struct Work<'a> {
    runtime: &'a Runtime,
    partial: &'a Path,
    pip: &'a Pip,
    progress: &'a dyn Progress,
    cancel: &'a CancelToken,
}

impl Work<'_> {
    /// Downloads everything, then unpacks it into a folder that turns out to hold the runtime.
    fn unpacked(&self) -> Result<PathBuf, InstallError> {
        let Self { runtime, partial, pip, progress, cancel } = *self;
        let wheels: Vec<PathBuf> = runtime
            .wheels
            .iter()
            .map(|wheel| pip.download(wheel, partial, progress, cancel))
            .collect::<Result<_, _>>()?;
        let unpacked = partial.join(UNPACKED);
        // What a killed process left may lack anything.
        let _ = fs::remove_dir_all(&unpacked);
        fs::create_dir_all(&unpacked).map_err(InstallError::io("create", &unpacked))?;
        for (wheel, file) in runtime.wheels.iter().zip(&wheels) {
            unpack::unpack(wheel, file, &unpacked, progress, cancel)?;
        }
        in_folder(runtime, &unpacked)?;
        Ok(unpacked)
    }
}

/// Where libraries are put together.
const UNPACKED: &str = "unpacked";

/// Removes all but complete downloads; gives the folder if there are any.
fn clean_up(partial: &Path) -> Option<PathBuf> {
    for folder in [download::INCOMING, UNPACKED] {
        // What cannot be removed now is removed by the next try.
        let _ = fs::remove_dir_all(partial.join(folder));
    }
    let mut entries = fs::read_dir(partial).into_iter().flatten().flatten();
    let kept = entries.any(|entry| entry.path().extension().is_some_and(|end| end == "whl"));
    if kept {
        return Some(partial.to_owned());
    }
    let _ = fs::remove_dir_all(partial);
    None
}

/// The one library in a folder, which must be the runtime.
fn in_folder(runtime: &Runtime, folder: &Path) -> Result<Installed, InstallError> {
    let unusable = |found: String| InstallError::Unusable { wanted: runtime.title(), found };
    let found = product::examine(runtime.product, folder)
        .ok_or_else(|| unusable("no library".to_owned()))?
        .map_err(unusable)?;
    let exactly = found.version == runtime.version;
    let of_it = exactly || found.version.starts_with(&format!("{}.", runtime.version));
    if found.product != runtime.product || !of_it {
        return Err(unusable(format!("{} {}", found.product, found.version)));
    }
    Ok(found)
}

/// Keeps other processes out of a folder.
#[derive(Debug)]
struct Lock(File);

impl Lock {
    fn take(partial: &Path) -> Result<Self, InstallError> {
        let path = partial.join("lock");
        let file = File::create(&path).map_err(InstallError::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(InstallError::Busy { folder: partial.to_owned() }),
            Err(TryLockError::Error(error)) => Err(InstallError::io("lock", &path)(error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave it to a child that was just forked and has not run yet.
        let _ = self.0.unlock();
    }
}

/// Whether there is room for what is still to be downloaded and unpacked.
fn check_space(runtime: &Runtime, partial: &Path) -> Result<(), InstallError> {
    let missing = runtime.wheels.iter().filter(|wheel| !partial.join(wheel.file).exists());
    let needed = missing.map(|wheel| wheel.bytes).sum::<u64>() + runtime.installed_bytes();
    let space = statvfs(partial)
        .map_err(|error| InstallError::io("ask for the space in", partial)(error.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < needed {
        return Err(InstallError::NoSpace { folder: partial.to_owned(), needed, free });
    }
    Ok(())
}

/// Renames a whole folder into its place.
fn put(unpacked: &Path, target: &Path, partial: &Path) -> Result<(), InstallError> {
    let replaced = partial.join("replaced");
    let _ = fs::remove_dir_all(&replaced);
    if target.exists() {
        fs::rename(target, &replaced).map_err(InstallError::io("move", target))?;
    }
    if let Err(error) = fs::rename(unpacked, target) {
        // Back to how it was, as far as that goes.
        let _ = fs::rename(&replaced, target);
        return Err(InstallError::io("move", unpacked)(error));
    }
    if let Some(folder) = target.parent() {
        let sync = File::open(folder).and_then(|folder| folder.sync_all());
        sync.map_err(InstallError::io("write", folder))?;
    }
    Ok(())
}

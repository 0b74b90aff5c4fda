//! Libraries and licences out of packages.

use std::fs::{self, File};
use std::io::{BufReader, Read as _, Write as _};
use std::path::Path;

use zip::ZipArchive;

use crate::process::CancelToken;
use crate::progress::Progress;

use super::catalog::Wheel;
use super::error::InstallError;

/// Takes a package's libraries out into `folder`, and its licences into `folder/licenses`.
pub(super) fn unpack(
    wheel: &Wheel,
    file: &Path,
    folder: &Path,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<(), InstallError> {
    let damaged = |reason: String| InstallError::Archive { file: wheel.file, reason };
    let archive = File::open(file).map_err(InstallError::io("read", file))?;
    let mut archive =
        ZipArchive::new(BufReader::new(archive)).map_err(|error| damaged(error.to_string()))?;
    let phase = format!("unpacking {}", wheel.package);
    let package = wheel.package.split("==").next().unwrap_or(wheel.package);
    let mut done = 0;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| damaged(error.to_string()))?;
        // Only the last part of a name is used: no entry can leave the folder.
        let name = entry.name().rsplit('/').next().unwrap_or_default().to_owned();
        let target = if is_library(&name, wheel) {
            folder.join(&name)
        } else if is_licence(&name) {
            let licences = folder.join("licenses").join(package);
            fs::create_dir_all(&licences).map_err(InstallError::io("create", &licences))?;
            licences.join(&name)
        } else {
            continue;
        };
        let mut out = File::create(&target).map_err(InstallError::io("write", &target))?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            if cancel.is_cancelled() {
                return Err(InstallError::Cancelled { kept: None });
            }
            progress.report(&phase, done, Some(wheel.unpacked));
            let count = entry.read(&mut buffer).map_err(|error| damaged(error.to_string()))?;
            if count == 0 {
                break;
            }
            out.write_all(&buffer[..count]).map_err(InstallError::io("write", &target))?;
            done = (done + count as u64).min(wheel.unpacked);
        }
        out.sync_all().map_err(InstallError::io("write", &target))?;
    }
    Ok(())
}

fn is_library(name: &str, wheel: &Wheel) -> bool {
    name.contains(".so") && wheel.libraries.iter().any(|start| name.starts_with(start))
}

/// The texts that say what may be done with a package.
fn is_licence(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["license", "licence", "notice", "thirdparty", "acknowledgements", "readme", "metadata"]
        .iter()
        .any(|start| name.starts_with(start))
}

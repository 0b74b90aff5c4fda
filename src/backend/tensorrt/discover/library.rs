//! One TensorRT library: what a file is, and the other parts beside it.
//!
//! Owns the file names of `[library.*]` in `ffi/tensorrt-abi.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::backend::library::{SharedLibrary, numbers, read, suffix};
use crate::backend::tensorrt::Flavor;
use crate::backend::tensorrt::generation::{Generation, LibraryVersion};

use super::error::LibraryError;

use super::{Found, Source};

/// The start of the name of each part of a product, before `.so`.
struct Names {
    runtime: &'static str,
    parser: &'static str,
    plugin: Option<&'static str>,
    lean: Option<&'static str>,
    dispatch: Option<&'static str>,
}

const STANDARD: Names = Names {
    runtime: "libnvinfer",
    parser: "libnvonnxparser",
    plugin: Some("libnvinfer_plugin"),
    lean: Some("libnvinfer_lean"),
    dispatch: Some("libnvinfer_dispatch"),
};

const RTX: Names = Names {
    runtime: "libtensorrt_rtx",
    parser: "libtensorrt_onnxparser_rtx",
    plugin: None,
    lean: None,
    dispatch: None,
};

fn names(flavor: Flavor) -> &'static Names {
    match flavor {
        Flavor::Standard => &STANDARD,
        Flavor::Rtx => &RTX,
    }
}

/// Whether a file is named as TensorRT itself is.
pub(super) fn is_runtime(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    [&STANDARD, &RTX].iter().any(|names| suffix(name, names.runtime).is_some())
}

/// Finds out what a file is.
pub(super) fn examine(path: &Path, source: Source) -> Result<Found, LibraryError> {
    let library = read(path)?;
    let name = library.soname.as_deref().or(path.file_name().and_then(|name| name.to_str()));
    let name = name.unwrap_or_default();
    let version = library.exports.iter().find_map(|export| version_symbol(export));
    if let Some(part) = other_part(&library, name) {
        return Err(LibraryError::OtherPart { path: path.to_owned(), part });
    }
    let Some(version) = version else {
        return Err(LibraryError::NotTensorRt { path: path.to_owned() });
    };
    let flavor = if name.starts_with(RTX.runtime) { Flavor::Rtx } else { Flavor::Standard };
    let path = path.to_owned();
    let generation = match Generation::of(flavor, version) {
        Ok(generation) => generation,
        Err(source) => return Err(LibraryError::Unknown { path, flavor, version, source }),
    };
    let warning = generation.is_newer_than_known(version).then(|| {
        let product = flavor.product();
        format!(
            "{product} {version} is newer than any that this trt-pipeline knows; known are {}",
            known_versions()
        )
    });
    let beside = |name: &str| beside(&path, name, version);
    let names = names(flavor);
    Ok(Found {
        flavor,
        version,
        generation,
        parser: beside(names.parser),
        plugin: names.plugin.and_then(beside),
        lean: names.lean.and_then(beside),
        dispatch: names.dispatch.and_then(beside),
        runtime: path,
        build_id: library.build_id,
        source,
        warning,
    })
}

/// The versions whose interface is known, for people.
pub(super) fn known_versions() -> String {
    let of = |flavor: Flavor| {
        let generations = Generation::ALL.into_iter().filter(|known| known.flavor() == flavor);
        let ranges = generations.map(|generation| match generation.known() {
            (major, oldest, newest) if oldest == newest => format!("{major}.{oldest}"),
            (major, oldest, newest) => format!("{major}.{oldest} to {major}.{newest}"),
        });
        format!("{} {}", flavor.product(), ranges.collect::<Vec<_>>().join(", "))
    };
    format!("{}; {}", of(Flavor::Standard), of(Flavor::Rtx))
}

/// The name under which the parser of a library is looked for.
pub(super) fn parser_name(flavor: Flavor, version: LibraryVersion) -> String {
    format!("{}.so.{}", names(flavor).parser, version.major)
}

/// `tensorrt_version_8_6_0_12`, as every TensorRT library has it.
fn version_symbol(name: &str) -> Option<LibraryVersion> {
    let version = numbers(name.strip_prefix("tensorrt_version_")?, '_')?;
    let &[major, minor, patch, build] = &version[..] else { return None };
    Some(LibraryVersion { major, minor, patch, build })
}

/// Which part of TensorRT a library is that cannot build engines, with its article.
fn other_part(library: &SharedLibrary, name: &str) -> Option<&'static str> {
    let has = |symbol: &str| library.exports.contains(symbol);
    if has("createInferBuilder_INTERNAL") {
        None
    } else if has("getNvOnnxParserVersion") || has("createNvOnnxParser_INTERNAL") {
        Some("TensorRT's ONNX parser")
    } else if has("initLibNvInferPlugins") {
        Some("TensorRT's library of plug-ins")
    } else if name.starts_with("libnvinfer_lean") {
        Some("TensorRT's lean runtime, which only runs engines")
    } else if name.starts_with("libnvinfer_dispatch") {
        Some("TensorRT's dispatch runtime, which only runs engines")
    } else {
        None
    }
}

/// Another part of the same version in the same folder: the one that is named after the very same
/// version, else the one named after its major version, else another of that major version.
fn beside(runtime: &Path, name: &str, version: LibraryVersion) -> Option<PathBuf> {
    let folder = runtime.parent()?;
    let exact = format!("{}.{}.{}", version.major, version.minor, version.patch);
    let major = version.major.to_string();
    let rank = |suffix: &str| {
        if suffix == exact {
            Some(0)
        } else if suffix == major {
            Some(1)
        } else if suffix.split('.').next() == Some(&major) {
            Some(2)
        } else {
            None
        }
    };
    let entries =
        fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let ranked = entries.filter_map(|file| Some((rank(suffix(&file, name)?)?, file)));
    ranked.min().map(|(_, file)| folder.join(file))
}

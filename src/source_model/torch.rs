//! Files of PyTorch: archives, and the pickles that `torch.save` wrote before there were any.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use super::archive::Archive;
use super::error::SourceModelError;
use super::pickle::{Pickle, PickleError};
use super::{SourceKind, listed, shown};

/// More of a pickle is not read: weights are not in it.
const LONGEST_PICKLE: u64 = 256 << 20;

/// Members that tell what an archive is, or describe it.
pub(super) fn is_telling(name: &str) -> bool {
    let is_json = name.ends_with(".json");
    matches!(
        name,
        "data.pkl" | "constants.pkl" | "archive_format" | "archive_version" | "saved_model.pb"
    ) || name.starts_with("code/") && name.ends_with(".py")
        || name.starts_with("models/") && is_json
        || name.starts_with("data/aotinductor/")
        || name == SERIALIZED_PROGRAM
        || matches!(name, "config.json" | "metadata.json" | "model.weights.h5")
}

/// What versions of `torch.export.save` before 2.8 wrote the graph into.
pub(super) const SERIALIZED_PROGRAM: &str = "serialized_exported_program.json";

const ARCHIVE: &str = "a zip archive";
const PICKLE: &str = "a Python pickle";

/// The kind of a zip file, and why.
pub(super) fn of_archive(
    file: File,
    path: &Path,
) -> Result<(SourceKind, String), SourceModelError> {
    let damaged =
        |reason: String| SourceModelError::Damaged { path: path.to_owned(), what: ARCHIVE, reason };
    let archive = Archive::open(file, is_telling).map_err(|error| damaged(error.to_string()))?;
    let has = |name: &str| archive.find(|inner| inner == name);
    let whole = |name: &str| archive.members.iter().any(|member| member.name == name);
    if let Some(program) = archive.find(|name| name == SERIALIZED_PROGRAM) {
        let why = format!("it is an archive with `{}`", shown(&program.name));
        return Ok((SourceKind::ExportedProgram, why));
    }
    let graph = archive.find(|name| name.starts_with("models/"));
    if let (Some(format), Some(graph)) = (has("archive_format").or(has("archive_version")), graph) {
        let [format, graph] = [format, graph].map(|member| shown(&member.name));
        let why = format!("it is an archive with `{format}` and the graph `{graph}`");
        return Ok((SourceKind::ExportedProgram, why));
    }
    let code = archive.find(|name| name.starts_with("code/"));
    if let (Some(code), Some(data)) = (code, has("constants.pkl").and(has("data.pkl"))) {
        let [code, data] = [code, data].map(|member| shown(&member.name));
        let why = format!("it is an archive with the code `{code}` and `{data}`");
        return Ok((SourceKind::TorchScript, why));
    }
    if let Some(data) = has("data.pkl") {
        let reader =
            archive.reader(data, LONGEST_PICKLE).map_err(|error| damaged(error.to_string()))?;
        let pickle = Pickle::scan(&mut BufReader::new(reader))
            .map_err(|error| damaged(format!("`{}`: {error}", shown(&data.name))))?;
        return of_pickle(&pickle, &format!("`{}` of the archive", shown(&data.name)), path);
    }
    if whole("config.json") && whole("model.weights.h5") {
        let why = "it is an archive with `config.json` and `model.weights.h5`".to_owned();
        return Ok((SourceKind::Keras, why));
    }
    let help = if archive.find(|name| name.starts_with("data/aotinductor/")).is_some() {
        "AOTInductor compiled it: save the program it was compiled from with `torch.export.save`"
    } else {
        "if the model is in it, unpack it and name the model"
    };
    Err(SourceModelError::NoModel {
        path: path.to_owned(),
        what: ARCHIVE,
        reason: match archive.count {
            0 => "it has no members".into(),
            1 => format!("its only member is {}", listed(archive.first.iter().map(String::as_str))),
            count => {
                let first = listed(archive.first.iter().map(String::as_str));
                format!("of its {count} members the first are {first}")
            }
        },
        help: help.into(),
    })
}

/// The kind of a file that starts as a pickle, and why.
pub(super) fn of_pickle_file(
    file: File,
    path: &Path,
) -> Result<(SourceKind, String), SourceModelError> {
    let mut input = BufReader::new(file);
    let damaged = |error: PickleError| SourceModelError::Damaged {
        path: path.to_owned(),
        what: PICKLE,
        reason: error.to_string(),
    };
    let first = scan_part(&mut input).map_err(damaged)?;
    if !first.is_torch_magic {
        let names =
            listed(first.globals.iter().map(String::as_str).collect::<Vec<_>>().into_iter());
        return Err(SourceModelError::NoModel {
            path: path.to_owned(),
            what: PICKLE,
            reason: if names.is_empty() {
                "`torch.save` did not write it, and it holds plain values".into()
            } else {
                format!("`torch.save` did not write it; it names {names}")
            },
            help:
                "export the model to ONNX in the Python that wrote it, or save a state dict with \
                   `torch.save`"
                    .into(),
        });
    }
    // The version and what the machine was like stand before the objects.
    for _ in 0..2 {
        scan_part(&mut input).map_err(damaged)?;
    }
    let objects = scan_part(&mut input).map_err(damaged)?;
    of_pickle(&objects, "its pickle, in the older format of `torch.save`,", path)
}

fn scan_part(input: &mut impl BufRead) -> Result<Pickle, PickleError> {
    Pickle::scan(&mut input.by_ref().take(LONGEST_PICKLE))
}

/// The kind of what `torch.save` wrote, and why.
fn of_pickle(
    pickle: &Pickle,
    place: &str,
    path: &Path,
) -> Result<(SourceKind, String), SourceModelError> {
    let foreign: Vec<&str> =
        pickle.globals.iter().map(String::as_str).filter(|name| !is_data(name)).collect();
    if !foreign.is_empty() {
        let why = format!("{place} names {}", listed(foreign.into_iter()));
        return Ok((SourceKind::TorchModule, why));
    }
    let has_tensors = pickle.globals.iter().any(|name| name.starts_with("torch._utils._rebuild"));
    if pickle.is_dict && has_tensors {
        let why = format!("{place} is a dictionary with tensors and no other objects");
        return Ok((SourceKind::TorchStateDict, why));
    }
    Err(SourceModelError::NoModel {
        path: path.to_owned(),
        what: "a file of `torch.save`",
        reason: if has_tensors {
            "it holds tensors, but no dictionary that names them".into()
        } else {
            "there are no tensors in it".into()
        },
        help: "save a state dict: `torch.save(model.state_dict(), ..)`".into(),
    })
}

/// Whether a name in a pickle is of plain data: tensors, their types, and Python's containers.
fn is_data(name: &str) -> bool {
    let (module, name) = name.rsplit_once('.').unwrap_or(("", name));
    let lower = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase());
    match module {
        // Element types (`float32`), layouts and schemes are lower case, and so are functions.
        "torch" => {
            name.ends_with("Storage")
                || matches!(name, "Size" | "device" | "Tensor" | "BoolTensor")
                || lower(name) && (name.ends_with(|c: char| c.is_ascii_digit()) || is_type(name))
        }
        "torch._utils" => name.starts_with("_rebuild_"),
        "torch._tensor" => name.starts_with("_rebuild_"),
        "torch.nn.parameter" => matches!(name, "Parameter" | "UninitializedParameter" | "Buffer"),
        "torch.storage" => matches!(name, "TypedStorage" | "UntypedStorage"),
        "torch.serialization" => name == "_get_layout",
        "collections" => matches!(name, "OrderedDict" | "defaultdict" | "Counter"),
        "_codecs" => name == "encode",
        "builtins" => matches!(
            name,
            "dict"
                | "list"
                | "tuple"
                | "set"
                | "frozenset"
                | "bytearray"
                | "complex"
                | "int"
                | "float"
                | "bool"
                | "str"
                | "slice"
        ),
        _ => false,
    }
}

/// Element types, quantization schemes and layouts that do not end in a digit.
fn is_type(name: &str) -> bool {
    matches!(
        name,
        "bool"
            | "half"
            | "float"
            | "double"
            | "int"
            | "long"
            | "short"
            | "strided"
            | "per_tensor_affine"
            | "per_channel_affine"
            | "per_tensor_symmetric"
            | "per_channel_symmetric"
            | "float8_e4m3fn"
            | "float8_e5m2"
            | "float8_e4m3fnuz"
            | "float8_e5m2fnuz"
    )
}

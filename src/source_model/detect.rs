//! [`detect`]: from a path to the kind of model that is there.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::Path;

use crate::onnx::{self, FileType, OnnxError};

use super::error::SourceModelError;
use super::graph::Node;
use super::wire::{Value, Wire, WireError};
use super::{SourceKind, SourceModel, safetensors, torch};

/// The file of a `SavedModel`.
pub(super) const SAVED_MODEL: &str = "saved_model.pb";
/// Nodes of a graph that must be sound for it to be one.
const PROBED_NODES: u64 = 64;

/// Finds out what the file or folder at `path` is. Only where the content fits several kinds, or
/// none, does the extension decide.
pub fn detect(path: &Path) -> Result<SourceModel, SourceModelError> {
    let io = || SourceModelError::io(path);
    let metadata = fs::metadata(path).map_err(io())?;
    if metadata.is_dir() {
        return folder(path);
    }
    // Opening a pipe would wait for someone to write into it.
    if !metadata.is_file() {
        return Err(SourceModelError::NotRegular { path: path.to_owned() });
    }
    let mut file = File::open(path).map_err(io())?;
    let mut head = Vec::with_capacity(512);
    file.by_ref().take(512).read_to_end(&mut head).map_err(io())?;
    file.rewind().map_err(io())?;
    if head.is_empty() {
        return Err(SourceModelError::Empty { path: path.to_owned() });
    }
    let has_extension = |names: &[&str]| {
        path.extension().is_some_and(|end| names.iter().any(|name| end.eq_ignore_ascii_case(name)))
    };
    let (kind, why) = match FileType::recognise(&head) {
        Some(FileType::Engine) => {
            (SourceKind::Engine, "it starts with the mark of TensorRT's engines".to_owned())
        }
        Some(FileType::Zip) => torch::of_archive(file, path)?,
        Some(FileType::Pickle) => torch::of_pickle_file(file, path)?,
        Some(FileType::Hdf5) => {
            (SourceKind::Keras, "it is an HDF5 file, which Keras writes its models into".to_owned())
        }
        Some(FileType::Safetensors) => weights(file, path)?,
        None if head.get(8) == Some(&b'{') && has_extension(&["safetensors"]) => {
            weights(file, path)?
        }
        Some(found) => {
            return Err(SourceModelError::OtherFile { path: path.to_owned(), found });
        }
        None => match protobuf(file, path)? {
            Some((SourceKind::SavedModel, why))
                if path.file_name() == Some(OsStr::new(SAVED_MODEL)) =>
            {
                let folder = match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent,
                    _ => Path::new("."),
                };
                let kind = SourceKind::SavedModel;
                return Ok(SourceModel { kind, why, path: folder.to_owned() });
            }
            Some((SourceKind::SavedModel, _)) => {
                return Err(SourceModelError::NoModel {
                    path: path.to_owned(),
                    what: "the graph file of a SavedModel",
                    reason: format!(
                        "its variables are looked for beside a file named {SAVED_MODEL}"
                    ),
                    help: "name the folder that TensorFlow wrote".into(),
                });
            }
            Some(found) => found,
            // Its own reader says what is wrong.
            None if has_extension(&["onnx"]) => {
                (SourceKind::Onnx, "its name ends in .onnx; its content tells nothing".to_owned())
            }
            // Not every version of TensorRT starts its files with a mark.
            None if has_extension(&["engine", "plan", "trt"]) => {
                let why = "its name ends as an engine's; its content tells nothing".to_owned();
                (SourceKind::Engine, why)
            }
            None => return Err(SourceModelError::Unknown { path: path.to_owned() }),
        },
    };
    Ok(SourceModel { kind, why, path: path.to_owned() })
}

/// The description of an engine, in the folder of one.
const ENGINE: &str = "engine.json";

/// A folder: of a `SavedModel`, or with exactly one ONNX file.
fn folder(path: &Path) -> Result<SourceModel, SourceModelError> {
    if path.join(ENGINE).is_file() {
        let (kind, why) = (SourceKind::Engine, format!("it has a file `{ENGINE}`"));
        return Ok(SourceModel { kind, why, path: path.to_owned() });
    }
    if SourceModel::is_saved_model(path) {
        return detect(&path.join(SAVED_MODEL));
    }
    match onnx::locate(path) {
        Ok(file) => detect(&file).map(|mut model| {
            model.why = format!("it is the only .onnx file of the folder, and {}", model.why);
            model
        }),
        Err(OnnxError::NoModelInFolder { folder }) => {
            let candidate = candidate(path).map_err(SourceModelError::io(path))?;
            Err(SourceModelError::NoModelInFolder { folder, candidate })
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether its name ends as that of a model which is no ONNX model.
pub fn is_named_as_other(path: &Path) -> bool {
    const ENDINGS: [&str; 10] =
        ["pt", "pth", "pt2", "torchscript", "safetensors", "keras", "h5", "pb", "plan", "engine"];
    path.extension().is_some_and(|end| ENDINGS.iter().any(|known| end == *known))
}

/// The first file, by name, that has a model's extension.
fn candidate(folder: &Path) -> io::Result<Option<String>> {
    let mut first: Option<String> = None;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_named_as_other(&path)
            && path.is_file()
            && let Some(name) = path.file_name()
        {
            let name = super::shown(&name.to_string_lossy());
            if first.as_ref().is_none_or(|first| name < *first) {
                first = Some(name);
            }
        }
    }
    Ok(first)
}

fn weights(file: File, path: &Path) -> Result<(SourceKind, String), SourceModelError> {
    let tensors = safetensors::read(file).map_err(|error| SourceModelError::Damaged {
        path: path.to_owned(),
        what: "a safetensors file",
        reason: error.to_string(),
    })?;
    let plural = if tensors.count == 1 { "" } else { "s" };
    let why = format!("its JSON header lists {} tensor{plural}", tensors.count);
    Ok((SourceKind::Safetensors, why))
}

/// The kind of a protobuf file, and why; `None` where it is none of those that are known.
fn protobuf(file: File, path: &Path) -> Result<Option<(SourceKind, String)>, SourceModelError> {
    let mut wire = Wire::new(file).map_err(SourceModelError::io(path))?;
    let mut outer = Outer::default();
    let ended = outer.walk(&mut wire);
    let (kind, what, why) = match outer.kind(path) {
        // What is wrong with an ONNX model is said by its own reader.
        Some(SourceKind::Onnx) => {
            let why = "it is a protobuf message with a version and the graph of an ONNX model";
            return Ok(Some((SourceKind::Onnx, why.to_owned())));
        }
        Some(SourceKind::SavedModel) => {
            let why = format!("`{SAVED_MODEL}` in it is a protobuf message with tagged graphs");
            (SourceKind::SavedModel, "the graph file of a SavedModel", why)
        }
        Some(SourceKind::GraphDef) => {
            let plural = if outer.nodes == 1 { "" } else { "s" };
            let why =
                format!("it is a protobuf message with {} node{plural} of TensorFlow", outer.nodes);
            (SourceKind::GraphDef, "a TensorFlow graph", why)
        }
        _ => return Ok(None),
    };
    match ended {
        Ok(()) => Ok(Some((kind, why))),
        Err(WireError::Io(source)) => Err(SourceModelError::Io { path: path.to_owned(), source }),
        Err(error) => {
            let reason = error.to_string();
            Err(SourceModelError::Damaged { path: path.to_owned(), what, reason })
        }
    }
}

/// The fields of a file's outer message, as far as they tell formats apart.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a mark that a file has or has not")]
struct Outer {
    /// Field 1 is a number: a version.
    version: bool,
    /// Field 7 is a message: the graph of an ONNX model.
    onnx_graph: bool,
    /// Field 2 is a message with a graph or signatures, so often.
    tagged_graphs: u64,
    /// Field 1 is a message with a name and an operator, so often.
    nodes: u64,
    /// There are fields that a graph of TensorFlow has not, or nodes that are none.
    other: bool,
    /// The message ends before it should.
    truncated: bool,
}

impl Outer {
    fn walk(&mut self, wire: &mut Wire) -> Result<(), WireError> {
        let ended = self.fields(wire);
        if let Err(WireError::Truncated { number, .. }) = ended {
            self.truncated = true;
            self.onnx_graph |= number == 7;
        }
        ended
    }

    fn fields(&mut self, wire: &mut Wire) -> Result<(), WireError> {
        let end = wire.size();
        while let Some((number, value)) = wire.field(end)? {
            match (number, value) {
                (1, Value::Number(_)) => self.version = true,
                (1, Value::Bytes { end }) => {
                    if self.nodes < PROBED_NODES {
                        let node = Node::read(wire, end)?;
                        self.other |= !node.is_sound();
                    } else {
                        wire.skip_to(end)?;
                    }
                    self.nodes += 1;
                }
                (2, Value::Bytes { end }) if self.version => {
                    self.tagged_graphs += u64::from(is_tagged_graph(wire, end));
                    wire.skip_to(end)?;
                }
                (number, Value::Bytes { end }) => {
                    self.onnx_graph |= number == 7;
                    self.other |= !matches!(number, 2 | 4 | 5);
                    wire.skip_to(end)?;
                }
                (number, Value::Number(_)) => self.other |= number != 3,
                (_, Value::Fixed) => self.other = true,
            }
        }
        Ok(())
    }

    /// What these fields make; the name decides only of a file that ends too early.
    fn kind(&self, path: &Path) -> Option<SourceKind> {
        let is_cut_off = |name: bool| self.truncated && name;
        if self.onnx_graph && self.nodes == 0 {
            return Some(SourceKind::Onnx);
        }
        let named = path.file_name() == Some(OsStr::new(SAVED_MODEL));
        if self.version && (self.tagged_graphs > 0 || is_cut_off(named)) {
            return Some(SourceKind::SavedModel);
        }
        let named = path.extension() == Some(OsStr::new("pb"));
        (!self.version && !self.other && (self.nodes > 0 || is_cut_off(named)))
            .then_some(SourceKind::GraphDef)
    }
}

/// Whether a message holds what a graph of a `SavedModel` does: a graph or signatures, and no
/// field that is none. A text, such as the producer of an ONNX model, is no message.
fn is_tagged_graph(wire: &mut Wire, end: u64) -> bool {
    let mut found = false;
    loop {
        match wire.field(end) {
            Ok(None) => return found,
            Ok(Some((number @ 1..=7, Value::Bytes { end }))) => {
                found |= matches!(number, 2 | 5);
                if wire.skip_to(end).is_err() {
                    return false;
                }
            }
            _ => return false,
        }
    }
}
